"""C-NMC 2019: single cells on black, with their subject (10.7937/tcia.2019.dc64i46r).

Training cells are ``UID_<subject>_<image>_<cell>_<all or hem>.bmp`` in ``fold_0`` to ``fold_2``, in ``all``
and ``hem`` each. Those of the preliminary test are ``1.bmp`` and on, with a table that gives their names and
labels. The labels of the final test were never published.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

from trainer.data.formats.identity import read_rows
from trainer.data.formats.reading import Gathering, Reading
from trainer.data.formats.sight import Sight, mostly
from trainer.data.samples import Sample

LICENCE: Final = "CC BY 3.0"
LABORATORY: Final = "cnmc"
PRELIMINARY: Final = "preliminary"
_NAME: Final = re.compile(r"^UID_(?P<subject>[Hh]?\d+)_(?P<image>\d+)_(?P<cell>\d+)_(?P<label>all|hem)$")
_FOLD: Final = re.compile(r"^fold_\d+$")
_NUMBERED: Final = re.compile(r"^\d+$")
_LABELS: Final = {"all": "all", "hem": "normal"}
_TABLE_COLUMNS: Final = frozenset({"patient_id", "new_names", "labels"})
_TABLE_LABELS: Final = {"1": "all", "0": "hem"}
_CONTRADICTED: Final = ""


def recognise(sight: Sight) -> str | None:
    """Evidence, or None."""
    pictures = sight.pictures
    named = [each for each in pictures if _NAME.match(each.stem)]
    if not named and any(_is_label_table(each) for each in sight.ending(".csv")):
        return "a table with Patient_ID, new_names and labels"
    numbered = sum(_NUMBERED.match(each.stem) is not None for each in pictures)
    if named and mostly(pictures, len(named) + numbered):
        return f"names like {named[0].name}"
    return None


def read(sight: Sight) -> Reading:
    """Cells labelled ``all`` or ``normal``, with subject as patient and fold, or ``preliminary``, as part."""
    gathering = Gathering()
    unlabelled: defaultdict[Path, int] = defaultdict(int)
    original = _original_names(sight, gathering)
    first: dict[str, Path] = {}
    for picture in sight.pictures:
        name, part = original.get(picture, picture.stem), _fold(picture)
        if picture in original:
            part = PRELIMINARY
        if name == _CONTRADICTED:
            continue
        match = _NAME.match(name)
        if match is None and _NUMBERED.match(picture.stem):
            unlabelled[picture.parent] += 1
        elif match is None:
            gathering.fault(
                picture,
                "is not named like a cell of C-NMC",
                remedy="Expected UID_<subject>_<image>_<cell>_<all or hem>.bmp.",
            )
        elif picture.parent.name in _LABELS and picture.parent.name != match["label"]:
            gathering.fault(
                picture,
                f"is named {match['label']}, but stands in {picture.parent.name}/",
                remedy="Find out which is right, and mend the other.",
            )
        elif (other := first.setdefault(name, picture)) != picture:
            gathering.fault(
                picture,
                f"is the cell of {other.relative_to(sight.folder)} once more",
                remedy="Remove one of them.",
            )
        else:
            subject = match["subject"].upper()
            gathering.add(
                Sample(
                    file=picture,
                    label=_LABELS[match["label"]],
                    laboratory=LABORATORY,
                    series=subject,
                    number=int(match["image"]),
                    patient=subject,
                ),
                part=part or None,
            )
    for folder, count in unlabelled.items():
        gathering.fault(
            folder,
            f"holds {count} pictures without a label",
            remedy=(
                "Put the preliminary test's table of labels beside it; the final test's labels were never "
                "published, so leave that folder out."
            ),
        )
    return gathering.reading(licence=LICENCE)


def _fold(picture: Path) -> str:
    return next((each.name for each in picture.parents if _FOLD.match(each.name)), "")


def _is_label_table(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline()
    return {each.strip().lower() for each in header.split(",")} >= _TABLE_COLUMNS


def _original_names(sight: Sight, gathering: Gathering) -> dict[Path, str]:
    """The name that each numbered picture of the preliminary test had, by the tables beside them."""
    names: dict[Path, str] = {}
    for table in (each for each in sight.ending(".csv") if _is_label_table(each)):
        near: defaultdict[str, list[Path]] = defaultdict(list)
        for below in (each for each in sight.pictures if table.parent in each.parents):
            near[below.name].append(below)
        for line, row in enumerate(read_rows(table), start=2):
            picture = _only(near[row["new_names"]])
            told, name = _TABLE_LABELS.get(row["labels"]), Path(row["patient_id"]).stem
            match = _NAME.match(name)
            if picture is None:
                what = f"line {line} names {row['new_names']!r}, which is missing, or there several times"
                gathering.fault(table, what, remedy="Keep the table beside the folder of its pictures.")
            elif match is None or told != match["label"]:
                what = f"line {line} labels {row['patient_id']!r} as {row['labels']!r}"
                gathering.fault(table, what, remedy="Fetch the table again: name and label must agree.")
                names[picture] = _CONTRADICTED
            else:
                names[picture] = name
    return names


def _only(pictures: list[Path]) -> Path | None:
    """The one picture; of several, since the final test's are numbered too, the preliminary test's."""
    if len(pictures) > 1:
        pictures = [each for each in pictures if "prelim" in each.as_posix().lower()]
    return pictures[0] if len(pictures) == 1 else None
