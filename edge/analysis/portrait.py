"""A picture of one cell: where in it the cell is, so that it is named as the station would name it."""

from __future__ import annotations

from typing import Final

from edge.analysis.cells import Naming
from edge.analysis.field import FieldAnalyzer
from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels
from edge.vision.central_cell import central_cell_box
from edge.vision.crop import BoxPx

_CENTRAL: Final = 0.2
"""A cell is the picture's subject when its centre is within this share of the side from the middle."""


def name_portrait(analyzer: FieldAnalyzer, pixels: Pixels) -> Naming:
    """The class of the white cell that ``pixels`` (height, width, 3) is a picture of.

    The cell is looked for with the detector, then by its stain; where neither finds one in the middle, the
    whole picture is taken for a crop.
    """
    height, width = pixels.shape[:2]
    found = [
        cell.box_px
        for cell in analyzer.find(pixels)
        if cell.kind is ObjectKind.WBC and _is_central(cell.box_px, width, height)
    ]
    box_px = found[0] if found else central_cell_box(pixels)
    if box_px is None or not _is_central(box_px, width, height):
        box_px = (0.0, 0.0, float(width), float(height))
    return analyzer.name([analyzer.crop(pixels, box_px)])[0]


def _is_central(box_px: BoxPx, width: int, height: int) -> bool:
    x0, y0, x1, y1 = box_px
    return (
        abs((x0 + x1) / 2 - width / 2) <= _CENTRAL * width
        and abs((y0 + y1) / 2 - height / 2) <= _CENTRAL * height
    )
