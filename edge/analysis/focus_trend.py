"""Whether a picture becomes sharper or blurrier while a person turns the focus."""

from __future__ import annotations

import math
from collections import deque
from typing import Final, Literal

FocusTrend = Literal["improving", "steady", "worsening"]

WINDOW_S: Final = 1.5
"""About what a hand takes for a small turn of the fine focus; older pictures say nothing of it."""
_MIN_SAMPLES: Final = 4
_LARGEST_GAP_S: Final = 1.0
_STEADY: Final = 0.1
"""Relative change over the window below which it is the noise of an untouched focus."""


class FocusWatch:
    """Follows the sharpness of one place over the last ``WINDOW_S``."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def see(self, monotonic_s: float, sharpness: float) -> None:
        """The sharpness (``edge.vision.focus``) of a stained picture, and when it was taken."""
        if self._samples and not 0 < monotonic_s - self._samples[-1][0] < _LARGEST_GAP_S:
            self._samples.clear()
        self._samples.append((monotonic_s, math.log(max(sharpness, 1e-3))))
        while self._samples[0][0] < monotonic_s - WINDOW_S:
            self._samples.popleft()

    def forget(self) -> None:
        """Another place is seen: its sharpness cannot be compared with what was before."""
        self._samples.clear()

    @property
    def trend(self) -> FocusTrend | None:
        """What the focus does; None while too little was seen.

        By the median of the slopes between all pairs (Theil 1950, Sen 1968), of the sharpness's logarithm,
        times the time seen: a single odd picture does not turn it.
        """
        samples = tuple(self._samples)  # other threads ask, too
        if len(samples) < _MIN_SAMPLES:
            return None
        slopes = sorted(
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for place, earlier in enumerate(samples)
            for later in samples[place + 1 :]
        )
        change = slopes[len(slopes) // 2] * (samples[-1][0] - samples[0][0])
        if abs(change) < _STEADY:
            return "steady"
        return "improving" if change > 0 else "worsening"
