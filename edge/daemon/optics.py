"""The calibration at work in a running station: frames corrected, and the light's drift watched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from edge.analysis.gates import Gates
from edge.calibration.calibration import Calibration, Correction
from edge.calibration.drift import Drift, DriftWatch
from edge.calibration.exposure import SET_BACK, ExposureWatch
from edge.calibration.settings import CalibrationSettings
from edge.calibration.store import CalibrationStore
from edge.camera.controls import CameraControls
from edge.camera.settings import asked_controls
from edge.config import StationConfig
from edge.contract.status import OpticsHealth
from edge.daemon.problems import Problems
from edge.errors import CalibrationError, StorageError
from edge.filesystem import Disk
from edge.frame import Frame

CALIBRATION = "calibration"
OPTICS = "optics"
EXPOSURE = "exposure"
"""The subjects under which the station's problems name what is wrong: with the calibration itself, with the
light, with how the camera takes its frames."""


class Optics:
    """Corrects every frame by the objective's calibration and watches whether that still holds.

    A frame that the calibration does not fit (another size) goes on as the camera gave it, with the problem
    told: its record then names no calibration. ``correct`` is called by the gates' thread, ``watch`` by that
    of the analysis, ``health`` by any.
    """

    def __init__(
        self,
        *,
        calibration: Calibration | None,
        gates: Gates,
        settings: CalibrationSettings,
        problems: Problems,
        now: Callable[[], datetime],
        asked: CameraControls | None = None,
    ) -> None:
        self._calibration = calibration
        self._correction = None if calibration is None else Correction(calibration)
        self._settings = settings
        self.gates = gates
        """They hold a corrected frame to the sharpness that this objective can give."""
        self._problems = problems
        self._now = now
        self._lock = threading.Lock()
        self._watch = DriftWatch()
        self._fits = True
        self._drift: Drift | None = None
        self._since: datetime | None = None
        flat = None if calibration is None else calibration.flat
        self._exposure = ExposureWatch(None if flat is None else flat.taken, asked=asked)
        self._tell_exposure(self._exposure.standing)

    def correct(self, frame: Frame) -> Frame:
        """The frame as the gates, the networks and the page shall see it."""
        if self._correction is None:
            return frame
        try:
            corrected = self._correction.apply(frame)
        except CalibrationError as error:
            self._problems.raise_(CALIBRATION, str(error))
            self._fits = False
            return frame
        if not self._fits:
            self._fits = True
            self._problems.clear(CALIBRATION)
        self._tell_exposure(self._exposure.see(frame))
        return corrected

    def watch(self, field: Frame) -> None:
        """A field that was analysed: its background tells how far the light has drifted."""
        known = self._calibration
        if known is None or known.flat is None or field.calibration != known.digest:
            return
        self._watch.see(field.pixels)
        drift = self._watch.drift()
        with self._lock:
            self._drift = drift
            wrong = "" if drift is None else self._wrong(drift)
            self._since = (self._since or self._now()) if wrong else None
        if wrong:
            self._problems.raise_(OPTICS, f"The light has changed since the calibration: {wrong}")
        else:
            self._problems.clear(OPTICS)

    def health(self) -> OpticsHealth | None:
        """What the health record tells of the optics; None where nothing was calibrated."""
        known = self._calibration
        if known is None:
            return None
        with self._lock:
            drift, since = self._drift, self._since
        health = OpticsHealth(
            objective=known.objective,
            calibration=known.digest,
            taken_otherwise=self._exposure.standing,
        )
        if drift is None:
            return health
        red, green, blue = (round(100 * each, 1) for each in (drift.red, drift.green, drift.blue))
        return health.model_copy(
            update={
                "vignetting_drift_percent": round(100 * drift.vignetting, 1),
                "colour_drift_percent": (red, green, blue),
                "fields": drift.fields,
                "drifting_since": since,
            }
        )

    def _tell_exposure(self, otherwise: tuple[str, ...]) -> None:
        if otherwise:
            self._problems.raise_(
                EXPOSURE, f"Frames are not taken as the flat field was: {'; '.join(otherwise)}. {SET_BACK}"
            )
        else:
            self._problems.clear(EXPOSURE)

    def _wrong(self, drift: Drift) -> str:
        """What has drifted beyond its limit, and what to do about it; empty where nothing has."""
        limits = self._settings
        if drift.vignetting > limits.max_vignetting_drift:
            return (
                f"a part of the picture lacks more than {limits.max_vignetting_drift:.0%} of the light. "
                "Centre and clean the condenser, look at the diaphragms, and calibrate again."
            )
        if drift.colour > limits.max_colour_drift:
            channels = {"red": drift.red, "green": drift.green, "blue": drift.blue}
            name = max(channels, key=lambda each: abs(channels[each]))
            return (
                f"{name} is more than {limits.max_colour_drift:.0%} off. Look at the lamp's brightness and "
                "filters, set the camera's white balance back, and calibrate again."
            )
        return ""


def open_optics(
    config: StationConfig, *, camera: str, problems: Problems, now: Callable[[], datetime]
) -> Optics:
    """The optics of the objective that the configuration names, on this camera.

    Where its calibration is missing, damaged or another camera's, that is a standing problem, and frames
    stay as the camera gives them: a station must run before it can be calibrated.
    """
    calibration = None
    objective = config.camera.objective
    if objective is not None:
        try:
            store = CalibrationStore(directory=config.calibration_dir, filesystem=Disk())
            calibration = store.for_camera(objective, camera)
        except (CalibrationError, StorageError) as error:
            problems.raise_(CALIBRATION, str(error))
    focus = None if calibration is None else calibration.focus
    gates = Gates(
        config.gates,
        still_images=config.camera.separate_images,
        focus_reference=None if focus is None else focus.sharpness,
    )
    return Optics(
        calibration=calibration,
        gates=gates,
        settings=config.calibration,
        problems=problems,
        now=now,
        asked=asked_controls(config.camera),
    )
