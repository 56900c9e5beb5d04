"""Brings a frame to a detector's input size without distorting it, and boxes back from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

FILL: Final = 224
"""What lies beyond the frame: about the grey of bare glass."""


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """Where a frame lies in a network's input: scaled by ``scale``, then moved by ``left_px``, ``top_px``."""

    scale: float
    left_px: int
    top_px: int

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) in pixels of the input as pixels of the frame; not clipped."""
        shift = np.array([self.left_px, self.top_px] * 2, dtype=np.float32)
        return np.asarray((boxes - shift) / np.float32(self.scale), dtype=np.float32)

    def to_input(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (n, 4) in pixels of the frame as pixels of the input."""
        shift = np.array([self.left_px, self.top_px] * 2, dtype=np.float32)
        return np.asarray(boxes * np.float32(self.scale) + shift, dtype=np.float32)


def letterboxed(
    pixels: Pixels, *, width_px: int, height_px: int, largest_scale: float | None = None
) -> tuple[Pixels, Letterbox]:
    """The frame as large as fits into width_px x height_px, in its middle, and where it lies.

    ``largest_scale`` bounds the scale: give ``frame_um_per_px / network_um_per_px`` where the frame's scale
    is known, so that a small picture is not blown up beyond what the network was trained around. Shrinks by
    area averaging, grows by linear interpolation.
    """
    height, width = pixels.shape[:2]
    scale = min(width_px / width, height_px / height)
    if largest_scale is not None:
        scale = min(scale, largest_scale)
    columns, rows = max(1, min(width_px, round(width * scale))), max(1, min(height_px, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    left, top = (width_px - columns) // 2, (height_px - rows) // 2
    canvas = np.full((height_px, width_px, 3), FILL, dtype=np.uint8)
    canvas[top : top + rows, left : left + columns] = cv2.resize(pixels, (columns, rows), interpolation=how)
    return canvas, Letterbox(scale=scale, left_px=left, top_px=top)
