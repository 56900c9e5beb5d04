"""The crop rule: how a cell is cut out for the classifier, the same in the trainer and in the station."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

BoxPx = tuple[float, float, float, float]


def crop_square(pixels: Pixels, box_px: BoxPx, *, margin: float, size_px: int) -> Pixels:
    """A square around the box's centre, its side ``margin`` times the longer side, as size_px x size_px RGB.

    Where the square reaches out of the picture the border pixels are repeated. Shrinks by area averaging,
    grows by linear interpolation. ``box_px`` is x0, y0, x1, y1 and may itself reach out of the picture.
    Raises ValueError for a box without area or without any pixel in the picture.
    """
    x0, y0, x1, y1 = box_px
    height, width = pixels.shape[:2]
    if not (x1 > x0 and y1 > y0 and math.isfinite(x1 - x0) and math.isfinite(y1 - y0)):
        raise ValueError(f"box {box_px} has no area")
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ValueError(f"box {box_px} lies outside of a picture of {width}x{height}")
    side = max(1, round(margin * max(x1 - x0, y1 - y0)))
    left = round((x0 + x1 - side) / 2)
    top = round((y0 + y1 - side) / 2)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    if columns[-1] - columns[0] == side - 1 and rows[-1] - rows[0] == side - 1:
        square: NDArray[np.uint8] = pixels[top : top + side, left : left + side]
    else:
        square = pixels[rows[:, None], columns[None, :]]
    method = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size_px, size_px), interpolation=method), dtype=np.uint8)
