"""Where the camera looks, followed from frame to frame between one field and the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.vision.registration import Plate, register

_KEY_OVERLAP: Final = 0.6
"""A frame that shares less with the key frame becomes the next one: each change adds an error of its own."""

_STEADY: Final = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """A place told from a field: (dx, dy) widths and heights of the picture from its corner."""

    field: int
    dx: float
    dy: float

    def moved(self, shift: tuple[float, float]) -> Anchor:
        """The place at ``shift`` from here."""
        return Anchor(field=self.field, dx=self.dx + shift[0], dy=self.dy + shift[1])


class Tracker:
    """Registers each frame with a key frame, and with the one before it where that fails.

    A place is told from a field, so it stays true when the map moves that field. Lost, the key frame is
    kept: a hand before the lens, or a knob turned out of focus and back, costs nothing.
    """

    def __init__(self) -> None:
        self._key: Plate | None = None
        self._key_at: Anchor | None = None
        self._last: Plate | None = None
        self.at: Anchor | None = None
        """Where the last frame lies; None while that is not known."""
        self.steady = False
        """Whether it lies where the map last placed one, to a few hundredths of a frame."""

    def follow(self, plate: Plate) -> None:
        """Take the next frame."""
        before, before_at, self._last = self._last, self.at, plate
        self.at, self.steady = None, False
        if self._key is None or self._key_at is None:
            return
        found = register(self._key, plate)
        if found is not None and found.trusted:
            self.at = self._key_at.moved(found.shift)
            self.steady = max(abs(found.shift[0]), abs(found.shift[1])) < _STEADY
            if found.overlap_share < _KEY_OVERLAP:
                self._key, self._key_at = plate, self.at
        elif before is not None and before_at is not None and before is not self._key:
            step = register(before, plate)
            if step is not None and step.trusted:
                self.at = before_at.moved(step.shift)
                self._key, self._key_at = plate, self.at

    def anchor(self, plate: Plate, at: Anchor) -> None:
        """The map has placed this frame."""
        self._key, self._key_at = plate, at
        self._last, self.at, self.steady = plate, at, True

    def forget(self, field: int, *, told_from: Anchor | None = None) -> None:
        """A field is no more: tell places from another one, ``told_from`` its corner, or lose them."""
        self.at = _told_otherwise(self.at, field, told_from)
        self._key_at = _told_otherwise(self._key_at, field, told_from)
        self.steady = False


def _told_otherwise(at: Anchor | None, field: int, told_from: Anchor | None) -> Anchor | None:
    if at is None or at.field != field:
        return at
    return None if told_from is None else told_from.moved((at.dx, at.dy))
