"""A picture of parallel lines summed along them, as a whole and in bands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

STEPS_PER_PX: Final = 2

_MIN_VOTES: Final = 0.4
_MIN_BAND_VOTES: Final = 0.3

Profile = NDArray[np.float64]
Relief = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A strip across all lines: its profile, and how far along the lines the pixels of each step lie.

    Both are NaN where hardly a pixel votes. Steps are counted as those of the whole picture's profile.
    """

    profile: Profile
    along_px: Profile


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """The profile across the lines, in steps of half a pixel, and the same band by band."""

    profile: Profile
    bands: tuple[Band, ...]


def project(relief: Relief, angle: float, *, bands: int = 0) -> Projection:
    """The mean along lines that are crossed at ``angle`` (radians from the rows), in half-pixel steps."""
    place, along = _places(relief, angle)
    step = (place - float(place.min())) * STEPS_PER_PX
    low = step.astype(np.int32)
    part = step - low
    size = int(low.max()) + 2
    value = relief.ravel()
    votes, sums = _sums(low, part, value, size)
    # Steps that few pixels vote for, in the picture's corners, are mostly noise.
    kept = np.flatnonzero(votes > _MIN_VOTES * votes.max())
    chosen = np.s_[kept[0] : kept[-1] + 1]
    profile = sums[chosen] / votes[chosen]
    if bands == 0:
        return Projection(profile=profile, bands=())
    edges = np.linspace(float(along.min()), float(along.max()), bands + 1)
    number = np.clip(np.searchsorted(edges, along, side="right") - 1, 0, bands - 1)
    strips = []
    for each in range(bands):
        inside = number == each
        those = (low[inside], part[inside])
        votes, sums = _sums(*those, value[inside], size)
        _, lengths = _sums(*those, along[inside], size)
        votes[votes < _MIN_BAND_VOTES * votes.max()] = np.nan
        strips.append(Band(profile=(sums / votes)[chosen], along_px=(lengths / votes)[chosen]))
    return Projection(profile=profile, bands=tuple(strips))


def _places(relief: Relief, angle: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Across and along the lines, in pixels, of each pixel."""
    rows, columns = (np.arange(size, dtype=np.float32) for size in relief.shape)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    across = columns[None, :] * cos + rows[:, None] * sin
    along = rows[:, None] * cos - columns[None, :] * sin
    return across.ravel(), along.ravel()


def _sums(
    low: NDArray[np.int32], part: NDArray[np.float32], value: NDArray[np.float32], size: int
) -> tuple[Profile, Profile]:
    """The votes for each step, and the sum of the values."""
    votes = np.bincount(low, 1 - part, size) + np.bincount(low + 1, part, size)
    sums = np.bincount(low, value * (1 - part), size) + np.bincount(low + 1, value * part, size)
    # Half steps lie between the pixels of a picture that stands straight: each takes from its neighbours.
    votes, sums = (np.convolve(each, (0.25, 0.5, 0.25), mode="same") for each in (votes, sums))
    return np.asarray(votes, dtype=np.float64), np.asarray(sums, dtype=np.float64)
