"""What the doctor finds of a station's calibration."""

from __future__ import annotations

from typing import Final

from edge.calibration.calibration import SHOWN_DIGITS
from edge.calibration.store import CalibrationStore
from edge.doctor.finding import Finding, Grade

PART: Final = "calibration"


def examine_calibration(store: CalibrationStore, *, objective: str | None, camera: str) -> Finding:
    """Whether the objective's calibration is there, whole and this camera's, and what it lacks.

    Raises CalibrationError or StorageError where it is not.
    """
    if objective is None:
        return Finding(part=PART, grade=Grade.GOOD, text="no objective is named: frames are not corrected.")
    known = store.for_camera(objective, camera)
    measures = {"scale": known.scale, "flat": known.flat, "focus": known.focus}
    lacking = [name for name, measure in measures.items() if measure is None]
    text = (
        f"objective {objective}, {known.width_px} x {known.height_px} pixels, {known.changed_at:%Y-%m-%d}, "
        f"{known.digest[:SHOWN_DIGITS]}"
    )
    if lacking:
        return Finding(
            part=PART,
            grade=Grade.DOUBTFUL,
            text=f"{text}: not measured: {', '.join(lacking)}.",
            remedy=f"Measure it: leukoscope-edge calibrate {lacking[0]}.",
        )
    return Finding(part=PART, grade=Grade.GOOD, text=f"{text}: scale, light and focus are measured.")
