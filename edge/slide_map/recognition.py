"""Which earlier fields a picture might show again, told from its landmarks' words at a bounded cost.

A table for each word: its slots hold the latest landmarks under that word and make way for newer ones, so
neither memory nor the time of a question grows with the slide. Fields that share several words at one and
the same shift are candidates; whether they are the place, a registration must tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.landmarks import WORD_BITS, WORDS, Landmarks

_SLOTS: Final = 4
_MOST_CANDIDATES: Final = 4
_FEWEST_AGREEING: Final = 4
"""Landmarks that agree on a shift by chance: 3 to 4 on the mean over a hundred fields, one field alone."""

_AGREE: Final = 0.025
"""How far shifts may differ that are one, in widths of the picture: two and a half pixels of a thumbnail."""

_NOBODY: Final = -1


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A field that may be seen again; ``shift`` of this picture on it, both parts in picture *widths*."""

    field: int
    shift: tuple[float, float]
    agreeing: int


class Recognition:
    """Landmarks of all fields by their words."""

    def __init__(self) -> None:
        shape = (WORDS, 1 << WORD_BITS, _SLOTS)
        # The kernel gives such memory only where it is written.
        self._fields = np.zeros(shape, dtype=np.int32)
        self._points = np.zeros((*shape, 2), dtype=np.float16)
        self._next_slot = np.zeros(shape[:2], dtype=np.uint8)

    def add(self, field: int, landmarks: Landmarks) -> None:
        """Let ``field``, a number from 0, be recognised by its landmarks from now on."""
        tables = np.arange(WORDS)[None, :].repeat(len(landmarks.points), axis=0)
        slots = self._next_slot[tables, landmarks.words] % _SLOTS
        self._fields[tables, landmarks.words, slots] = field + 1
        self._points[tables, landmarks.words, slots] = landmarks.points[:, None, :]
        self._next_slot[tables, landmarks.words] = (slots + 1) % _SLOTS

    def candidates(self, landmarks: Landmarks, *, known: Callable[[int], bool]) -> tuple[Candidate, ...]:
        """The fields, of those that are ``known``, that most landmarks agree on; most of them first."""
        count = len(landmarks.points)
        if not count:
            return ()
        tables = np.arange(WORDS)[None, :].repeat(count, axis=0)
        fields = self._fields[tables, landmarks.words] - 1
        shifts = self._points[tables, landmarks.words].astype(np.float32) - landmarks.points[:, None, None, :]
        points = np.arange(count)[:, None, None].repeat(WORDS, axis=1).repeat(_SLOTS, axis=2)
        hit = fields != _NOBODY
        fields, shifts, points = fields[hit], shifts[hit], points[hit]
        named, counts = np.unique(fields, return_counts=True)
        most = named[np.argsort(-counts, kind="stable")][: 4 * _MOST_CANDIDATES]
        found = []
        for field in most.tolist():
            if not known(field):
                continue
            own = fields == field
            shift, agreeing = _common_shift(shifts[own], points[own])
            if agreeing >= _FEWEST_AGREEING:
                found.append(Candidate(field=field, shift=shift, agreeing=agreeing))
        return tuple(sorted(found, key=lambda each: -each.agreeing)[:_MOST_CANDIDATES])


def _common_shift(shifts: NDArray[np.float32], points: NDArray[np.int64]) -> tuple[tuple[float, float], int]:
    """The shift that most landmarks agree on, and how many different ones do."""
    apart = np.abs(shifts[:, None, :] - shifts[None, :, :]).max(axis=2)
    near = apart <= _AGREE
    best = int(near.sum(axis=1).argmax())
    agreeing = near[best]
    middle = shifts[agreeing].mean(axis=0)
    return (float(middle[0]), float(middle[1])), len(np.unique(points[agreeing]))
