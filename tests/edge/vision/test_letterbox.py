from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.letterbox import FILL, letterboxed


def test_a_frame_is_as_large_as_fits_and_lies_in_the_middle():
    picture, place = letterboxed(np.zeros((480, 640, 3), dtype=np.uint8), width_px=416, height_px=320)
    assert picture.shape == (320, 416, 3)
    assert (place.scale, place.left_px, place.top_px) == (0.65, 0, 4)
    assert (picture[:4] == FILL).all()
    assert (picture[4:316] == 0).all()
    assert (picture[316:] == FILL).all()


def test_a_small_picture_is_not_blown_up_beyond_the_largest_scale():
    picture, place = letterboxed(
        np.zeros((100, 100, 3), dtype=np.uint8), width_px=416, height_px=320, largest_scale=0.5
    )
    assert place.scale == 0.5
    assert int((picture == 0).all(axis=2).sum()) == 50 * 50


@pytest.mark.parametrize(("width", "height"), [(1, 4000), (4000, 1), (1, 1)])
def test_a_thin_picture_keeps_at_least_one_pixel(width, height):
    picture, _ = letterboxed(np.zeros((height, width, 3), dtype=np.uint8), width_px=416, height_px=320)
    assert (picture == 0).any()


@given(st.integers(20, 900), st.integers(20, 900), st.floats(0, 1), st.floats(0, 1))
def test_boxes_come_back_where_they_were(width, height, x, y):
    _, place = letterboxed(np.zeros((height, width, 3), dtype=np.uint8), width_px=416, height_px=320)
    boxes = np.array([[0, 0, x * width, y * height]], dtype=np.float32)
    there = place.to_input(boxes)
    assert there.min() >= 0
    assert there[0, 2] <= 417
    assert there[0, 3] <= 321
    np.testing.assert_allclose(place.to_frame(there), boxes, atol=0.05)
