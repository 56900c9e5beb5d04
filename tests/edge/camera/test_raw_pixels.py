"""A driver's bytes are the picture that it meant, whatever their layout, padding and depth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.camera.raw_pixels import BGR, BGRX, GREY, RGB, RGBX, UYVY, YUYV, Layout, bayer, grey, rgb_from_raw

RNG = np.random.default_rng(7)


@given(
    layout=st.sampled_from([RGB, BGR, RGBX, BGRX, GREY, grey(bits=10), grey(bits=16)]),
    width_px=st.integers(1, 40),
    height_px=st.integers(1, 30),
    padding_bytes=st.integers(0, 9),
    offset_bytes=st.integers(0, 9),
    trailing=st.booleans(),
)
def test_padding_and_offset_change_nothing(
    layout: Layout, width_px: int, height_px: int, padding_bytes: int, offset_bytes: int, trailing: bool
) -> None:
    row_bytes = width_px * layout.pixel_bytes
    rows = RNG.integers(0, 256, (height_px, row_bytes), dtype=np.uint8)
    if layout.bits > 8:
        rows = (rows.view("<u2") & ((1 << layout.bits) - 1)).view(np.uint8)
    plain = rgb_from_raw(rows.tobytes(), layout=layout, width_px=width_px, height_px=height_px)
    padded = np.pad(rows, ((0, 0), (0, padding_bytes)), constant_values=99).tobytes()
    if not trailing and padding_bytes:
        padded = padded[:-padding_bytes]
    same = rgb_from_raw(
        bytes(offset_bytes) + padded,
        layout=layout,
        width_px=width_px,
        height_px=height_px,
        stride_bytes=row_bytes + padding_bytes,
        offset_bytes=offset_bytes,
    )
    assert np.array_equal(plain, same)
    assert plain.shape == (height_px, width_px, 3)
    assert plain.dtype == np.uint8
    assert plain.flags.c_contiguous
    assert plain.flags.writeable


@pytest.mark.parametrize(
    ("layout", "pixel"),
    [(RGB, (1, 2, 3)), (BGR, (3, 2, 1)), (RGBX, (1, 2, 3, 9)), (BGRX, (3, 2, 1, 9))],
)
def test_colours_come_in_the_order_of_a_frame(layout: Layout, pixel: tuple[int, ...]) -> None:
    assert (
        rgb_from_raw(bytes(pixel) * 6, layout=layout, width_px=3, height_px=2).tolist()
        == [[[1, 2, 3]] * 3] * 2
    )


@pytest.mark.parametrize("layout", [UYVY, YUYV])
def test_grey_in_luma_and_chroma_is_grey(layout: Layout) -> None:
    pair = (128, 126, 128, 126) if layout is UYVY else (126, 128, 126, 128)
    rgb = rgb_from_raw(bytes(pair) * 4, layout=layout, width_px=4, height_px=2)
    assert np.ptp(rgb) == 0
    assert 120 < rgb[0, 0, 0] < 135


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(
    ("pattern", "cells"), [("RG", "RGGB"), ("GR", "GRBG"), ("BG", "BGGR"), ("GB", "GBRG")]
)
def test_a_mosaic_of_one_colour_is_that_colour(pattern: str, cells: str, bits: int) -> None:
    value = {"R": 200, "G": 100, "B": 50}
    tile = np.array([value[each] for each in cells]).reshape(2, 2)
    samples = np.tile(tile, (6, 8)) << (bits - 8)
    raw = samples.astype(np.uint8 if bits == 8 else "<u2")
    rgb = rgb_from_raw(raw.tobytes(), layout=bayer(pattern, bits=bits), width_px=16, height_px=12)
    assert (rgb == (200, 100, 50)).all()


def test_a_buffer_may_be_used_again() -> None:
    content = np.full(12, 7, dtype=np.uint8)
    picture = rgb_from_raw(content, layout=RGB, width_px=2, height_px=2)
    content[:] = 9
    assert (picture == 7).all()


@pytest.mark.parametrize(
    ("size", "stride_bytes"), [(11, None), (0, None), (12, 5)], ids=["short", "empty", "stride below a row"]
)
def test_what_is_no_whole_picture_is_refused(size: int, stride_bytes: int | None) -> None:
    with pytest.raises(ValueError, match="no picture of 2 x 2"):
        rgb_from_raw(bytes(size), layout=RGB, width_px=2, height_px=2, stride_bytes=stride_bytes)
