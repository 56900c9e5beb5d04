"""The size of a pixel on the smear, from a picture of a stage micrometer.

A stage micrometer is a ruled glass: parallel lines at a known pitch. The picture is summed along the lines,
so that thousands of pixels vote for each; the autocorrelation of that profile tells the pitch roughly, and a
straight line through the places of all the lines (``edge.calibration.ruled_lines``) tells it to a fraction of
a pixel, with its uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.calibration.projection import STEPS_PER_PX, Profile, Relief, project
from edge.calibration.ruled_lines import (
    ASSUMED,
    BANDS,
    Evenness,
    Ruling,
    fit,
    middles,
    sight,
    stated,
    straightness,
)
from edge.errors import CalibrationError
from edge.frame import Pixels

MIN_LINES: Final = 4
"""Three spacings: with fewer, one line out of place could not be told from a wrong pitch."""
MAX_UNSURE: Final = 0.0035
"""Half the widest 95% interval that is accepted, as a share: below the half percent that is aimed at, since
of few lines those are accepted that lie evenly by chance. Of a ruling whose evenness nobody states
(``ASSUMED``), five lines never reach it."""
MAX_BEND: Final = 0.0025
"""Share by which the lines may be wider or closer in the middle than over all of the picture. The scale told
is off that in the middle by up to twice as much, since distortion also bows the lines."""
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
_GRADIENT_PX: Final = 2.0
_SMALL_PX: Final = 160


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


def measure_scale(picture: Pixels, *, pitch_um: float, ruled_to_um: float | None = None) -> Scale:
    """The scale of a picture that shows lines ruled ``pitch_um`` apart, at any angle, dark or bright.

    ``ruled_to_um`` is how far a line lies off its place (standard deviation), where the maker states it.
    The angle is the eigenvector of the structure tensor (Bigun and Granlund 1987), refined to where the
    projection is richest in contrast, then to where the lines' places do not move along them. The interval
    is that of ``edge.calibration.ruled_lines``. Raises CalibrationError, with the reason, where the lines are
    not clear, or too few and too uneven to tell the scale to ``MAX_UNSURE``, or bent by more than
    ``MAX_BEND``.
    """
    if pitch_um <= 0:
        raise ValueError("the pitch of the lines must be positive")
    evenness = ASSUMED if ruled_to_um is None else stated(ruled_to_um / pitch_um)
    relief = _relief(picture)
    angle = _refined(relief, _direction(relief))
    # The first look at the bands sets the angle right, the second tells how right it is.
    angle = _ruled(relief, angle, evenness)[1]
    ruling, angle = _ruled(relief, angle, evenness)
    _require_sure(ruling)
    _require_straight(ruling)
    pitch_px, error_px = ruling.pitch / STEPS_PER_PX, ruling.half_interval / STEPS_PER_PX
    return Scale(
        um_per_px=pitch_um / pitch_px,
        low=pitch_um / (pitch_px + error_px),
        high=pitch_um / max(pitch_px - error_px, 1e-9),
        angle_deg=math.degrees(angle),
        lines=ruling.lines,
        residual_px=ruling.residual / STEPS_PER_PX,
    )


def agreed_scale(scales: Sequence[Scale]) -> Scale:
    """The scale of the picture with the most lines, of several pictures of one ruling.

    Not that with the narrowest interval, whose lines may lie evenly by chance. Raises CalibrationError where
    another differs from it by more than the intervals of both and half a percent: then the pictures are not
    of one objective, or not of one ruling.
    """
    best = max(scales, key=lambda scale: scale.lines)
    for each in scales:
        apart = abs(each.um_per_px / best.um_per_px - 1)
        allowed = _MAX_APART + (each.high - each.low + best.high - best.low) / (2 * best.um_per_px)
        if apart > allowed:
            raise CalibrationError(
                f"The pictures disagree: {best.um_per_px:.5f} and {each.um_per_px:.5f} um to a pixel.",
                remedy="Take all of them with one objective, of one ruling, in focus.",
            )
    return best


def _relief(picture: Pixels) -> Relief:
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


def _direction(relief: Relief) -> float:
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


def _refined(relief: Relief, angle: float) -> float:
    """The angle near ``angle`` under which the projection has the most contrast."""
    relief = relief[::2, ::2]  # no angle is lost by it, and most of the time is spent here
    for reach_deg, steps in ((3.0, 13), (0.5, 11)):
        tried = angle + np.radians(np.linspace(-reach_deg, reach_deg, steps))
        angle = float(max(tried, key=lambda each: float(np.var(project(relief, each).profile))))
    return math.remainder(angle, math.pi)


def _ruled(relief: Relief, angle: float, evenness: Evenness) -> tuple[Ruling, float]:
    """The ruling that is seen at ``angle``, and a better angle. Raises CalibrationError."""
    seen = project(relief, angle, bands=BANDS)
    centred = seen.profile - seen.profile.mean()
    # Lines are narrow: turned so that they are its peaks, the profile leans that way.
    sign = 1.0 if np.mean(centred**3) >= 0 else -1.0
    profile = sign * centred
    lag = _pitch_steps(profile)
    rough = _line_places(profile, lag)
    straight, clean = straightness(sight(seen.bands, rough, lag, sign=sign))
    places, along = middles(clean, rough.size)
    found = np.isfinite(places)
    places, along = places[found], along[found]
    places = places - straight.slope * (along - along.mean())
    ruling = fit(places, along, _numbers(places, lag), straight, evenness=evenness)
    if ruling.residual > _MAX_RESIDUAL * ruling.pitch:
        raise _unclear("the lines are not evenly spaced")
    _require_ruled(profile, ruling.pitch)
    return ruling, math.remainder(angle - math.atan(straight.slope), math.pi)


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
    if lag < MIN_PITCH_PX * STEPS_PER_PX:
        raise _unclear(
            f"the lines are only {lag / STEPS_PER_PX:.1f} pixels apart, of {MIN_PITCH_PX:.0f} needed",
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


def _numbers(places: Profile, lag: int) -> Profile:
    """Which line each is, from 0. Raises CalibrationError where they are too few, or not evenly spaced."""
    if places.size < MIN_LINES:
        raise _unclear(f"fewer than {MIN_LINES} whole lines are in the picture")
    spacings = np.diff(places) / lag
    apart = np.round(spacings)
    if np.any(apart < 1) or np.any(np.abs(spacings - apart) > _MAX_MISPLACED):
        raise _unclear("the lines are not evenly spaced")
    number = np.concatenate(([0.0], np.cumsum(apart)))
    if places.size < _MIN_FOUND * (number[-1] + 1):
        raise _unclear(f"only {places.size} of {int(number[-1]) + 1} lines are to be seen")
    return np.asarray(number, dtype=np.float64)


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


def _require_sure(ruling: Ruling) -> None:
    unsure = ruling.half_interval / ruling.pitch
    if unsure > MAX_UNSURE:
        raise CalibrationError(
            f"{ruling.lines} lines that lie {ruling.residual / ruling.pitch:.1%} of their distance off an "
            f"even ruling tell the scale to {unsure:.2%} only, {MAX_UNSURE:.2%} is needed.",
            remedy="Let more lines into the picture, by a finer ruling if need be; or say how evenly it is "
            "ruled, where its maker states that: --ruled-to-um.",
        )


def _require_straight(ruling: Ruling) -> None:
    if abs(ruling.bend) > MAX_BEND:
        raise CalibrationError(
            f"The lines are {abs(ruling.bend):.2%} {'wider' if ruling.bend > 0 else 'closer'} in the middle "
            "of the picture than over all of it: the optics distort.",
            remedy="Use less of the picture (camera.width_px, height_px), or another adapter.",
        )


def _unclear(why: str, *, remedy: str = "") -> CalibrationError:
    return CalibrationError(
        f"The lines of the micrometer are not clear: {why}.",
        remedy=remedy
        or "Focus on the ruling, light it evenly, and let lines of one direction fill the picture.",
    )
