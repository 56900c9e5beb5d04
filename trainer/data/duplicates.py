"""Finds pictures that are the same, exactly or nearly, before anything is split.

A picture is read once and leaves a fingerprint of some four kilobytes, so that a collection need not fit into
memory; fingerprints are compared by matrix products, block by block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Thumbnail = NDArray[np.float32]
Grey = NDArray[Any]

_HASH_SIDE: Final = 8
_HASH_BITS: Final = _HASH_SIDE * _HASH_SIDE
_MAX_DIFFERING_BITS: Final = 6
_MAX_DIFFERING_BITS_CUT_OUT: Final = 12
_THUMBNAIL_PX: Final = 32
_MIN_CORRELATION: Final = 0.985
_MIN_CORRELATION_CUT_OUT: Final = 0.8
"""The insides of different cells hardly correlate, and those of one differ more after compression."""
_PLAIN_LEVELS: Final = 16
_SMOOTHING: Final = 0.01
_DRAWN_IN: Final = 0.02
_MOST_CONTENT: Final = 0.75
_ROWS: Final = 512
_QUARTER_TURNS: Final = 4
_VIEWS: Final = 2 * _QUARTER_TURNS


@dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """What is kept of a picture to know it again.

    ``digest`` is of its pixels and shape. ``hashes`` are the perceptual hashes of its eight views: turned by
    0, 90, 180, 270 degrees, then mirrored and turned so; the first is of the picture as it is. ``thumbnail``
    (32, 32) is grey, of zero mean and unit length, so that a sum of products of two is their correlation.
    Both are of the inside alone where the picture is ``cut_out``: a cell on plain ground.
    """

    digest: bytes
    hashes: tuple[int, ...]
    thumbnail: Thumbnail
    cut_out: bool = False


def fingerprint(pixels: Pixels) -> Fingerprint:
    """The fingerprint of an RGB picture (h, w, 3)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    inside = _inside(grey)
    grey = grey if inside is None else inside
    return Fingerprint(
        digest=hashlib.sha256(pixels.tobytes() + str(pixels.shape).encode()).digest(),
        hashes=_hashes(grey),
        thumbnail=_thumbnail(grey),
        cut_out=inside is not None,
    )


def perceptual_hash(pixels: Pixels) -> int:
    """64 bits: whether brightness rises from each cell of a 9 x 8 grid to its right neighbour (dHash)."""
    return _hashes(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[0]


def duplicate_groups(
    fingerprints: Sequence[Fingerprint], *, turned: bool = False
) -> tuple[tuple[int, ...], ...]:
    """Indices of pictures that show the same, in groups of two and more, each ascending.

    Exact duplicates have equal pixels. Near duplicates have perceptual hashes that differ in at most 6 of
    64 bits and thumbnails that correlate above 0.985, so that two different cells of one kind, centred
    alike, are not taken for one; of two cells cut out and laid on plain ground, the insides may differ in 12
    bits and correlate above 0.8. With ``turned``, a picture is also compared with the others' quarter turns
    and mirror images: a collection that was augmented before it was published has those, and no digest of a
    file tells. Turns by other angles are not found.
    """
    joined = DisjointSets(len(fingerprints))
    first: dict[bytes, int] = {}
    for index, each in enumerate(fingerprints):
        joined.join(index, first.setdefault(each.digest, index))
    if fingerprints:
        for one, other in _near(fingerprints, views=range(_VIEWS if turned else 1)):
            joined.join(one, other)
    return tuple(group for group in joined.groups() if len(group) > 1)


class DisjointSets:
    """Indices 0 to n - 1 that are joined step by step into groups (union-find)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, index: int) -> int:
        """The smallest index of the group."""
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, one: int, other: int) -> None:
        """Make one group of two."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """All groups, by their smallest index."""
        found: dict[int, list[int]] = {}
        for index in range(len(self._parent)):
            found.setdefault(self.root(index), []).append(index)
        return tuple(tuple(found[root]) for root in sorted(found))

    def numbers(self) -> tuple[int, ...]:
        """The number of each index's group, groups counted in the order of :meth:`groups`."""
        number = {root: position for position, (root, *_) in enumerate(self.groups())}
        return tuple(number[self.root(index)] for index in range(len(self._parent)))


def _near(fingerprints: Sequence[Fingerprint], *, views: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs of near duplicates, the first as it is and the second in one of ``views``.

    With bits as +1 and -1, the product of two hashes is 64 less twice the bits that differ: exact in float32.
    """
    count = len(fingerprints)
    upright = _signs([each.hashes[0] for each in fingerprints])
    thumbnails = np.stack([each.thumbnail for each in fingerprints])
    flat = thumbnails.reshape(count, -1)
    cut_out = np.array([each.cut_out for each in fingerprints])
    for view in views:
        signs = upright if view == 0 else _signs([each.hashes[view] for each in fingerprints])
        for start in range(0, count, _ROWS):
            rows = slice(start, start + _ROWS)
            # Two pictures are turned into each other both ways, so each pair is looked at from one side only.
            both_cut_out = cut_out[rows, None] & cut_out[None, start:]
            most_bits = np.where(both_cut_out, _MAX_DIFFERING_BITS_CUT_OUT, _MAX_DIFFERING_BITS)
            alike = upright[rows] @ signs[start:].T >= _HASH_BITS - 2 * most_bits
            one, other = np.nonzero(np.triu(alike, 1))
            if not len(one):
                continue
            left, left_at = np.unique(one, return_inverse=True)
            right, right_at = np.unique(other, return_inverse=True)
            seen = np.stack([_view(thumbnails[each + start], view).ravel() for each in right])
            likeness = (flat[left + start] @ seen.T)[left_at, right_at]
            least = np.where(both_cut_out[one, other], _MIN_CORRELATION_CUT_OUT, _MIN_CORRELATION)
            for place in np.flatnonzero(likeness >= least):
                yield int(one[place]) + start, int(other[place]) + start


def _view(picture: Grey, view: int) -> Grey:
    """One of the eight views: mirrored left to right from the fifth on, then turned by quarter turns."""
    return np.rot90(np.fliplr(picture) if view >= _QUARTER_TURNS else picture, view % _QUARTER_TURNS)


def _inside(grey: Grey) -> Grey | None:
    """What stands on a plain ground, with the ground at its mean; None for a picture without plain ground.

    Cells that were cut out and laid on black are alike in that they are round blobs on black: compared whole,
    hundreds of different ones pass for one. What they are told apart by is inside.
    """
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).astype(np.int16)
    level = int(np.median(rim))
    if np.abs(rim - level).max() > _PLAIN_LEVELS:
        return None
    # Smoothed, so that the traces of compression do not move the edge; drawn in, because an edge against the
    # ground outweighs everything inside.
    side = min(grey.shape)
    away = cv2.GaussianBlur(np.abs(grey.astype(np.float32) - level), (0, 0), side * _SMOOTHING)
    inner = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(side * _DRAWN_IN) + 1,) * 2)
    there = cv2.erode((away > _PLAIN_LEVELS).astype(np.uint8), inner).astype(bool)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not len(rows) or there.mean() > _MOST_CONTENT:
        return None
    filled = np.where(there, grey, grey[there].mean()).astype(np.uint8)
    return np.ascontiguousarray(filled[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _hashes(grey: Grey) -> tuple[int, ...]:
    """Of all views. A grid of a turned picture is the turned grid, so two grids do for all."""
    wide = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    tall = cv2.resize(grey, (_HASH_SIDE, _HASH_SIDE + 1), interpolation=cv2.INTER_AREA).astype(np.int16)
    return tuple(_hash(_view(tall if view % 2 else wide, view)) for view in range(_VIEWS))


def _hash(grid: Grey) -> int:
    return int.from_bytes(np.packbits((grid[:, 1:] > grid[:, :-1]).ravel()).tobytes(), "big")


def _signs(hashes: Sequence[int]) -> NDArray[np.float32]:
    """Bits as +1 and -1, a row a hash."""
    octets = np.array(hashes, dtype=">u8").view(np.uint8).reshape(len(hashes), -1)
    return np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1


def _thumbnail(grey: Grey) -> Thumbnail:
    small = cv2.resize(grey, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    even = small.astype(np.float32)
    even -= even.mean()
    length = float(np.linalg.norm(even))
    return np.asarray(even / np.float32(length) if length > 0 else even, dtype=np.float32)
