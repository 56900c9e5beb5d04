"""What a camera gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An RGB picture: ``uint8``, shape (height_px, width_px, 3)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture from a camera, before any gate has judged it.

    ``captured_at`` is wall-clock UTC, for records; ``monotonic_s`` is for intervals and order.
    ``um_per_px`` and ``stage_um`` (x, y of the frame's top left corner on the smear plane) are None where
    the camera cannot know them. So are ``exposure_us``, ``gain`` (in the camera's own measure),
    ``colour_gains`` (red, blue) and ``colour_temperature_k``: what the camera says that it did, not what it
    was asked. ``calibration`` is the digest of the calibration that corrected the pixels, None before any.
    """

    pixels: Pixels
    index: int
    source: str
    captured_at: datetime
    monotonic_s: float
    um_per_px: float | None = None
    stage_um: tuple[float, float] | None = None
    exposure_us: float | None = None
    gain: float | None = None
    colour_gains: tuple[float, float] | None = None
    colour_temperature_k: float | None = None
    calibration: str | None = None

    @property
    def width_px(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])
