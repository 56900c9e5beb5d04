"""How much of a field others have shown."""

from __future__ import annotations

import pytest

from edge.slide_map.atlas import Lens
from edge.slide_map.coverage import covered_share, whole_cell_margin_px
from edge.slide_map.ground import Ground

FIELD = {"width_px": 640, "height_px": 480}


def test_the_union_counts_each_place_once() -> None:
    assert covered_share([], **FIELD) == 0
    assert covered_share([(0, 0)], **FIELD) == 1
    assert covered_share([(320, 0)], **FIELD) == pytest.approx(0.5, abs=0.02)
    assert covered_share([(320, 0), (320, 0)], **FIELD) == pytest.approx(0.5, abs=0.02)
    assert covered_share([(320, 0), (-320, 0)], **FIELD) == 1
    assert covered_share([(320, 0), (0, 240)], **FIELD) == pytest.approx(0.75, abs=0.02)
    assert covered_share([(640, 0), (0, -480)], **FIELD) == 0


def test_with_a_margin_two_halves_do_not_make_a_whole() -> None:
    # A cell on the line between them is whole in neither.
    assert covered_share([(320, 0), (-320, 0)], margin_px=80, **FIELD) == pytest.approx(
        2 * 160 / 480, abs=0.03
    )
    assert covered_share([(300, 0), (-300, 0), (0, 10)], margin_px=80, **FIELD) > 0.95


def test_the_margin_is_that_of_a_large_cell_but_leaves_something_of_the_field() -> None:
    lens = Lens(width_px=640, height_px=480)
    assert whole_cell_margin_px(None, lens) == 0
    assert whole_cell_margin_px(100, lens) == pytest.approx(60)
    assert whole_cell_margin_px(1000, lens) == 120


def test_ground_is_told_in_frames_and_in_area_where_every_scale_is_known() -> None:
    ground, known = Ground(), Lens(width_px=1000, height_px=500, um_per_px=0.1)
    ground.set(1, known, 1.0)
    ground.set(2, known, 0.4)
    ground.set(2, known, 0.5)
    told = ground.covered(islands=1, tracking_losses=0)
    assert (told.frames, told.mm2) == (1.5, 0.0075)
    ground.set(3, Lens(width_px=1000, height_px=500), 1.0)
    assert ground.covered(islands=2, tracking_losses=1).mm2 is None
    ground.remove(3)
    ground.remove(1)
    assert ground.covered(islands=1, tracking_losses=1).frames == 0.5
    assert Ground().covered(islands=0, tracking_losses=0).mm2 is None
