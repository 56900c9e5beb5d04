"""Which earlier fields a picture might show again, told from its landmarks' words at a bounded cost.

A table for each word: its slots hold the latest landmarks under that word and make way for newer ones, so
neither memory nor the time of a question grows with the slide. Fields that share several words at one and
the same shift are candidates; whether they are the place, a registration must tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.vision.landmarks import WORD_BITS, WORDS, Landmarks

_SLOTS: Final = 4
_MOST_CANDIDATES: Final = 4
_FEWEST_AGREEING: Final = 3
"""Landmarks must agree on a shift. Of drawn fields among 116 others, 86% were found again by a third of them,
97% by the half; what agrees by chance is told apart by the registration that follows."""

_AGREE: Final = 0.04
"""The side of the squares into which shifts are sorted, in widths of the picture."""

_OFFSETS: Final = np.array([(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)], dtype=np.float32)
_SQUARES: Final = 128
_MOST_POINTS: Final = 256


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
        fields = self._fields[tables, landmarks.words]
        hits = np.argwhere(fields > 0)
        # Most fields share a word or two by chance: they need no votes.
        _, which, counts = np.unique(fields[tuple(hits.T)], return_inverse=True, return_counts=True)
        points, words, slots = hits[counts[which] >= _FEWEST_AGREEING].T
        if not len(points):
            return ()
        places = self._points[words, landmarks.words[points, words], slots].astype(np.float32)
        shifts = places - landmarks.points[points]
        known_as = fields[points, words, slots].astype(np.int64) - 1
        found: list[Candidate] = []
        for field, shift, agreeing in _agreements(known_as, shifts, points):
            if agreeing < _FEWEST_AGREEING or len(found) == _MOST_CANDIDATES:
                break
            if known(field):
                found.append(Candidate(field=field, shift=shift, agreeing=agreeing))
        return tuple(found)


def _agreements(
    fields: NDArray[np.int64], shifts: NDArray[np.float32], points: NDArray[np.int64]
) -> Iterator[tuple[int, tuple[float, float], int]]:
    """Fields, the shift that most landmarks agree on there, and how many do; most of them first.

    Shifts are sorted into squares, four times, so that none lies at the border of all its squares.
    """
    votes = []
    for offset in _OFFSETS:
        squares = np.floor(shifts / np.float32(_AGREE) + offset).astype(np.int64) + _SQUARES // 2
        place = (fields * _SQUARES + squares[:, 0]) * _SQUARES + squares[:, 1]
        # A landmark votes once, however many of its words agree.
        voters, one_each = np.unique(place * _MOST_POINTS + points, return_index=True)
        _, first, counts = np.unique(voters // _MOST_POINTS, return_index=True, return_counts=True)
        starts = np.sort(first)
        middles = np.add.reduceat(shifts[one_each], starts, axis=0) / counts[:, None]
        votes.append((counts, fields[one_each[first]], middles))
    counts, named, middles = (np.concatenate(part) for part in zip(*votes, strict=True))
    seen: set[int] = set()
    for best in np.argsort(-counts, kind="stable").tolist():
        field = int(named[best])
        if field not in seen:
            seen.add(field)
            yield field, (float(middles[best][0]), float(middles[best][1])), int(counts[best])
