"""Readers of labelled single cells: which file, which class, which laboratory, which acquisition number.

Names of classes are those of the class set ``differential``. A file's number is its place in the order of
acquisition as far as its name tells; neighbours in that order may come from one smear.
"""

from __future__ import annotations

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
from trainer.data.formats import numbered_cells
from trainer.data.formats.numbered_cells import BARCELONA, BCCD, LMU, PBC_AML_FOLDERS
from trainer.data.formats.picture_file import pictures_in
from trainer.data.formats.reading import Reading, refuse
from trainer.data.formats.sight import look
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

LABORATORIES: Final = (LMU, BARCELONA, BCCD)
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
    folder = data_dir / "pbc_aml"
    order = tuple(PBC_AML_FOLDERS)
    if not pictures_in(folder, recursive=True):
        raise DataError(f"There are no cells in {folder}.", remedy=_REMEDY)
    found = _whole(numbered_cells.read_pbc_aml(look(folder)))
    for name in order:
        if not any(each.file.parent.name == name for each in found):
            raise DataError(f"There are no pictures in {folder / name}.", remedy=_REMEDY)
    return tuple(sorted(found, key=lambda each: (order.index(each.file.parent.name), each.file)))


def read_bccd_cells(data_dir: Path) -> tuple[Sample, ...]:
    """The named cells of BCCD's frames, numbered by frame. Raises DataError on a wrong name."""
    folder = data_dir / "bccd_cells"
    if not pictures_in(folder, recursive=True):
        raise DataError(f"There are no cells in {folder}.", remedy=_REMEDY)
    found = _whole(numbered_cells.read_bccd_cells(look(folder), classes=CLASSES))
    return tuple(sorted(found, key=lambda each: each.file))


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


def _whole(reading: Reading) -> tuple[Sample, ...]:
    """All samples of a reading in which nothing is wrong."""
    refuse(reading.problems, may_skip=False)
    return reading.samples
