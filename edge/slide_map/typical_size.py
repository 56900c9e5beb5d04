"""How large the objects of a kind are, of what was seen of late."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Final

_REMEMBERED: Final = 128
_LARGE: Final = 0.9


class TypicalSize:
    """The diameters of the latest whole objects, in pixels."""

    def __init__(self) -> None:
        self._sizes_px: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, size_px: float) -> None:
        """Take one more."""
        self._sizes_px.append(size_px)

    @property
    def usual_px(self) -> float | None:
        """Their median; None before the first."""
        return median(self._sizes_px) if self._sizes_px else None

    @property
    def large_px(self) -> float | None:
        """What nine of ten do not exceed; None before the first."""
        ordered = sorted(self._sizes_px)
        return ordered[int(_LARGE * (len(ordered) - 1))] if ordered else None
