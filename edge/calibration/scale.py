"""The size of a pixel on the smear, from a picture of a stage micrometer.

A stage micrometer is a ruled glass: parallel lines at a known pitch. The picture is summed along the lines,
so that thousands of pixels vote for each; the autocorrelation of that profile tells the pitch roughly, and a
straight line through the places of all the lines tells it to a fraction of a pixel, with its uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import CalibrationError
from edge.frame import Pixels

MIN_LINES: Final = 4
"""Three spacings: with fewer, one line out of place could not be told from a wrong pitch."""
MIN_PITCH_PX: Final = 8.0
"""Finer lines are near to what a sensor can alias, and their places are known to few parts of a pitch."""

_MIN_COHERENCE: Final = 0.35
_MIN_CONTRAST: Final = 6.0
"""How many times deeper than the profile's own noise the lines must be."""
_MIN_PERIODICITY: Final = 0.35
_MIN_HARMONIC: Final = 0.12
_MAX_RESIDUAL: Final = 0.04
_MIN_FOUND: Final = 0.7
_MAX_MISPLACED: Final = 0.25
_MAX_APART: Final = 0.005
_STEPS_PER_PX: Final = 2
_GRADIENT_PX: Final = 2.0
_SMALL_PX: Final = 160
# Student's t for a two-sided 95% interval, by degrees of freedom from 2 on; beyond the table it is near 2.
_STUDENT_95: Final = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160)
_STUDENT_MANY: Final = 2.145

Profile = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Micrometres of the smear to a pixel, with its 95% interval from the lines' scatter.

    ``angle_deg`` is the direction across the lines, -90 to 90 from the picture's rows; ``lines`` how many
    were used; ``residual_px`` how far they lie from where an even ruling would have them (root mean square).
    """

    um_per_px: float
    low: float
    high: float
    angle_deg: float
    lines: int
    residual_px: float


def measure_scale(picture: Pixels, *, pitch_um: float) -> Scale:
    """The scale of a picture that shows lines ruled ``pitch_um`` apart, at any angle, dark or bright.

    The angle is the eigenvector of the structure tensor (Bigun and Granlund 1987), refined to where the
    projection is richest in contrast. The interval is that of the slope of a least squares line through the
    lines' places (Student's t). Raises CalibrationError, with the reason, where the lines are not clear.
    """
    if pitch_um <= 0:
        raise ValueError("the pitch of the lines must be positive")
    relief = _relief(picture)
    angle = _refined(relief, _direction(relief))
    profile = _lines_upwards(_project(relief, angle))
    lag = _pitch_steps(profile)
    slope, error, residual, used = _ruling(_line_places(profile, lag), lag)
    _require_ruled(profile, slope)
    pitch_px = slope / _STEPS_PER_PX
    return Scale(
        um_per_px=pitch_um / pitch_px,
        low=pitch_um / (pitch_px + error / _STEPS_PER_PX),
        high=pitch_um / max(pitch_px - error / _STEPS_PER_PX, 1e-9),
        angle_deg=math.degrees(angle),
        lines=used,
        residual_px=residual / _STEPS_PER_PX,
    )


def agreed_scale(scales: Sequence[Scale]) -> Scale:
    """The scale with the narrowest interval of several pictures of one ruling.

    Raises CalibrationError where another differs from it by more than the intervals of both and half a
    percent: then the pictures are not of one objective, or not of one ruling.
    """
    best = min(scales, key=lambda scale: scale.high / scale.low)
    for each in scales:
        apart = abs(each.um_per_px / best.um_per_px - 1)
        allowed = _MAX_APART + (each.high - each.low + best.high - best.low) / (2 * best.um_per_px)
        if apart > allowed:
            raise CalibrationError(
                f"The pictures disagree: {best.um_per_px:.5f} and {each.um_per_px:.5f} um to a pixel.",
                remedy="Take all of them with one objective, of one ruling, in focus.",
            )
    return best


def _relief(picture: Pixels) -> NDArray[np.float32]:
    """The logarithm of green less the slow change of the light: about the share of light missing."""
    green = np.log1p(picture[..., 1].astype(np.float32))
    height_px, width_px = green.shape
    # What is slow is as well told by a small picture, and a wide blur of a large one takes seconds.
    small = cv2.resize(green, _small_size(width_px, height_px), interpolation=cv2.INTER_AREA)
    slow = cv2.resize(cv2.GaussianBlur(small, (0, 0), min(small.shape) / 6), (width_px, height_px))
    return np.asarray(green - slow, dtype=np.float32)


def _small_size(width_px: int, height_px: int) -> tuple[int, int]:
    columns = min(width_px, _SMALL_PX)
    return columns, max(1, round(height_px * columns / width_px))


def _direction(relief: NDArray[np.float32]) -> float:
    """The angle across the lines, in radians. Raises CalibrationError where no direction stands out."""
    smooth = cv2.GaussianBlur(relief, (0, 0), _GRADIENT_PX)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    xx, yy, xy = (float(np.mean(a * b)) for a, b in ((across, across), (down, down), (across, down)))
    coherence = math.hypot(xx - yy, 2 * xy) / max(xx + yy, 1e-12)
    if coherence < _MIN_COHERENCE:
        raise _unclear(
            f"no lines in one direction stand out (coherence {coherence:.2f} of {_MIN_COHERENCE} needed)"
        )
    return 0.5 * math.atan2(2 * xy, xx - yy)


def _refined(relief: NDArray[np.float32], angle: float) -> float:
    """The angle near ``angle`` under which the projection has the most contrast."""
    relief = relief[::2, ::2]  # no angle is lost by it, and most of the time is spent here
    for reach_deg, steps in ((3.0, 13), (0.5, 11), (0.1, 11)):
        tried = angle + np.radians(np.linspace(-reach_deg, reach_deg, steps))
        angle = float(max(tried, key=lambda each: float(np.var(_project(relief, each)))))
    return math.remainder(angle, math.pi)


def _project(relief: NDArray[np.float32], angle: float) -> Profile:
    """The mean along the lines, in half-pixel steps across them."""
    rows, columns = (np.arange(size, dtype=np.float32) for size in relief.shape)
    place = columns[None, :] * math.cos(angle) + rows[:, None] * math.sin(angle)
    start = float(place.min())
    step = ((place - start) * _STEPS_PER_PX).ravel()
    low = step.astype(np.int32)
    part = step - low
    size = int(low.max()) + 2
    votes = np.bincount(low, 1 - part, size) + np.bincount(low + 1, part, size)
    value = relief.ravel()
    sums = np.bincount(low, value * (1 - part), size) + np.bincount(low + 1, value * part, size)
    # Half steps lie between the pixels of a picture that stands straight: each takes from its neighbours.
    votes, sums = (np.convolve(each, (0.25, 0.5, 0.25), mode="same") for each in (votes, sums))
    # Steps that few pixels vote for, in the picture's corners, are mostly noise.
    kept = np.flatnonzero(votes > 0.4 * votes.max())
    chosen = np.s_[kept[0] : kept[-1] + 1]
    return np.asarray(sums[chosen] / votes[chosen], dtype=np.float64)


def _lines_upwards(profile: Profile) -> Profile:
    """The profile about its mean, turned so that the lines, which are narrow, are its peaks."""
    centred = profile - profile.mean()
    return np.asarray(centred if np.mean(centred**3) >= 0 else -centred, dtype=np.float64)


def _pitch_steps(profile: Profile) -> int:
    """The first peak of the autocorrelation that is nearly as high as any. Raises CalibrationError."""
    size = profile.size
    spectrum = np.fft.rfft(profile, 2 * size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:size] / (size - np.arange(size))
    correlation = correlation[: int(size * 0.6)] / max(correlation[0], 1e-12)
    below = np.flatnonzero(correlation < 0)
    peaks = _peaks(correlation[below[0] :]) + below[0] if below.size else np.empty(0, dtype=np.intp)
    highest = float(correlation[peaks].max()) if peaks.size else 0.0
    if highest < _MIN_PERIODICITY:
        raise _unclear(
            f"nothing repeats evenly (autocorrelation {highest:.2f} of {_MIN_PERIODICITY} needed); "
            f"fewer than {MIN_LINES} lines may be in the picture"
        )
    # Every fifth and tenth line is longer, so their spacing correlates better than that of neighbours.
    lag = int(peaks[correlation[peaks] >= 0.5 * highest][0])
    if lag < MIN_PITCH_PX * _STEPS_PER_PX:
        raise _unclear(
            f"the lines are only {lag / _STEPS_PER_PX:.1f} pixels apart, of {MIN_PITCH_PX:.0f} needed",
            remedy="Use a coarser ruling of the micrometer, or a stronger objective.",
        )
    return lag


def _peaks(values: Profile) -> NDArray[np.intp]:
    return np.flatnonzero((values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:])) + 1


def _line_places(profile: Profile, lag: int) -> Profile:
    """The middle of each line, in steps: the centroid of what is above half its height."""
    noise = float(np.median(np.abs(np.diff(profile, 2)))) / 0.6745 / math.sqrt(6)
    blurred = cv2.GaussianBlur(profile.reshape(1, -1), (0, 0), 0.05 * lag).ravel()
    smooth = np.asarray(blurred, dtype=np.float64)
    floor = float(np.median(smooth))
    peaks = _peaks(smooth)
    heights = smooth[peaks] - floor
    if peaks.size < MIN_LINES:
        raise _unclear(f"fewer than {MIN_LINES} lines are in the picture")
    wanted = 0.25 * float(np.sort(heights)[-MIN_LINES])
    if wanted < _MIN_CONTRAST * noise * 0.25:
        raise _unclear("the lines hardly stand out from the noise")
    chosen: list[int] = []
    for peak in peaks[np.argsort(-heights)]:
        if smooth[peak] - floor >= wanted and all(abs(peak - other) > 0.4 * lag for other in chosen):
            chosen.append(int(peak))
    reach = max(2, int(0.4 * lag))
    places = []
    for peak in sorted(chosen):
        if peak < reach or peak + reach >= smooth.size:
            continue  # a line that the picture's edge cuts off has its middle elsewhere
        window = smooth[peak - reach : peak + reach + 1] - floor
        above = np.clip(window - 0.5 * window[reach], 0, None)
        left = reach - int(np.argmax(above[reach::-1] <= 0))
        right = reach + int(np.argmax(above[reach:] <= 0))
        weights = above[left : right + 1]
        places.append(peak + float(np.average(np.arange(left, right + 1) - reach, weights=weights)))
    return np.asarray(places)


def _ruling(places: Profile, lag: int) -> tuple[float, float, float, int]:
    """Slope, half its 95% interval, residual (all in steps) and number of lines. Raises CalibrationError."""
    spacings = np.diff(places) / lag
    apart = np.round(spacings)
    if places.size < MIN_LINES:
        raise _unclear(f"fewer than {MIN_LINES} whole lines are in the picture")
    if np.any(apart < 1) or np.any(np.abs(spacings - apart) > _MAX_MISPLACED):
        raise _unclear("the lines are not evenly spaced")
    number = np.concatenate(([0.0], np.cumsum(apart)))
    if places.size < _MIN_FOUND * (number[-1] + 1):
        raise _unclear(f"only {places.size} of {int(number[-1]) + 1} lines are to be seen")
    centred = number - number.mean()
    spread = float(centred @ centred)
    slope = float(centred @ places) / spread
    misses = places - places.mean() - slope * centred
    rss = float(misses @ misses)
    if math.sqrt(rss / places.size) > _MAX_RESIDUAL * slope:
        raise _unclear("the lines are not evenly spaced")
    freedom = places.size - 2
    student = _STUDENT_95[freedom - 2] if freedom - 2 < len(_STUDENT_95) else _STUDENT_MANY
    error = student * math.sqrt(rss / freedom / spread)
    return slope, error, math.sqrt(rss / places.size), places.size


def _require_ruled(profile: Profile, pitch_steps: float) -> None:
    """Raise CalibrationError where the profile is a plain wave instead of lines with gaps between them.

    A ruling too fine for the sensor aliases into a coarse wave of a false pitch (moire); what a sensor
    aliases has passed its pixels' averaging, so that nothing of its harmonics is left. Lines that are far
    out of focus look the same, and are refused as well.
    """
    periods = int(profile.size / pitch_steps)
    whole = profile[: round(periods * pitch_steps)]
    phase = 2j * math.pi * np.arange(whole.size) / pitch_steps
    first, second = (abs(complex(np.sum(whole * np.exp(-order * phase)))) for order in (1, 2))
    if second < _MIN_HARMONIC * first:
        raise _unclear(
            "the lines run into one another: they are out of focus, or finer than the camera can tell (moire)"
        )


def _unclear(why: str, *, remedy: str = "") -> CalibrationError:
    return CalibrationError(
        f"The lines of the micrometer are not clear: {why}.",
        remedy=remedy
        or "Focus on the ruling, light it evenly, and let lines of one direction fill the picture.",
    )
