"""Where one field lies against another: the shift between two pictures of one smear.

Normalised cross-correlation over the overlap alone, for every shift at once: the products' sums by Fourier
transform, the overlap's sums by integral image (Lewis 1995, "Fast normalized cross-correlation"; Padfield
2012, "Masked object registration in the Fourier domain"). Unlike phase correlation under a window it finds
overlaps of a tenth of the frame, and its peak is a coefficient with a meaning: -1 to 1, whatever the light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.reduction import Grey, at_width

_WIDTH_PX: Final = 104
_ILLUMINATION_PX: Final = 25
_SMALLEST_OVERLAP: Final = 0.1
_ALIKE_AT_NONE: Final = 0.9
_ALIKE_AT_WHOLE: Final = 0.75
"""Frames that do show one place correlated by 0.89 and more among 292 real ones (0.85 where noise and blur
were added to one of the two); others reached 0.86 over a tenth of the frame, 0.83 over a quarter."""

_PLAUSIBLE_AT_NONE: Final = 0.84
_PLAUSIBLE_LOSS: Final = 0.35
_LEAST_PLAUSIBLE: Final = 0.66
"""Looked for near the true shift, 348 noisy and blurred pairs of drawn frames correlated by 0.82 and more
over a tenth of the frame, 0.79 over a quarter, 0.85 over the half; pictures of other places by 0.80, 0.65
and 0.60 at most."""

_BLANK: Final = 0.1

_SCREEN_MARGIN: Final = 0.2
"""Of 1,159 pairs of noisy and blurred cuts of real frames that share a twelfth to a third of their ground and
are trusted, all but 6 come within this of it at half the size; of 847 pairs of other places 3% do."""

Floats = NDArray[np.float32]
Share = TypeVar("Share", float, Floats)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plate:
    """A picture prepared for registration, so that each is transformed once and compared often.

    ``sums``, ``means`` and ``spreads`` hold, for every shift of another plate against this one, the sum of
    this one's values over the overlap, their mean, and the sum of their squared distances from it.
    """

    values: Floats
    spectrum: NDArray[np.complex64]
    sums: Floats
    means: Floats
    spreads: Floats

    @cached_property
    def half(self) -> Plate:
        """The same picture at half the size, for a first look."""
        rows, columns = self.values.shape
        size = max(2, columns // 2), max(2, rows // 2)
        return _plate(cv2.resize(self.values, size, interpolation=cv2.INTER_AREA))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Overlaps:
    """What every pair of plates of one size has in common, for every shift.

    ``floors`` bounds the product of both spreads from below: plates have unit variance, and where an overlap
    has far less, both are blank there and only noise agrees. ``weights`` are the roots of the shares, for a
    small overlap agrees more easily by chance, as the root of what it holds; ``small`` where it is too small.
    """

    areas: Floats
    shares: Floats
    floors: Floats
    weights: Floats
    small: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Where the later picture lies on the earlier: pixel (x, y) of it is (x + dx, y + dy) there.

    ``shift`` is (dx, dy) in widths and heights of the picture; ``correlation`` is that over the overlap.
    """

    shift: tuple[float, float]
    overlap_share: float
    correlation: float

    @property
    def trusted(self) -> bool:
        """Whether both show one place. A small overlap may agree by chance, so more is asked of it."""
        return self.correlation >= _trusted_from(self.overlap_share)

    @property
    def plausible(self) -> bool:
        """Whether both may show one place, where the shift was known roughly beforehand: less is asked."""
        least = max(_LEAST_PLAUSIBLE, _PLAUSIBLE_AT_NONE - _PLAUSIBLE_LOSS * self.overlap_share)
        return self.correlation >= least


def _trusted_from(overlap_share: Share) -> Share:
    """The least correlation that is trusted over this share of a picture."""
    return _ALIKE_AT_NONE + (_ALIKE_AT_WHOLE - _ALIKE_AT_NONE) * overlap_share


def thumbnail_of(green: Grey) -> Grey:
    """``green`` reduced to 104 px of width: all that registration ever looks at, in 8 KB."""
    height_px, width_px = green.shape
    size = at_width(width_px, height_px, _WIDTH_PX)
    return np.asarray(cv2.resize(green, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def plate_of(green: Grey) -> Plate:
    """Prepare ``green`` at any size: its thumbnail, the illumination taken out."""
    # The logarithm makes shading a sum, which the wide mean then takes away.
    density = np.log(thumbnail_of(green).astype(np.float32) + np.float32(8.0))
    density -= cv2.blur(density, (_ILLUMINATION_PX, _ILLUMINATION_PX))
    return _plate(cv2.GaussianBlur(density, (0, 0), 0.8))


def _plate(values: NDArray[Any]) -> Plate:
    values = (values / max(float(values.std()), 1e-3)).astype(np.float32)
    sums = _sums_over_overlap(values)
    means = sums / _overlaps(*values.shape).areas
    return Plate(
        values=values,
        spectrum=np.fft.rfft2(values, _padded(values.shape)).astype(np.complex64, copy=False),
        sums=sums,
        means=means,
        spreads=_sums_over_overlap(values * values) - sums * means,
    )


def register(
    earlier: Plate, later: Plate, *, near: tuple[float, float] | None = None, within: float = 0.15
) -> Registration | None:
    """The shift at which both agree best, trusted or not; None for pictures of different proportions.

    Where the shift is known roughly, it is looked for only up to ``within`` from ``near``, both in widths
    and heights of the picture; None then where nothing within that overlaps. The peak is told to a part of
    a thumbnail's pixel, by the parabola through it and its neighbours.
    """
    if earlier.values.shape != later.values.shape:
        return None
    rows, columns = earlier.values.shape
    overlaps = _overlaps(rows, columns)
    top, bottom, left, right = 0, 2 * rows - 1, 0, 2 * columns - 1
    if near is not None:
        top, bottom = _window(near[1], within, rows)
        left, right = _window(near[0], within, columns)
        if top >= bottom or left >= right:
            return None
    # With a border of one, between whose values and the peak's the parabola is laid.
    down, across = slice(max(0, top - 1), bottom + 1), slice(max(0, left - 1), right + 1)
    part = down, across
    correlation = _correlation(earlier.spectrum, earlier.means, earlier.spreads, later, part)
    evidence = correlation * overlaps.weights[part]
    evidence[overlaps.small[part]] = -1.0
    inner = evidence[top - down.start : bottom - down.start, left - across.start : right - across.start]
    best = int(inner.argmax())
    if near is not None and inner.flat[best] < 0:
        return None
    row = top - down.start + best // inner.shape[1]
    column = left - across.start + best % inner.shape[1]
    x = across.start + column + _peak_between(evidence[row, max(0, column - 1) : column + 2])
    y = down.start + row + _peak_between(evidence[max(0, row - 1) : row + 2, column])
    return Registration(
        shift=((x - (columns - 1)) / columns, (y - (rows - 1)) / rows),
        overlap_share=float(overlaps.shares[part][row, column]),
        correlation=float(correlation[row, column]),
    )


def might_agree(earlier: Sequence[Plate], later: Plate) -> tuple[bool, ...]:
    """For each of several plates, whether `register` may trust it to show the later one's place.

    All are of one size, and looked at together at half of it: a third of the cost of registering each.
    """
    halves, half = [each.half for each in earlier], later.half
    if not halves:
        return ()
    overlaps = _overlaps(*half.values.shape)
    correlation = _correlation(
        np.stack([each.spectrum for each in halves]),
        np.stack([each.means for each in halves]),
        np.stack([each.spreads for each in halves]),
        half,
    ).reshape(len(halves), -1)
    best = np.where(overlaps.small.ravel(), -1.0, correlation * overlaps.weights.ravel()).argmax(axis=1)
    agreed = correlation[np.arange(len(halves)), best]
    asked = _trusted_from(overlaps.shares.ravel()[best]) - _SCREEN_MARGIN
    return tuple((agreed >= asked).tolist())


def _correlation(
    spectrum: NDArray[np.complex64],
    means: Floats,
    spreads: Floats,
    later: Plate,
    part: tuple[slice, slice] = (slice(None), slice(None)),
) -> Floats:
    """That of one earlier plate, or of a stack of them, with the later one, at the shifts of ``part``."""
    rows, columns = later.values.shape
    products = np.fft.irfft2(spectrum * np.conj(later.spectrum), _padded((rows, columns)))
    products = np.roll(products, (rows - 1, columns - 1), (-2, -1))[..., : 2 * rows - 1, : 2 * columns - 1]
    # Seen from the later picture the same overlap belongs to the opposite shift.
    covariance = products[(..., *part)] - means[(..., *part)] * later.sums[::-1, ::-1][part]
    floors = _overlaps(rows, columns).floors[part]
    scale = np.maximum(spreads[(..., *part)] * later.spreads[::-1, ::-1][part], floors)
    return np.asarray(covariance / np.sqrt(scale, out=scale), dtype=np.float32)


def _window(near: float, within: float, size: int) -> tuple[int, int]:
    """First and last but one of the shifts around ``near``, as indices."""
    start = size - 1 + math.floor((near - within) * size)
    end = size + math.ceil((near + within) * size)
    return max(0, start), min(2 * size - 1, end)


def _peak_between(values: NDArray[np.float64] | Floats) -> float:
    """Where the parabola through three values has its top, from the middle one; 0 at an edge or a slope."""
    if values.shape != (3,):
        return 0.0
    before, peak, after = (float(value) for value in values)
    bend = before - 2 * peak + after
    if bend >= 0 or min(before, after) < 0:
        return 0.0
    return max(-0.5, min(0.5, 0.5 * (before - after) / bend))


def _padded(shape: tuple[int, ...]) -> tuple[int, int]:
    # Room for every shift, so that none wraps around onto another.
    return cv2.getOptimalDFTSize(2 * shape[0] - 1), cv2.getOptimalDFTSize(2 * shape[1] - 1)


def _sums_over_overlap(values: Floats) -> Floats:
    table = cv2.integral(values, sdepth=cv2.CV_64F)
    # Of the integral's rows and columns, up to each one; then, of what is left, from each one on.
    strips = np.concatenate([table[1:], table[-1:] - table[1:-1]])
    return np.concatenate([strips[:, 1:], strips[:, -1:] - strips[:, 1:-1]], axis=1, dtype=np.float32)


@lru_cache(maxsize=4)
def _overlaps(rows: int, columns: int) -> _Overlaps:
    down = rows - np.abs(np.arange(1 - rows, rows, dtype=np.float32))
    across = columns - np.abs(np.arange(1 - columns, columns, dtype=np.float32))
    areas: Floats = np.outer(down, across)
    shares = areas / np.float32(rows * columns)
    return _Overlaps(
        areas=areas,
        shares=shares,
        floors=(np.float32(_BLANK) * areas) ** 2,
        weights=np.sqrt(shares),
        small=shares < _SMALLEST_OVERLAP,
    )
