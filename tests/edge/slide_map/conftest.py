"""Drawn ground of four by four small fields, for tests that lay frames on a map."""

from __future__ import annotations

import pytest

from edge.analysis.cells import Cell
from edge.camera.virtual_slide import Conditions, Population, draw_field
from edge.frame import Pixels

WIDTH_PX, HEIGHT_PX, UM_PER_PX = 320, 240, 0.16
Ground = tuple[Pixels, tuple[Cell, ...]]


@pytest.fixture(scope="module")
def ground() -> Ground:
    """Four by four fields, and the boxes of what lies on them."""
    pixels, placed = draw_field(
        seed=11,
        width_px=4 * WIDTH_PX,
        height_px=4 * HEIGHT_PX,
        um_per_px=UM_PER_PX,
        conditions=Conditions(population=Population(bare=0.0, white_cells_per_field=6.0)),
    )
    return pixels, tuple(Cell(box_px=each.box_px, kind=each.object.kind, score=1.0) for each in placed)
