"""A frame made small once, for every measure that judges it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

Grey = NDArray[np.uint8]
"""A grey picture: ``uint8``, shape (height_px, width_px)."""

FINE_WIDTH_PX: Final = 320
COARSE_WIDTH_PX: Final = 160
_TALLEST: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduction:
    """A frame at the sizes in which it is judged.

    Green is where both dyes of a Wright-Giemsa stain absorb, so it carries the most structure; it is also
    the channel with the least noise of a Bayer sensor. ``samples`` are single pixels of the frame, not
    means: clipping cannot be seen in a mean.
    """

    fine_green: Grey
    coarse_green: Grey
    rgb: Pixels
    samples: Pixels


def reduce_frame(pixels: Pixels) -> Reduction:
    """``pixels`` in area means 320 px wide (green) and 160 px wide (green, RGB), and every n-th pixel.

    A frame narrower than that keeps its own size.
    """
    height_px, width_px = pixels.shape[:2]
    fine = _size(width_px, height_px, FINE_WIDTH_PX)
    coarse = _size(width_px, height_px, COARSE_WIDTH_PX)
    fine_green = _shrunk(np.asarray(cv2.extractChannel(pixels, 1), dtype=np.uint8), fine)
    step = max(1, width_px // COARSE_WIDTH_PX)
    return Reduction(
        fine_green=fine_green,
        coarse_green=_shrunk(fine_green, coarse),
        rgb=_shrunk(pixels, coarse),
        samples=pixels[::step, ::step],
    )


def _size(width_px: int, height_px: int, wanted_px: int) -> tuple[int, int]:
    width = min(width_px, wanted_px)
    return width, max(1, round(height_px * width / width_px))


def at_width(width_px: int, height_px: int, wanted_px: int) -> tuple[int, int]:
    """Width and height of a picture brought to ``wanted_px`` of width.

    One of no camera's proportions, a line of pixels say, is squeezed to four widths of height: work on it
    would take minutes otherwise.
    """
    return wanted_px, min(_TALLEST * wanted_px, max(2, round(height_px * wanted_px / width_px)))


def _shrunk(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
