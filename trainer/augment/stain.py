"""Stain as a thing to change: optical density, stain vectors, and transfer from another picture.

A stain absorbs light by Beer and Lambert's law, so amounts of stain add up in optical density,
``od = -log10(intensity / 256)``, and not in RGB. Changes made there look like another day's staining of the
same cell; changes of RGB channels look like a coloured lamp.

Which laboratory stained a smear says nothing of what a cell is, so a network must never find it useful.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An RGB picture: ``uint8``, shape (height_px, width_px, 3)."""
Matrix = NDArray[np.float32]

# Unit optical density over R, G, B of the two dyes of a Romanowsky stain: azure B (nuclei, blue cytoplasm)
# and eosin Y (red cells, granules). Rounded from `measure_stain` on smears of three laboratories.
ROMANOWSKY: Final = ((0.68, 0.66, 0.32), (0.28, 0.78, 0.56))
_DENSITY_OF: Final = -np.log10((np.arange(256) + 1) / 256).astype(np.float32)
_LOG_10: Final = np.float32(np.log(10))
_STAINED_OD: Final = 0.12
_MIN_STAINED_PX: Final = 50
_MIN_STRENGTH: Final = 0.05
_PRIOR_WEIGHT: Final = 1.5
_MEASURED_SIDE_PX: Final = 96


def optical_density(pixels: Pixels) -> Matrix:
    """Optical density of each pixel and channel against full white; float32, the picture's shape."""
    return np.asarray(cv2.LUT(pixels, _DENSITY_OF), dtype=np.float32)


def from_optical_density(density: Matrix) -> Pixels:
    """The picture of an optical density; the inverse of `optical_density` up to rounding."""
    intensity = np.asarray(cv2.exp(density * -_LOG_10), dtype=np.float32)
    return np.asarray(np.clip(intensity * 256 - 0.5, 0, 255), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class StainProfile:
    """How a picture is stained.

    ``background`` is the optical density of bare glass (3); ``vectors`` are the unit stain vectors, azure
    first (2 x 3); ``strength`` is the 99th percentile of each stain's amount (2).
    """

    background: Matrix
    vectors: Matrix
    strength: Matrix


def measure_stain(pixels: Pixels) -> StainProfile:
    """The stain profile of a picture, after Macenko et al. (ISBI 2009).

    The two stains are the extreme directions (2nd and 98th percentile of angle) in the plane of the two
    largest principal components of the optical density of stained pixels. A picture with hardly any stain
    gets the `ROMANOWSKY` vectors at unit strength.
    """
    small = cv2.resize(pixels, (_MEASURED_SIDE_PX, _MEASURED_SIDE_PX), interpolation=cv2.INTER_AREA)
    density = optical_density(np.asarray(small, dtype=np.uint8)).reshape(-1, 3)
    background = np.percentile(density, 5, axis=0).astype(np.float32)
    net = density - background
    stained = net[net.mean(axis=1) > _STAINED_OD]
    vectors = np.asarray(ROMANOWSKY, dtype=np.float32)
    strength = np.ones(2, dtype=np.float32)
    if len(stained) >= _MIN_STAINED_PX:
        vectors = _extreme_directions(stained)
        amounts = stained @ np.linalg.pinv(vectors)
        strength = np.maximum(np.percentile(amounts, 99, axis=0), _MIN_STRENGTH).astype(np.float32)
    return StainProfile(background=background, vectors=_unit_rows(vectors), strength=strength)


def transfer_stain(pixels: Pixels, *, source: StainProfile, target: StainProfile) -> Pixels:
    """The picture as if stained and lit like ``target``; ``source`` is its own profile.

    Amounts of the two stains stay what they are relative to the profile's strength; what the two vectors
    do not explain is carried over unchanged.
    """
    gain = target.strength / source.strength
    dyed = np.diag(np.clip(gain, 0.3, 3.0)).astype(np.float32) @ target.vectors
    unmix = np.linalg.pinv(source.vectors).astype(np.float32)
    change = unmix @ dyed + np.eye(3, dtype=np.float32) - unmix @ source.vectors
    return _map_density(pixels, change, before=source.background, after=target.background)


def vary_stain(pixels: Pixels, rng: np.random.Generator, *, amount: float = 1.0) -> Pixels:
    """A random change of the strength and colour of both stains, and of the third that neither explains.

    ``amount`` scales the change: 1 covers what one meets between laboratories.
    """
    basis = np.vstack([ROMANOWSKY, np.cross(*np.asarray(ROMANOWSKY))]).astype(np.float32)
    basis = _unit_rows(basis)
    dyed = _unit_rows(basis + rng.normal(0, 0.10 * amount, (3, 3)).astype(np.float32))
    strength = np.exp(rng.normal(0, 0.25 * amount, 3)).astype(np.float32)
    change = np.linalg.inv(basis).astype(np.float32) @ (strength[:, None] * dyed)
    glass = np.percentile(optical_density(pixels[::4, ::4]).reshape(-1, 3), 5, axis=0).astype(np.float32)
    shift = rng.normal(0, 0.04 * amount, 3).astype(np.float32)
    return _map_density(pixels, change, before=glass, after=np.maximum(glass + shift, 0))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabStatistics:
    """Mean and standard deviation of a picture's CIELAB channels (3 each), in 8-bit units."""

    mean: Matrix
    deviation: Matrix


def measure_lab(pixels: Pixels) -> LabStatistics:
    """The colour statistics that Reinhard's transfer matches."""
    mean, deviation = cv2.meanStdDev(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB))
    return LabStatistics(
        mean=mean.ravel().astype(np.float32), deviation=np.maximum(deviation.ravel(), 1).astype(np.float32)
    )


def transfer_lab(
    pixels: Pixels, *, target: LabStatistics, source: LabStatistics | None = None, share: float = 1.0
) -> Pixels:
    """The picture with mean and deviation in CIELAB moved by ``share`` towards the target's.

    ``source`` is the picture's own statistics, measured here where not given (a part's may be given: then
    that part takes on the target's colours).
    Reinhard et al., Color transfer between images (2001), in CIELAB. The stretch of a channel is kept
    within one third and three, so that a flat picture does not become noise.
    """
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)
    own = source or measure_lab(pixels)
    stretch = np.clip(target.deviation / own.deviation, 1 / 3, 3) ** share
    mean = own.mean + (target.mean - own.mean) * share
    moved = (lab - own.mean) * stretch.astype(np.float32) + mean.astype(np.float32)
    return np.asarray(
        cv2.cvtColor(np.clip(moved, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), dtype=np.uint8
    )


def _map_density(pixels: Pixels, change: Matrix, *, before: Matrix, after: Matrix) -> Pixels:
    """``(od - before) @ change + after`` in one pass."""
    affine = np.column_stack([change.T, after - before @ change]).astype(np.float32)
    return from_optical_density(np.asarray(cv2.transform(optical_density(pixels), affine), dtype=np.float32))


def _extreme_directions(stained: Matrix) -> Matrix:
    """The two stain directions of net optical densities (n x 3), azure first: it absorbs more red."""
    _, axes = np.linalg.eigh(np.cov(stained, rowvar=False))
    plane = axes[:, [2, 1]]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    flat = stained @ plane
    low, high = np.percentile(np.arctan2(flat[:, 1], flat[:, 0]), (2, 98))
    ends = [plane @ np.array([np.cos(angle), np.sin(angle)]) for angle in (low, high)]
    ends.sort(key=lambda end: -float(end[0] / max(float(np.linalg.norm(end)), 1e-6)))
    vectors = np.maximum(np.asarray(ends, dtype=np.float32), 0.01)
    # One small picture shows little of one dye, and its extremes wander; the prior holds them, and keeps
    # the two apart, without which the unmixing would explode.
    prior = _unit_rows(np.asarray(ROMANOWSKY, dtype=np.float32))
    return _unit_rows(_unit_rows(vectors) + np.float32(_PRIOR_WEIGHT) * prior)


def _unit_rows(rows: Matrix) -> Matrix:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
