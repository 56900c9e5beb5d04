"""Single cells in a folder a class, numbered in the order of acquisition: three collections of this kind.

``pbc_aml`` joins two laboratories, which the folder tells. ``bccd_cells`` holds named white cells of BCCD's
frames, numbered by frame. ``all_aria`` holds fields of one laboratory, numbered within each class.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from edge.contract.taxonomy import DIFFERENTIAL
from trainer.data.formats.reading import Gathering, Reading
from trainer.data.formats.sight import Sight, mostly
from trainer.data.samples import Sample

LMU: Final = "lmu"
BARCELONA: Final = "barcelona"
BCCD: Final = "bccd"
ALL_ARIA: Final = "aria"

PBC_AML_LICENCE: Final = "CC BY 3.0 (blast, neutrophil), CC BY 4.0 (monocyte, basophil, erythroblast)"
BCCD_CELLS_LICENCE: Final = "MIT (pictures); the cells' names are a third party's, unverified"
ALL_ARIA_LICENCE: Final = (
    "research only: database ODbL, contents of their authors; ship nothing that was trained on it"
)
PBC_AML_FOLDERS: Final = {
    "myeloblast": ("blast", LMU),
    "seg_neutrophil": ("neutrophil", LMU),
    "monocyte": ("monocyte", BARCELONA),
    "basophil": ("basophil", BARCELONA),
    "erythroblast": ("erythroblast", BARCELONA),
}
_NUMBERED: Final = re.compile(r"^(?P<series>[A-Za-z]+)_(?P<number>\d+)")
_PBC_AML: Final = re.compile(r"^(MYO|NGS|MO|BA|ERB)_\d+$")
_BCCD_FRAME: Final = re.compile(r"^BloodImage_\d+_\d+$")
_ALL_ARIA: Final = re.compile(r"^WBC-(?:Malignant-)?(?P<label>Benign|Early|Pre|Pro)-(?P<number>\d+)$")


def recognise_pbc_aml(sight: Sight) -> str | None:
    """Evidence, or None."""
    return _evidence(sight, _PBC_AML, folders=frozenset(PBC_AML_FOLDERS))


def recognise_bccd_cells(sight: Sight) -> str | None:
    """Evidence, or None."""
    return _evidence(sight, _BCCD_FRAME, folders=frozenset(DIFFERENTIAL.classes))


def recognise_all_aria(sight: Sight) -> str | None:
    """Evidence, or None."""
    return _evidence(sight, _ALL_ARIA, folders=frozenset({"Benign", "Early", "Pre", "Pro"}))


def read_pbc_aml(sight: Sight) -> Reading:
    """Cells of two laboratories, labelled with the words of the class set ``differential``."""
    gathering = Gathering()
    for picture in sight.pictures:
        told = PBC_AML_FOLDERS.get(picture.parent.name)
        match = _NUMBERED.match(picture.stem)
        if told is None:
            _fault_folder(gathering, picture, tuple(PBC_AML_FOLDERS))
        elif match is None:
            _fault_number(gathering, picture)
        else:
            label, laboratory = told
            gathering.add(
                Sample(
                    file=picture,
                    label=label,
                    laboratory=laboratory,
                    # Barcelona numbers its pictures through all classes; LMU each class for itself.
                    series=match["series"] if laboratory == LMU else laboratory,
                    number=int(match["number"]),
                )
            )
    return gathering.reading(licence=PBC_AML_LICENCE)


def read_bccd_cells(sight: Sight, *, classes: tuple[str, ...] = DIFFERENTIAL.classes) -> Reading:
    """Named white cells; those of one frame share its number."""
    gathering = Gathering()
    for picture in sight.pictures:
        match = _NUMBERED.match(picture.stem)
        if picture.parent.name not in classes:
            _fault_folder(gathering, picture, classes)
        elif match is None:
            _fault_number(gathering, picture)
        else:
            gathering.add(
                Sample(
                    file=picture,
                    label=picture.parent.name,
                    laboratory=BCCD,
                    series=BCCD,
                    number=int(match["number"]),
                )
            )
    return gathering.reading(licence=BCCD_CELLS_LICENCE)


def read_all_aria(sight: Sight) -> Reading:
    """Fields of hematogones (``Benign``) and of three stages of B-ALL (``Early``, ``Pre``, ``Pro``).

    A class is a series: neighbours in file order come from one slide. No patient is told.
    """
    gathering = Gathering()
    first: dict[str, Path] = {}
    for picture in sight.pictures:
        match = _ALL_ARIA.match(picture.stem)
        if match is None:
            _fault_number(gathering, picture, example="WBC-Malignant-Early-001.jpg")
        elif match["label"] != picture.parent.name:
            gathering.fault(
                picture,
                f"is named {match['label']}, but stands in {picture.parent.name}/",
                remedy="Find out which is right, and mend the other.",
            )
        elif (other := first.setdefault(picture.stem, picture)) != picture:
            gathering.fault(
                picture,
                f"is another version of {other.relative_to(sight.folder)}",
                remedy="Name the folder that holds one version alone: Original or Segmented.",
            )
        else:
            gathering.add(
                Sample(
                    file=picture,
                    label=match["label"],
                    laboratory=ALL_ARIA,
                    series=match["label"],
                    number=int(match["number"]),
                )
            )
    return gathering.reading(licence=ALL_ARIA_LICENCE)


def _evidence(sight: Sight, pattern: re.Pattern[str], *, folders: frozenset[str]) -> str | None:
    pictures = sight.pictures
    fitting = [each for each in pictures if pattern.match(each.stem) and each.parent.name in folders]
    if not mostly(pictures, len(fitting)):
        return None
    return f"names like {fitting[0].parent.name}/{fitting[0].name}"


def _fault_folder(gathering: Gathering, picture: Path, classes: tuple[str, ...]) -> None:
    gathering.fault(
        picture,
        f"stands in {picture.parent.name}/, which is not named after a class",
        remedy=f"Use one of {', '.join(classes)}.",
    )


def _fault_number(gathering: Gathering, picture: Path, *, example: str = "MO_100695.jpg") -> None:
    gathering.fault(picture, "carries no number in its name", remedy=f"Expected a name like {example}.")
