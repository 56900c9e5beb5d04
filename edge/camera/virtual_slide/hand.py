"""A stage moved by hand: jerks, overshoot, drift, pauses, ways back, and leaps that nobody could follow."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from edge.camera.virtual_slide.stage import StageView
from edge.camera.virtual_slide.streams import stream

_HAND: Final = 11
_EXPOSURE: Final = 0.25
"""The share of a frame's time in which the camera gathers light."""

_FIELDS_A_FRAME: Final = (0.08, 0.22)
"""How far a hand moves a stage from frame to frame, in fields."""

_TOO_FAST: Final = 1.4
_JERK: Final = 0.25
_OVERSHOOT: Final = 0.3
_CREEP_UM: Final = 0.012
"""How far a stage at rest may creep from frame to frame."""

_REST_FRAMES: Final = (2, 7)
_PAUSE: Final = 0.06
_PAUSE_FRAMES: Final = (15, 40)
_BACK: Final = 0.15
_LEAP: Final = 0.03
_LEAP_BACK: Final = 0.5
_DEFOCUS: Final = 0.05

_Um = tuple[float, float]


class Hand:
    """A person's way over the smear; where the stage is at any frame follows from ``seed`` alone.

    It wanders in steps of 0.3 to 1.1 fields, now and then goes back to where it was (15%), pauses,
    overshoots, forgets to focus, or leaps (3%, with ``leaps``): so far within one frame that no two pictures
    share ground, half of the times to where it has been.
    """

    def __init__(self, *, seed: int, field_um: _Um, leaps: bool = True) -> None:
        self._rng = stream(seed, _HAND)
        self._field_um = field_um
        self._leaps = leaps
        self._heading = float(self._rng.uniform(0, 2 * math.pi))
        self._at: _Um = (0.0, 0.0)
        self._rested: list[_Um] = []
        self._views: list[StageView] = []
        self._ends: list[int] = []

    def view(self, index: int) -> StageView:
        """The stage during the frame with this index, from 0."""
        while len(self._views) <= index:
            self._rest()
            self._ends.append(len(self._views))
            self._go()
        return self._views[index]

    def frames(self, fields: int) -> int:
        """How many frames it takes until the stage has rested so many times."""
        while len(self._ends) < fields:
            self.view(len(self._views))
        return self._ends[fields - 1]

    def _rest(self) -> None:
        rng = self._rng
        paused = rng.random() < _PAUSE
        frames = int(rng.integers(*(_PAUSE_FRAMES if paused else _REST_FRAMES), endpoint=True))
        defocus_um = float(rng.uniform(1.2, 2.5)) if rng.random() < _DEFOCUS else 0.0
        creep = rng.normal(0, _CREEP_UM, 2)
        for _ in range(frames):
            self._add(travel_um=(0.0, 0.0), defocus_um=math.hypot(defocus_um, float(rng.uniform(0, 0.1))))
            self._at = (self._at[0] + float(creep[0]), self._at[1] + float(creep[1]))
        self._rested.append(self._at)

    def _go(self) -> None:
        rng = self._rng
        if self._leaps and rng.random() < _LEAP:
            self._leap()
            return
        if len(self._rested) > 1 and rng.random() < _BACK:
            goal = self._somewhere_before()
        else:
            self._heading += float(rng.normal(0, 0.5))
            goal = self._beyond(float(rng.uniform(0.3, 1.1)))
        if rng.random() < _OVERSHOOT:
            share = float(rng.uniform(1.05, 1.3))
            self._move(
                (
                    self._at[0] + share * (goal[0] - self._at[0]),
                    self._at[1] + share * (goal[1] - self._at[1]),
                )
            )
        self._move(goal)

    def _leap(self) -> None:
        goal = self._beyond(float(self._rng.uniform(3, 6)))
        if len(self._rested) > 1 and self._rng.random() < _LEAP_BACK:
            goal = self._somewhere_before()
        # The way is so fast that the frame in between shows nothing that could be known again.
        half = ((goal[0] - self._at[0]) / 2, (goal[1] - self._at[1]) / 2)
        self._at = (self._at[0] + half[0], self._at[1] + half[1])
        length = max(math.hypot(half[0] / self._field_um[0], half[1] / self._field_um[1]), 1e-9)
        travel = (half[0] / length * _TOO_FAST, half[1] / length * _TOO_FAST)
        self._add(travel_um=travel, defocus_um=2.0)
        self._at = goal

    def _move(self, goal: _Um) -> None:
        rng, begin = self._rng, self._at
        way = (goal[0] - begin[0], goal[1] - begin[1])
        fields = math.hypot(way[0] / self._field_um[0], way[1] / self._field_um[1])
        frames = max(2, math.ceil(fields / float(rng.uniform(*_FIELDS_A_FRAME))))
        steps = np.maximum(0.05, 1 + _JERK * rng.normal(0, 1, frames))
        done = np.concatenate([[0.0], np.cumsum(steps / steps.sum())])
        for before, after in zip(done[:-1].tolist(), done[1:].tolist(), strict=True):
            self._at = (begin[0] + after * way[0], begin[1] + after * way[1])
            share = (after - before) * _EXPOSURE
            self._add(travel_um=(share * way[0], share * way[1]), defocus_um=0.0)
        self._at = goal

    def _beyond(self, fields: float) -> _Um:
        return (
            self._at[0] + fields * math.cos(self._heading) * self._field_um[0],
            self._at[1] + fields * math.sin(self._heading) * self._field_um[1],
        )

    def _somewhere_before(self) -> _Um:
        back = min(len(self._rested), 1 + int(self._rng.exponential(12)))
        x_um, y_um = self._rested[-back]
        off_x, off_y = self._rng.uniform(-0.5, 0.5, 2)
        return x_um + float(off_x) * self._field_um[0], y_um + float(off_y) * self._field_um[1]

    def _add(self, *, travel_um: _Um, defocus_um: float) -> None:
        self._views.append(
            StageView(
                station=len(self._rested), corner_um=self._at, travel_um=travel_um, defocus_um=defocus_um
            )
        )
