"""Finds pictures that are the same, exactly or nearly, before anything is split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_HASH_SIDE: Final = 8
_MAX_DIFFERING_BITS: Final = 6
_THUMBNAIL_PX: Final = 32
_MIN_CORRELATION: Final = 0.985


def perceptual_hash(pixels: Pixels) -> int:
    """64 bits: whether brightness rises from each cell of an 9 x 8 grid to its right neighbour (dHash)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    grid = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    rises = (grid[:, 1:] > grid[:, :-1]).ravel()
    return int.from_bytes(np.packbits(rises).tobytes(), "big")


def duplicate_groups(pictures: Sequence[Pixels]) -> tuple[tuple[int, ...], ...]:
    """Indices of pictures that show the same, in groups of two and more, each ascending.

    Exact duplicates have equal pixels. Near duplicates have perceptual hashes that differ in at most 6 of
    64 bits and thumbnails that correlate above 0.985, so that two different cells of one kind, centred
    alike, are not taken for one.
    """
    digests = [hashlib.sha256(each.tobytes() + str(each.shape).encode()).digest() for each in pictures]
    hashes = np.array([perceptual_hash(each) for each in pictures], dtype=np.uint64)
    thumbnails = [_thumbnail(each) for each in pictures]
    joined = DisjointSets(len(pictures))
    first: dict[bytes, int] = {}
    for index, digest in enumerate(digests):
        joined.join(index, first.setdefault(digest, index))
    for index in range(len(pictures) - 1):
        bits = np.bitwise_xor(hashes[index], hashes[index + 1 :])
        differing = np.unpackbits(bits[:, None].view(np.uint8), axis=1).sum(axis=1)
        for other in np.flatnonzero(differing <= _MAX_DIFFERING_BITS) + index + 1:
            if float(np.dot(thumbnails[index], thumbnails[other])) >= _MIN_CORRELATION:
                joined.join(index, int(other))
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


def _thumbnail(pixels: Pixels) -> NDArray[np.float32]:
    """Small, grey, of zero mean and unit length: a dot product of two is their correlation."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    flat = small.astype(np.float32).ravel()
    flat -= flat.mean()
    length = float(np.linalg.norm(flat))
    return flat / np.float32(length) if length > 0 else flat
