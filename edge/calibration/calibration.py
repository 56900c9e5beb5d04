"""What was measured of one objective on one camera, and a frame corrected by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.calibration.flat_field import FlatField
from edge.calibration.focus_reference import FocusReference
from edge.calibration.scale import Scale
from edge.errors import CalibrationError
from edge.frame import Frame, Pixels

SHOWN_DIGITS: Final = 12

Measure = Scale | FlatField | FocusReference


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """The measures of ``objective`` for pictures of this size by this camera; None where not yet made.

    ``digest`` names its whole content (SHA-256); it is what records carry.
    """

    objective: str
    camera: str
    width_px: int
    height_px: int
    changed_at: datetime
    scale: Scale | None = None
    flat: FlatField | None = None
    focus: FocusReference | None = None
    digest: str = ""

    def require_for(self, *, camera: str, width_px: int, height_px: int) -> None:
        """Raise CalibrationError where pictures of that camera and size are not those it was made for."""
        if camera != self.camera:
            raise CalibrationError(
                f"The calibration of objective {self.objective} is that of the camera {self.camera}, not of "
                f"{camera}.",
                remedy="Calibrate this camera: leukoscope-edge calibrate.",
            )
        if (width_px, height_px) != (self.width_px, self.height_px):
            raise CalibrationError(
                f"The calibration of objective {self.objective} is for pictures of {self.width_px} x "
                f"{self.height_px} pixels, the camera gives {width_px} x {height_px}.",
                remedy="Set the camera's size back, or calibrate again: leukoscope-edge calibrate.",
            )


def renewed(
    before: Calibration | None,
    *,
    objective: str,
    camera: str,
    size_px: tuple[int, int],
    changed_at: datetime,
    measure: Measure,
) -> Calibration:
    """A calibration with ``measure`` in the place of its kind.

    The other measures of ``before`` are kept where they are of the same camera and picture size.
    """
    width_px, height_px = size_px
    kept = before
    if kept is None or (kept.camera, kept.width_px, kept.height_px) != (camera, width_px, height_px):
        kept = Calibration(
            objective=objective, camera=camera, width_px=width_px, height_px=height_px, changed_at=changed_at
        )
    if isinstance(measure, Scale):
        return replace(kept, changed_at=changed_at, digest="", scale=measure)
    if isinstance(measure, FlatField):
        return replace(kept, changed_at=changed_at, digest="", flat=measure)
    return replace(kept, changed_at=changed_at, digest="", focus=measure)


class Correction:
    """Makes frames what they would be in even, neutral light, with the scale known.

    The gains are brought to the picture's size once; a frame then takes one multiplication.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._gains = None if calibration.flat is None else _full_size(calibration.flat, calibration)

    def apply(self, frame: Frame) -> Frame:
        """The corrected frame, with the calibration's scale and digest; ``frame`` itself is left alone.

        Values above 255 are cut off there. Raises CalibrationError for a frame of another size.
        """
        known = self.calibration
        um_per_px = frame.um_per_px if known.scale is None else known.scale.um_per_px
        pixels = self.apply_to_pixels(frame.pixels)
        return replace(frame, pixels=pixels, um_per_px=um_per_px, calibration=known.digest)

    def apply_to_pixels(self, pixels: Pixels) -> Pixels:
        """Corrected pixels; the same ones where the light was not measured. Raises as ``apply``."""
        known = self.calibration
        height_px, width_px = pixels.shape[:2]
        known.require_for(camera=known.camera, width_px=width_px, height_px=height_px)
        if self._gains is None:
            return pixels
        return np.asarray(cv2.multiply(pixels, self._gains, dtype=cv2.CV_8U), dtype=np.uint8)


def _full_size(flat: FlatField, calibration: Calibration) -> NDArray[np.float32]:
    size = (calibration.width_px, calibration.height_px)
    gains = cv2.resize(flat.gains, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.maximum(gains, 1), dtype=np.float32)
