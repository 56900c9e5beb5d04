"""Readers of labelled single cells: which file, which class, which laboratory, which acquisition number.

Names of classes are those of the class set ``differential``. A file's number is its place in the order of
acquisition as far as its name tells; neighbours in that order may come from one smear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contract.manifest import DataSource
from edge.contract.taxonomy import ObjectKind
from edge.vision.central_cell import central_cell_box
from edge.vision.crop import BoxPx
from trainer.data.bccd import Bccd
from trainer.data.frames import KINDS, LabelledFrame
from trainer.data.samples import Sample
from trainer.errors import DataError

Pixels = NDArray[np.uint8]

CLASSES: Final = (
    "neutrophil",
    "lymphocyte",
    "monocyte",
    "eosinophil",
    "basophil",
    "erythroblast",
    "blast",
)
"""What the classifier answers, in this order."""

LMU: Final = "lmu"
BARCELONA: Final = "barcelona"
BCCD: Final = "bccd"
CNMC: Final = "cnmc"
LABORATORIES: Final = (LMU, BARCELONA, BCCD)

_PBC_AML: Final = {
    "myeloblast": ("blast", LMU),
    "seg_neutrophil": ("neutrophil", LMU),
    "monocyte": ("monocyte", BARCELONA),
    "basophil": ("basophil", BARCELONA),
    "erythroblast": ("erythroblast", BARCELONA),
}
_NUMBERED: Final = re.compile(r"^(?P<series>[A-Za-z]+)_(?P<number>\d+)")
_CNMC_NAME: Final = re.compile(r"^UID_(?P<subject>[Hh]?\d+)_(?P<image>\d+)_(?P<cell>\d+)_(?P<label>all|hem)$")
_REMEDY: Final = "Set LEUKOSCOPE_DATA to the folder that holds pbc_aml and bccd_cells."
_SEARCH_PADDING_PX: Final = 120
_SEARCH_SCALE: Final = 4
_MIN_LIKENESS: Final = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class LocatedCell:
    """A picture and the box of the labelled cell in it (x0, y0, x1, y1)."""

    pixels: Pixels
    box_px: BoxPx


def read_pbc_aml(data_dir: Path) -> tuple[Sample, ...]:
    """The cells of two laboratories in ``pbc_aml``. Raises DataError when a folder or name is wrong."""
    samples: list[Sample] = []
    for folder, (cell_class, laboratory) in _PBC_AML.items():
        for file in _pictures(data_dir / "pbc_aml" / folder):
            series, number = _numbered(file)
            samples.append(
                Sample(
                    file=file,
                    label=cell_class,
                    laboratory=laboratory,
                    # Barcelona numbers its pictures through all classes; LMU each class for itself.
                    series=series if laboratory == LMU else laboratory,
                    number=number,
                )
            )
    return tuple(samples)


def read_bccd_cells(data_dir: Path) -> tuple[Sample, ...]:
    """The named cells of BCCD's frames, numbered by frame. Raises DataError on a wrong name."""
    samples: list[Sample] = []
    folders = [each for each in sorted((data_dir / "bccd_cells").glob("*")) if each.is_dir()]
    if not folders:
        raise DataError(f"There are no cells in {data_dir / 'bccd_cells'}.", remedy=_REMEDY)
    for folder in folders:
        if folder.name not in CLASSES:
            raise DataError(
                f"{folder} is not named after a class.", remedy=f"Use one of {', '.join(CLASSES)}."
            )
        for file in _pictures(folder):
            _, number = _numbered(file)
            samples.append(Sample(file=file, label=folder.name, laboratory=BCCD, series=BCCD, number=number))
    return tuple(samples)


def read_cnmc(folder: Path) -> tuple[Sample, ...]:
    """Cells of C-NMC 2019, class ``all`` or ``normal`` of the set ``all_or_normal``, with their subject.

    File names are ``UID_<subject>_<image>_<cell>_<all or hem>``. Raises DataError when one is not.
    """
    samples: list[Sample] = []
    for file in _pictures(folder):
        match = _CNMC_NAME.match(file.stem)
        if match is None:
            raise DataError(
                f"{file} is not named like a cell of C-NMC.",
                remedy="Expected UID_<subject>_<image>_<cell>_<all or hem>.bmp.",
            )
        samples.append(
            Sample(
                file=file,
                label="all" if match["label"] == "all" else "normal",
                laboratory=CNMC,
                series=match["subject"].upper(),
                number=int(match["image"]),
                patient=match["subject"].upper(),
            )
        )
    return tuple(samples)


def sources(samples: tuple[Sample, ...]) -> tuple[DataSource, ...]:
    """Licence and attribution of every collection that ``samples`` come from, with their number."""
    known = {
        LMU: (
            "AML-Cytomorphology_LMU",
            "CC BY 3.0",
            (
                "Matek, Schwarz, Marr, Spiekermann: A Single-cell Morphological Dataset of Leukocytes from "
                "AML Patients and Non-malignant Controls, The Cancer Imaging Archive, 2019"
            ),
        ),
        BARCELONA: (
            "PBC dataset, Hospital Clinic Barcelona",
            "CC BY 4.0",
            (
                "Acevedo, Merino, Alferez, Molina, Boldu, Rodellar: A dataset of microscopic peripheral "
                "blood cell images for development of automatic recognition systems, Data in Brief, 2020"
            ),
        ),
        BCCD: (
            "BCCD Dataset, named cells",
            "MIT",
            "Shenggan, BCCD Dataset; images by cosmicad and akshaylambda; cell names by apple2373",
        ),
    }
    return tuple(
        DataSource(
            name=name,
            licence=licence,
            attribution=attribution,
            samples=sum(each.laboratory == laboratory for each in samples),
        )
        for laboratory, (name, licence, attribution) in known.items()
        if any(each.laboratory == laboratory for each in samples)
    )


def read_picture(file: Path) -> Pixels:
    """A picture as RGB. Raises DataError when the file cannot be decoded."""
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DataError(f"{file} cannot be decoded as a picture.", remedy="Fetch the file again.")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def locate(sample: Sample, data_dir: Path) -> LocatedCell:
    """The sample's picture with the cell's box in it.

    A BCCD cell is found again in its frame and gets the frame's annotated box, which is the kind of box that
    a detector gives; where that fails, and for the other laboratories, the box comes from the stain. A
    picture in which no stain stands out counts as filled by its cell.
    """
    pixels = read_picture(sample.file)
    if sample.laboratory == BCCD:
        frames = Bccd(folder=data_dir / "bccd")
        name = f"BloodImage_{sample.number:05d}"
        if frames.image_file(name).exists() and (found := _box_in_frame(pixels, frames.frame(name))):
            return found
    box = central_cell_box(pixels)
    height, width = pixels.shape[:2]
    return LocatedCell(pixels=pixels, box_px=box or (0.0, 0.0, float(width), float(height)))


def _box_in_frame(cell: Pixels, frame: LabelledFrame) -> LocatedCell | None:
    """The annotated WBC box of the frame whose centre lies in the cell's picture, nearest to its middle."""
    x0, y0, likeness = _find(cell, frame.pixels)
    if likeness < _MIN_LIKENESS:
        return None
    height, width = cell.shape[:2]
    boxes = frame.boxes[frame.kinds == KINDS.index(ObjectKind.WBC)]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    off = np.abs(centers - np.array([x0 + width / 2, y0 + height / 2])).max(axis=1)
    if not len(off) or float(off.min()) > min(height, width) / 2:
        return None
    x0, y0, x1, y1 = (float(each) for each in boxes[off.argmin()])
    return LocatedCell(pixels=frame.pixels, box_px=(x0, y0, x1, y1))


def _find(part: Pixels, whole: Pixels) -> tuple[float, float, float]:
    """Top left corner of ``part`` in ``whole`` (it may reach out of it) and their correlation there."""
    pad = _SEARCH_PADDING_PX
    padded = cv2.copyMakeBorder(whole, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    shrink = 1 / _SEARCH_SCALE
    small = [
        cv2.resize(each, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) for each in (padded, part)
    ]
    likeness = cv2.matchTemplate(small[0], small[1], cv2.TM_CCOEFF_NORMED)
    _, best, _, place = cv2.minMaxLoc(likeness)
    return float(place[0] * _SEARCH_SCALE - pad), float(place[1] * _SEARCH_SCALE - pad), float(best)


def _pictures(folder: Path) -> Iterator[Path]:
    files = sorted(each for each in folder.glob("*") if each.suffix.lower() in {".jpg", ".png", ".bmp"})
    if not files:
        raise DataError(f"There are no pictures in {folder}.", remedy=_REMEDY)
    yield from files


def _numbered(file: Path) -> tuple[str, int]:
    match = _NUMBERED.match(file.stem)
    if match is None:
        raise DataError(
            f"{file} carries no number in its name.", remedy="Expected a name like MO_100695.jpg."
        )
    return match["series"], int(match["number"])
