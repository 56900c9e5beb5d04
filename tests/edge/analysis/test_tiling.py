"""A frame of any size and scale reaches the detector, and every box comes back to its place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.analysis import tiling

INPUT = (416, 320)


def plan(width, height, um_per_px=None):
    return tiling.plan_tiles(
        frame_px=(width, height), input_px=INPUT, frame_um_per_px=um_per_px, input_um_per_px=0.11
    )


def test_a_frame_of_unknown_scale_is_fitted_whole():
    (tile,) = plan(640, 480)
    assert tile.scale == pytest.approx(0.65)


def test_a_frame_of_nearly_the_right_scale_is_one_tile():
    (tile,) = plan(640, 480, 0.08)
    assert tile.scale == pytest.approx(0.65)


def test_a_small_frame_is_not_blown_up_beyond_its_scale():
    (tile,) = plan(100, 100, 0.11)
    assert tile.scale == pytest.approx(1.0)


def test_a_large_frame_of_known_scale_is_cut_in_overlapping_tiles():
    tiles = plan(2592, 1944, 0.055)
    assert len(tiles) > 4
    assert {tile.scale for tile in tiles} == {0.5}


def test_an_impossible_scale_is_refused():
    with pytest.raises(ValueError, match="tiles large"):
        plan(2592, 1944, 5.0)


@given(
    st.integers(64, 3000),
    st.integers(64, 3000),
    st.one_of(st.none(), st.floats(0.02, 0.2)),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_every_point_has_one_owner_that_sees_it(width, height, um_per_px, across, down):
    try:
        tiles = plan(width, height, um_per_px)
    except ValueError:
        return
    x, y = across * width, down * height
    point = np.asarray([[x, y, x, y]], dtype=np.float32)
    owners = [tile for tile in tiles if tiling.owned(point, tile)[0]]
    assert len(owners) == 1
    in_x = (x - owners[0].origin_px[0]) * owners[0].scale
    in_y = (y - owners[0].origin_px[1]) * owners[0].scale
    assert -1 <= in_x <= INPUT[0] + 1
    assert -1 <= in_y <= INPUT[1] + 1
    # Where there is a neighbouring tile, a cell of half the overlap around the point is whole in the tile.
    if len(tiles) > 1 and 0.45 < across < 0.55 and width * owners[0].scale > INPUT[0]:
        assert in_x >= tiling.OVERLAP_PX / 2 - 1
        assert in_x <= INPUT[0] - tiling.OVERLAP_PX / 2 + 1


@pytest.mark.parametrize("um_per_px", [None, 0.05])
def test_a_mark_on_the_frame_is_found_at_its_place(um_per_px):
    frame = np.full((1944, 2592, 3), 230, dtype=np.uint8)
    frame[1200:1260, 1700:1790] = (90, 20, 140)
    for tile in plan(2592, 1944, um_per_px):
        picture, letterbox = tiling.cut_tile(frame, tile, INPUT)
        assert picture.shape == (320, 416, 3)
        rows, columns = np.nonzero(picture[:, :, 1] < 120)
        if len(rows) == 0:
            continue
        box = np.asarray([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], dtype=np.float32)
        placed = tiling.to_frame(box, tile, letterbox, (2592, 1944))
        if tiling.owned(placed, tile)[0]:
            assert placed[0] == pytest.approx([1700, 1200, 1790, 1260], abs=1.5 / tile.scale)
            return
    pytest.fail("no tile owns the mark")
