"""What a collection's labels are to the detector: a white cell, a red cell, a platelet, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from edge.contract.taxonomy import DIFFERENTIAL, ObjectKind
from trainer.errors import DataError, TrainerError

NOTHING: Final = "nothing"
"""Said of a label whose boxes are to be left out."""
_WORDS: Final[Mapping[ObjectKind, tuple[str, ...]]] = MappingProxyType(
    {
        ObjectKind.WBC: (
            "wbc",
            "white",
            "white cell",
            "white blood cell",
            "leukocyte",
            "leucocyte",
            *DIFFERENTIAL.classes,
        ),
        ObjectKind.RBC: ("rbc", "red", "red cell", "red blood cell", "erythrocyte"),
        ObjectKind.PLATELET: ("platelet", "plt", "thrombocyte"),
    }
)


def kinds_asked(texts: Sequence[str]) -> dict[str, ObjectKind | None]:
    """Kinds given as LABEL=KIND,LABEL=KIND; None for `NOTHING`. Raises TrainerError for another form."""
    known = {each.value.casefold(): each for each in ObjectKind}
    choices = ", ".join([*(each.value for each in ObjectKind), NOTHING])
    asked: dict[str, ObjectKind | None] = {}
    for text in ",".join(texts).split(",") if texts else ():
        label, sign, kind = (each.strip() for each in text.rpartition("="))
        if not sign or not label or (kind.casefold() not in known and kind.casefold() != NOTHING):
            raise TrainerError(
                f"{text.strip()!r} says of no label which kind it is.",
                remedy=f"Give --kind LABEL=KIND, with one of {choices}.",
            )
        if label in asked:
            raise TrainerError(
                f"The label {label!r} is given two kinds.", remedy="Keep the one that is right."
            )
        asked[label] = known.get(kind.casefold())
    return asked


def kinds_of(labels: Iterable[str], asked: Mapping[str, ObjectKind | None]) -> dict[str, ObjectKind]:
    """The kind of each label: as ``asked``, else by its name; labels that are nothing are missing.

    Case, plural, and what joins its words do not matter to a name. Raises DataError, naming them, for labels
    that no name tells, for one asked about that is not there, and where nothing is left.
    """
    found = dict.fromkeys(sorted(labels))
    if strangers := sorted(set(asked) - set(found)):
        raise DataError(
            f"--kind speaks of {', '.join(strangers)}; the collection's labels are {', '.join(found)}.",
            remedy="Write the label as the collection does.",
        )
    kinds = {label: asked[label] if label in asked else _by_name(label) for label in found}
    if unknown := [label for label, kind in kinds.items() if kind is None and label not in asked]:
        raise DataError(
            f"It is not known what {', '.join(map(repr, unknown))} is to a detector.",
            remedy=f"Say so: --kind '{unknown[0]}=WBC', or --kind '{unknown[0]}={NOTHING}' to leave it out.",
        )
    chosen = {label: kind for label, kind in kinds.items() if kind is not None}
    if not chosen:
        raise DataError("Every label is to be left out.", remedy="Say of one which kind it is, with --kind.")
    return chosen


def _by_name(label: str) -> ObjectKind | None:
    plain = label.casefold().replace("_", " ").replace("-", " ").strip()
    names = {plain, plain.removesuffix("s")}
    for kind, words in _WORDS.items():
        if any(word.replace("_", " ") in names for word in words):
            return kind
    return None
