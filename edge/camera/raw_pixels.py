"""A driver's raw bytes turned into a frame's pixels: layouts, padded rows, Bayer mosaics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a pixel lies in memory, and how OpenCV makes RGB of it (None: it is RGB already)."""

    channels: int
    to_rgb: int | None
    bits: int = 8
    """Bits that are used; above 8 a sample takes two bytes, the lowest first."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel."""
        return self.channels * (1 if self.bits <= 8 else 2)  # noqa: PLR2004


RGB: Final = Layout(channels=3, to_rgb=None)
BGR: Final = Layout(channels=3, to_rgb=cv2.COLOR_BGR2RGB)
RGBX: Final = Layout(channels=4, to_rgb=cv2.COLOR_RGBA2RGB)
BGRX: Final = Layout(channels=4, to_rgb=cv2.COLOR_BGRA2RGB)
GREY: Final = Layout(channels=1, to_rgb=cv2.COLOR_GRAY2RGB)
UYVY: Final = Layout(channels=2, to_rgb=cv2.COLOR_YUV2RGB_UYVY)
YUYV: Final = Layout(channels=2, to_rgb=cv2.COLOR_YUV2RGB_YUYV)


def grey(*, bits: int) -> Layout:
    """A monochrome camera's pixels."""
    return Layout(channels=1, to_rgb=cv2.COLOR_GRAY2RGB, bits=bits)


# OpenCV names a mosaic by the second row's second and third pixel, everybody else by the first row's
# first two.
_MOSAICS: Final = {
    "RG": cv2.COLOR_BayerBG2RGB,
    "GR": cv2.COLOR_BayerGB2RGB,
    "BG": cv2.COLOR_BayerRG2RGB,
    "GB": cv2.COLOR_BayerGR2RGB,
}


def bayer(pattern: str, *, bits: int = 8) -> Layout:
    """A colour mosaic, named by the first row's first two pixels: RG, GR, BG or GB."""
    return Layout(channels=1, to_rgb=_MOSAICS[pattern], bits=bits)


def rgb_from_raw(
    content: bytes | memoryview | NDArray[np.generic],
    *,
    layout: Layout,
    width_px: int,
    height_px: int,
    stride_bytes: int | None = None,
    offset_bytes: int = 0,
) -> Pixels:
    """A fresh RGB picture, ``uint8`` (height_px, width_px, 3) and C-contiguous; ``content`` may be reused.

    Rows begin every ``stride_bytes`` (None: without padding), the first at ``offset_bytes``; the last row may
    lack its padding. Samples of more than 8 bits lose their lowest ones. Raises ValueError where ``content``
    is shorter than the picture.
    """
    row_bytes = width_px * layout.pixel_bytes
    stride_bytes = row_bytes if stride_bytes is None else stride_bytes
    flat = np.frombuffer(content, dtype=np.uint8)[offset_bytes:]
    needed_bytes = stride_bytes * (height_px - 1) + row_bytes
    if stride_bytes < row_bytes or flat.size < needed_bytes:
        raise ValueError(
            f"{flat.size} bytes are no picture of {width_px} x {height_px} pixels in rows of {stride_bytes}"
        )
    rows = np.lib.stride_tricks.as_strided(
        flat, shape=(height_px, row_bytes), strides=(stride_bytes, 1), writeable=False
    )
    samples = np.ascontiguousarray(rows)
    if layout.bits > 8:  # noqa: PLR2004
        samples = (samples.view("<u2") >> (layout.bits - 8)).clip(0, 255).astype(np.uint8)
    shaped = samples.reshape(height_px, width_px, layout.channels)
    if layout.to_rgb is None:
        return np.array(shaped, dtype=np.uint8)
    return np.asarray(
        cv2.cvtColor(np.squeeze(shaped, axis=2) if layout.channels == 1 else shaped, layout.to_rgb)
    )
