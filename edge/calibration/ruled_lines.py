"""The pitch of ruled lines, and how sure it is, from each line's place in several bands along it.

A picture is a rectangle, and lines that cross it aslant are cut by it: the middle of what is seen of a line
moves along it from line to line. So an error of the angle, however small, widens or narrows all spacings
alike, and the scatter about an even ruling shows nothing of it. Each line's place is therefore measured band
by band: how places move along the lines tells the angle, how they move from line to line tells the pitch, and
both tell how surely.

Few lines that happen to lie evenly tell little of how evenly the glass is ruled. What is known of rulings is
therefore counted as evidence beside them (a scaled inverse chi-squared prior of the variance; Gelman and
others, Bayesian Data Analysis, section 2.6), which leaves Student's t with as many more degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.calibration.projection import STEPS_PER_PX, Band, Profile

BANDS: Final = 8
"""Enough that a speck, or the end of a short line, spoils a small part of what is known of a line."""
SYSTEMATIC_PX: Final = 0.02
"""By how much the distance from the first line to the last may be wrong without any scatter to show for it:
what was left on drawn rulings that are perfectly even, rounded up; their test holds it."""

_SMOOTH: Final = 0.05
_REACH: Final = 0.4
_MIN_HEIGHT: Final = 0.5
_HEIGHT_QUANTILE: Final = 0.75
_MAX_OFF: Final = 3.5
"""In standard deviations: what dirt moved lies further off than what noise moved."""
_SIGMA_OF_MAD: Final = 1.4826
_MIN_WITHIN: Final = 3
_BELIED: Final = 2.0
_CUBIC_TERMS: Final = 4
_SURELY_BENT: Final = 3.0
# Student's t for a two-sided 95% interval, by degrees of freedom from 2 on; beyond the table it is near 2.
_STUDENT_95: Final = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160)
_STUDENT_MANY: Final = 2.145


@dataclass(frozen=True, kw_only=True)
class Evenness:
    """How far lines lie off an even ruling, as known before any was seen.

    ``share`` is a standard deviation in pitches, ``lines`` how many lines it is worth as evidence.
    """

    share: float
    lines: int


ASSUMED: Final = Evenness(share=0.007, lines=2)
"""Where nothing is stated of a ruling: 0.07 um of a ruling of 10 um. An assumption, on the side of caution,
worth so little that a picture of ten lines speaks for itself."""


def stated(share: float) -> Evenness:
    """What a maker states of a ruling: worth more than any one picture shows of a few lines."""
    return Evenness(share=share, lines=20)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sightings:
    """Where lines were seen, an entry for each line and band: which line, its place, how far along; steps."""

    line: NDArray[np.intp]
    place: Profile
    along: Profile

    def of(self, kept: NDArray[np.bool_]) -> Sightings:
        """Those that are ``kept``."""
        return Sightings(line=self.line[kept], place=self.place[kept], along=self.along[kept])


@dataclass(frozen=True, kw_only=True, eq=False)
class Straightness:
    """How places move along the lines: ``slope``, with its standard error; 0 where the angle is right."""

    slope: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """Steps from line to line, half the 95% interval of that, and the scatter about it (root mean square).

    ``bend`` is the share by which the pitch in the middle of the picture is off that, as a lens distorts it;
    0 where the scatter may have done it, or where lines are too few to tell.
    """

    pitch: float
    half_interval: float
    residual: float
    lines: int
    bend: float


def sight(bands: tuple[Band, ...], places: Profile, lag: int, *, sign: float) -> Sightings:
    """The places in each band of lines whose places in the whole are known roughly.

    ``sign`` is that which turns the lines of the profile upwards.
    """
    seen = [
        (line, *found)
        for band in bands
        for line, place in enumerate(places)
        if (found := _sighted(band, place, lag, sign)) is not None
    ]
    if not seen:
        return Sightings(line=np.empty(0, dtype=np.intp), place=np.empty(0), along=np.empty(0))
    line, place, along, height = (np.asarray(each) for each in zip(*seen, strict=True))
    # Where a line has ended nothing stands, or noise.
    there = height > _MIN_HEIGHT * np.quantile(height, _HEIGHT_QUANTILE)
    return Sightings(line=line, place=place, along=along).of(there)


def straightness(seen: Sightings) -> tuple[Straightness, Sightings]:
    """How the lines' places move along them, by least squares within lines; and the sightings without dirt.

    Within a line its own unevenness is no matter: it moves the line as a whole.
    """
    slope, misses = _within(seen)
    spread = _SIGMA_OF_MAD * float(np.median(np.abs(misses))) if misses.size else 0.0
    clean = seen.of(np.abs(misses) <= max(_MAX_OFF * spread, 1e-6)) if misses.size else seen
    slope, misses = _within(clean)
    freedom = clean.line.size - np.unique(clean.line).size - 1
    along = _centred(clean.along, clean.line)
    reach = float(along @ along)
    if freedom < _MIN_WITHIN or reach <= 0:
        return Straightness(slope=0.0, error=0.0), clean
    return Straightness(slope=slope, error=math.sqrt(float(misses @ misses) / freedom / reach)), clean


def fit(
    places: Profile, along: Profile, number: Profile, straight: Straightness, *, evenness: Evenness = ASSUMED
) -> Ruling:
    """An even ruling through the lines' places, which lie so far along; ``number`` counts them.

    The interval is Student's, for the scatter of the lines about it, for what the angle is not sure of, and
    for what is systematic.
    """
    centred = number - number.mean()
    spread = float(centred @ centred)
    pitch = float(centred @ places) / spread
    misses = places - places.mean() - pitch * centred
    rss = float(misses @ misses)
    freedom = places.size - 2
    if rss / freedom > (_BELIED * evenness.share * pitch) ** 2:
        evenness = ASSUMED  # the lines themselves belie what was stated of them
    leaning = float(centred @ along) / spread
    span = float(number[-1] - number[0])
    error = math.hypot(
        _scatter(rss, freedom, pitch, evenness) / math.sqrt(spread),
        leaning * straight.error,
        SYSTEMATIC_PX * STEPS_PER_PX / span,
    )
    return Ruling(
        pitch=pitch,
        half_interval=_student_95(freedom + evenness.lines) * error,
        residual=math.sqrt(rss / places.size),
        lines=places.size,
        bend=_bend(places, number, pitch, evenness),
    )


def _bend(places: Profile, number: Profile, pitch: float, evenness: Evenness) -> float:
    """By a cubic through the places: radial distortion is of the third order, the same on both sides."""
    freedom = places.size - _CUBIC_TERMS
    if freedom < _MIN_WITHIN:
        return 0.0
    reach = float(number[-1] - number[0]) / 2
    terms = np.vander((number - number.mean()) / reach, _CUBIC_TERMS, increasing=True)
    found, *_ = np.linalg.lstsq(terms, places, rcond=None)
    misses = places - terms @ found
    # A straight line through a cubic takes up so much of it.
    share = float(terms[:, 1] @ terms[:, 3]) / float(terms[:, 1] @ terms[:, 1])
    variance = float(np.linalg.inv(terms.T @ terms)[3, 3])
    error = _scatter(float(misses @ misses), freedom, pitch, evenness) * math.sqrt(variance)
    sure = abs(float(found[3])) > _SURELY_BENT * error
    return -share * float(found[3]) / reach / pitch if sure else 0.0


def _scatter(rss: float, freedom: int, pitch: float, evenness: Evenness) -> float:
    """The standard deviation of lines whose misses add up to ``rss``, with what is known of rulings."""
    known = evenness.lines * (evenness.share * pitch) ** 2
    return math.sqrt((rss + known) / (freedom + evenness.lines))


def _student_95(freedom: int) -> float:
    """Student's t of a two-sided 95% interval, for two degrees of freedom or more."""
    return _STUDENT_95[freedom - 2] if freedom - 2 < len(_STUDENT_95) else _STUDENT_MANY


def middles(seen: Sightings, lines: int) -> tuple[Profile, Profile]:
    """The mean place of each of so many lines, and how far along; NaN of a line that was not sighted."""
    count = np.bincount(seen.line, minlength=lines).astype(np.float64)
    count[count == 0] = np.nan
    place, along = (np.bincount(seen.line, each, lines) / count for each in (seen.place, seen.along))
    return place, along


def _within(seen: Sightings) -> tuple[float, Profile]:
    place, along = _centred(seen.place, seen.line), _centred(seen.along, seen.line)
    reach = float(along @ along)
    slope = float(along @ place) / reach if reach > 0 else 0.0
    return slope, place - slope * along


def _centred(values: Profile, line: NDArray[np.intp]) -> Profile:
    if not values.size:
        return values
    count = np.maximum(np.bincount(line), 1)
    return np.asarray(values - (np.bincount(line, values) / count)[line], dtype=np.float64)


def _sighted(band: Band, place: float, lag: int, sign: float) -> tuple[float, float, float] | None:
    """Place, how far along (both in steps) and height of a line in a band; None where it is not whole."""
    reach, middle = max(2, int(_REACH * lag)), round(place)
    if middle < reach or middle + reach >= band.profile.size:
        return None
    chosen = np.s_[middle - reach : middle + reach + 1]
    window = sign * band.profile[chosen]
    if np.isnan(window).any():
        return None
    blurred = cv2.GaussianBlur(window.reshape(1, -1), (0, 0), _SMOOTH * lag, borderType=cv2.BORDER_REPLICATE)
    smooth = np.asarray(blurred.ravel(), dtype=np.float64)
    offset = np.arange(-reach, reach + 1, dtype=np.float64)
    rise = smooth - _ground(smooth, offset)
    peak = int(np.argmax(rise[reach // 2 : -(reach // 2)])) + reach // 2
    height = float(rise[peak])
    if height <= 0:
        return None
    above = np.clip(rise - 0.5 * height, 0, None)
    left = peak - int(np.argmax(above[peak::-1] <= 0))
    right = peak + int(np.argmax(above[peak:] <= 0))
    found = middle + float(np.average(offset[left : right + 1], weights=above[left : right + 1]))
    along = float(np.mean(band.along_px[chosen])) * STEPS_PER_PX
    return found, along, height


def _ground(window: Profile, offset: Profile) -> Profile:
    """The straight line between both ends of a line's surroundings: light that falls off moves no line."""
    ends = max(1, offset.size // 6)
    left, right = float(np.median(window[:ends])), float(np.median(window[-ends:]))
    reach = float(offset[-1]) - (ends - 1) / 2
    return np.asarray((left + right) / 2 + (right - left) / 2 * offset / reach, dtype=np.float64)
