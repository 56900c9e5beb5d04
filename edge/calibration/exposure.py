"""With which exposure, gain and white balance the light was measured, and whether frames still come so.

The gains of a flat field are ratios of light to light: on a sensor that answers in proportion to light, or to
a power of it as a gamma curve does, they stay what they are when the exposure changes. What does not stay is
all that stands on the level: that empty glass is bright and not clipped, which the gates' limits and every
optical density take for granted; and, with the camera's white balance, the colour, which the gains correct
and would then correct twice or not at all. So the flat field keeps how its pictures were taken.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from edge.camera.controls import CameraControls, HeldControls
from edge.frame import Frame

MAX_CHANGE: Final = 0.1
"""Share by which exposure, gain or white balance may be off those of the flat field.

Not less: a camera may round what it is asked by a twentieth (``edge.camera.controls.not_held``), and two
roundings may lie a tenth apart. Not more: a tenth more light takes empty glass at 230 of 255, where a well
set exposure has it, to 253, which a flat field refuses as clipped; and a tenth in red or blue is the drift of
colour of which a person is told (``CalibrationSettings.max_colour_drift``). A gain is in the camera's own
measure, which may be decibels or steps: there a tenth is of that measure, and never less than a tenth of one.
"""
STEADY_FRAMES: Final = 10
"""Frames in a row before a change is told or taken back: a camera that starts, or is opened again, may need a
few until it holds what it was asked."""
SET_BACK: Final = (
    "Set camera.controls to what the flat field was taken with (leukoscope-edge calibrate show), or measure "
    "the light again: leukoscope-edge calibrate flat."
)
HOLD_IT: Final = (
    "Hold what it has now by [camera.controls], and measure the light again: leukoscope-edge calibrate flat."
)

_UNITS: Final = {"exposure": " us", "colour temperature": " K"}


@dataclass(frozen=True, kw_only=True)
class TakenWith:
    """How pictures were taken: what the camera said that it held, and what it was asked to hold.

    ``asked`` is None where that is not known, as of a folder of pictures.
    """

    held: HeldControls = field(default_factory=HeldControls)
    asked: CameraControls | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return self.asked is not None or self.held != HeldControls()

    def __str__(self) -> str:
        """Both in words."""
        parts = [f"the camera said {_words(self.held) or 'nothing of it'}"]
        if self.asked is not None:
            parts.append(f"it was asked for {_words(self.asked) or 'nothing: all was left automatic'}")
        return "; ".join(parts)


def taken_with(frames: Sequence[Frame], *, asked: CameraControls | None) -> TakenWith:
    """How ``frames`` were taken: of each figure the median, None where one of the frames does not tell it."""
    reds = [None if each.colour_gains is None else each.colour_gains[0] for each in frames]
    blues = [None if each.colour_gains is None else each.colour_gains[1] for each in frames]
    red, blue = _middle(reds), _middle(blues)
    return TakenWith(
        held=HeldControls(
            exposure_us=_middle([each.exposure_us for each in frames]),
            gain=_middle([each.gain for each in frames]),
            colour_gains=None if red is None or blue is None else (red, blue),
            colour_temperature_k=_middle([each.colour_temperature_k for each in frames]),
        ),
        asked=asked,
    )


def taken_otherwise(now: TakenWith, then: TakenWith) -> tuple[str, ...]:
    """What of ``now`` is off ``then`` by more than ``MAX_CHANGE``, each in words; empty where nothing is.

    The camera's word counts where it is known of both; else what was asked does. What is known of neither is
    passed over.
    """
    held_now, held_then = _figures(now.held), _figures(then.held)
    asked_now, asked_then = _figures(now.asked), _figures(then.asked)
    found = []
    for name, was in held_then.items():
        present, before = held_now[name], was
        if present is None or before is None:
            present, before = asked_now[name], asked_then[name]
        if before is None:
            continue
        unit = _UNITS.get(name, "")
        if present is not None and abs(present - before) > MAX_CHANGE * max(abs(before), 1.0):
            found.append(f"{name} {present:g}{unit} instead of {before:g}")
        elif present is None and now.asked is not None and asked_then[name] is not None:
            found.append(f"{name} left automatic instead of {before:g}{unit}")
    return tuple(found)


def left_automatic(taken: TakenWith) -> tuple[str, ...]:
    """What a camera that takes controls was not asked to hold, by the names of ``camera.controls``.

    Empty where it is not known what was asked. The gain is among them only where the camera tells one: of the
    others many have none, and nobody could hold it.
    """
    if taken.asked is None:
        return ()
    asked = taken.asked
    loose = {
        "exposure_us": asked.exposure_us is None,
        "gain": asked.gain is None and taken.held.gain is not None,
        "white_balance": asked.white_balance is None,
    }
    return tuple(name for name, left in loose.items() if left)


class ExposureWatch:
    """Tells, from frame to frame, whether they still come as the flat field's pictures did.

    ``see`` is called by one thread, ``standing`` by any.
    """

    def __init__(self, then: TakenWith | None, *, asked: CameraControls | None) -> None:
        self._then = then
        self._asked = asked
        self._otherwise = 0
        self._alike = 0
        self._lock = threading.Lock()
        self._standing: tuple[str, ...] = ()
        if then is not None:
            # What was asked is known before any frame, and is all there is of a camera that tells nothing.
            self._standing = taken_otherwise(TakenWith(asked=asked), then)

    def see(self, frame: Frame) -> tuple[str, ...]:
        """What is otherwise by the last ``STEADY_FRAMES`` frames, in the words of when it was first told."""
        if self._then is None:
            return ()
        changed = taken_otherwise(taken_with([frame], asked=self._asked), self._then)
        self._otherwise, self._alike = (self._otherwise + 1, 0) if changed else (0, self._alike + 1)
        with self._lock:
            if self._otherwise >= STEADY_FRAMES and not self._standing:
                self._standing = changed
            elif self._alike >= STEADY_FRAMES:
                self._standing = ()
            return self._standing

    @property
    def standing(self) -> tuple[str, ...]:
        """What ``see`` last found."""
        with self._lock:
            return self._standing


def _figures(each: HeldControls | CameraControls | None) -> dict[str, float | None]:
    known = HeldControls() if each is None else each
    red, blue = known.colour_gains or (None, None)
    return {
        "exposure": known.exposure_us,
        "gain": known.gain,
        "gain of red": red,
        "gain of blue": blue,
        "colour temperature": known.colour_temperature_k,
    }


def _words(each: HeldControls | CameraControls) -> str:
    return ", ".join(
        f"{name} {value:g}{_UNITS.get(name, '')}"
        for name, value in _figures(each).items()
        if value is not None
    )


def _middle(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return float(median(told)) if told and len(told) == len(values) else None
