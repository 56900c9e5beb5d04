import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from edge.vision.crop import crop_square


def ramp(width: int = 100, height: int = 80) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, x + y], axis=2).astype(np.uint8)


def test_cuts_the_square_around_the_center_with_its_margin():
    pixels = ramp()
    crop = crop_square(pixels, (40, 30, 50, 40), margin=1.2, size_px=12)
    assert_array_equal(crop, pixels[29:41, 39:51])


def test_the_longer_side_decides():
    pixels = ramp()
    crop = crop_square(pixels, (30, 35, 50, 45), margin=1.0, size_px=20)
    assert_array_equal(crop, pixels[30:50, 30:50])


def test_border_pixels_repeat_beyond_the_picture():
    pixels = ramp()
    crop = crop_square(pixels, (-5, -5, 5, 5), margin=1.0, size_px=10)
    assert_array_equal(crop[:5, :5], np.broadcast_to(pixels[0, 0], (5, 5, 3)))
    assert_array_equal(crop[5:, 5:], pixels[:5, :5])


def test_shrinking_averages_area():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    crop = crop_square(pixels, (0, 0, 64, 64), margin=1.0, size_px=16)
    assert np.abs(crop.astype(int) - 127).max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    x0=st.floats(-30, 95),
    y0=st.floats(-30, 75),
    width=st.floats(0.5, 120),
    height=st.floats(0.5, 120),
    margin=st.floats(1, 2),
)
def test_any_box_that_touches_the_picture_gives_a_crop(x0, y0, width, height, margin):
    box = (x0, y0, x0 + width, y0 + height)
    if box[2] <= 0 or box[3] <= 0:
        return
    crop = crop_square(ramp(), box, margin=margin, size_px=24)
    assert crop.shape == (24, 24, 3)
    assert crop.dtype == np.uint8


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (20, 10, 10, 20), (0, 0, float("inf"), 5)])
def test_a_box_without_area_is_refused(box):
    with pytest.raises(ValueError, match="no area"):
        crop_square(ramp(), box, margin=1.2, size_px=8)


def test_a_box_outside_of_the_picture_is_refused():
    with pytest.raises(ValueError, match="outside of a picture of 100x80"):
        crop_square(ramp(), (200, 10, 210, 20), margin=1.2, size_px=8)
