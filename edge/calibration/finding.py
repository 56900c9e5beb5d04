"""What the doctor finds of a station's calibration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edge.calibration.calibration import SHOWN_DIGITS
from edge.calibration.exposure import HOLD_IT, SET_BACK, TakenWith, left_automatic, taken_otherwise
from edge.calibration.flat_field import FlatField
from edge.calibration.store import CalibrationStore
from edge.doctor.finding import Finding, Grade

PART: Final = "calibration"


def examine_calibration(
    store: CalibrationStore,
    *,
    objective: str | None,
    camera: str,
    now: Callable[[], TakenWith] = TakenWith,
) -> Finding:
    """Whether the objective's calibration is there, whole and this camera's, and what it lacks.

    ``now`` tells how frames are taken; it is asked only where they are corrected by a flat field, whose
    pictures should have been taken so. Raises CalibrationError or StorageError where there is no calibration
    to look at.
    """
    if objective is None:
        return Finding(part=PART, grade=Grade.GOOD, text="no objective is named: frames are not corrected.")
    known = store.for_camera(objective, camera)
    measures = {"scale": known.scale, "flat": known.flat, "focus": known.focus}
    lacking = [name for name, measure in measures.items() if measure is None]
    faults = [] if known.flat is None else _of_exposure(known.flat, now())
    if lacking:
        remedy = f"Measure it: leukoscope-edge calibrate {lacking[0]}."
        faults.append((f"not measured: {', '.join(lacking)}", remedy))
    text = (
        f"objective {objective}, {known.width_px} x {known.height_px} pixels, {known.changed_at:%Y-%m-%d}, "
        f"{known.digest[:SHOWN_DIGITS]}"
    )
    if faults:
        return Finding(
            part=PART,
            grade=Grade.DOUBTFUL,
            text=f"{text}: {'; '.join(fault for fault, _ in faults)}.",
            remedy=" ".join(remedy for _, remedy in faults),
        )
    return Finding(part=PART, grade=Grade.GOOD, text=f"{text}: scale, light and focus are measured.")


def _of_exposure(flat: FlatField, now: TakenWith) -> list[tuple[str, str]]:
    """What is wrong with how frames are taken beside the flat field, each with its remedy."""
    if flat.taken is not None and (otherwise := taken_otherwise(now, flat.taken)):
        return [(f"frames are not taken as its flat field was: {', '.join(otherwise)}", SET_BACK)]
    if loose := left_automatic(now):
        return [(f"the camera is free to change {', '.join(loose)} while its frames are corrected", HOLD_IT)]
    return []
