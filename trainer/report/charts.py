"""Charts as inline SVG: they take the page's colours, print sharp, and read themselves out.

Every chart has a title and a description for those who cannot see it; the numbers themselves stand in the
page's tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from markupsafe import Markup

Point = tuple[float, float]
Mark = Literal["line", "points", "both"]

_WIDTH: Final = 360
_HEIGHT: Final = 300
_LEFT: Final = 56
_RIGHT: Final = 12
_TOP: Final = 12
_BOTTOM: Final = 44
_TICKS: Final = 5
_STYLES: Final = 6
"""So many series have a colour and dash of their own in the style sheet."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis: its words and its ends. ``whole`` is for what is counted, such as epochs."""

    label: str
    low: float = 0.0
    high: float = 1.0
    whole: bool = False

    def ticks(self) -> tuple[float, ...]:
        """Round numbers between the ends, about five; whole ones only where ``whole``."""
        step = _step(self.low, self.high)
        if self.whole:
            step = max(1.0, round(step))
        first = math.ceil(self.low / step - 1e-9)
        return tuple(
            round(number * step, 10) for number in range(first, math.floor(self.high / step + 1e-9) + 1)
        )


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one colour. ``style`` 1 to 6 names it; ``sizes`` are the radii of its points in px."""

    name: str
    points: Sequence[Point]
    style: int
    mark: Mark = "line"
    sizes: Sequence[float] = field(default=())
    whiskers: Sequence[tuple[float, float, float]] = field(default=())
    """Vertical ones: x, low, high."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart in one pair of axes. ``guides`` are thin dashed lines, each from one point to another."""

    ident: str
    title: str
    description: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    guides: Sequence[tuple[Point, Point]] = field(default=())

    def svg(self) -> Markup:
        """The chart, at most as wide as its place."""
        inside = [*self._grid(), *(self._guide(*guide) for guide in self.guides)]
        inside.extend(part for each in self.series for part in self._drawn(each))
        return Markup(
            '<svg class="chart" viewBox="0 0 {w} {h}" role="img" '
            'aria-labelledby="{i}-t" aria-describedby="{i}-d">'
            '<title id="{i}-t">{title}</title><desc id="{i}-d">{words}</desc>{inside}</svg>'
        ).format(
            w=_WIDTH,
            h=_HEIGHT,
            i=self.ident,
            title=self.title,
            words=self.description,
            inside=Markup("").join(inside),
        )

    def _place(self, point: Point) -> Point:
        across = (point[0] - self.x.low) / (self.x.high - self.x.low)
        up = (point[1] - self.y.low) / (self.y.high - self.y.low)
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    def _grid(self) -> list[Markup]:
        bottom, top = _HEIGHT - _BOTTOM, _TOP
        parts = []
        for tick in self.x.ticks():
            across, _ = self._place((tick, self.y.low))
            parts.append(
                Markup(
                    '<path class="grid" d="M{x} {b}V{t}"/><text class="tick" x="{x}" y="{y}" '
                    'text-anchor="middle">{words}</text>'
                ).format(x=across, b=bottom, t=top, y=bottom + 15, words=f"{tick:g}")
            )
        for tick in self.y.ticks():
            _, up = self._place((self.x.low, tick))
            parts.append(
                Markup(
                    '<path class="grid" d="M{l} {y}H{r}"/><text class="tick" x="{x}" y="{t}" '
                    'text-anchor="end">{words}</text>'
                ).format(l=_LEFT, y=up, r=_WIDTH - _RIGHT, x=_LEFT - 6, t=up + 3.5, words=f"{tick:g}")
            )
        middle = (bottom + top) / 2
        parts.append(
            Markup(
                '<path class="axis" d="M{l} {t}V{b}H{r}"/>'
                '<text class="label" x="{x}" y="{y}" text-anchor="middle">{across}</text>'
                '<text class="label" x="12" y="{m}" text-anchor="middle" transform="rotate(-90 12 {m})">'
                "{up}</text>"
            ).format(
                l=_LEFT,
                t=top,
                b=bottom,
                r=_WIDTH - _RIGHT,
                x=(_LEFT + _WIDTH - _RIGHT) / 2,
                y=_HEIGHT - 10,
                m=middle,
                across=self.x.label,
                up=self.y.label,
            )
        )
        return parts

    def _guide(self, start: Point, end: Point) -> Markup:
        (x0, y0), (x1, y1) = self._place(start), self._place(end)
        return Markup('<path class="guide" d="M{} {}L{} {}"/>').format(x0, y0, x1, y1)

    def _drawn(self, series: Series) -> list[Markup]:
        style = _style(series.style)
        placed = [self._place(point) for point in series.points]
        parts = []
        if series.mark != "points" and len(placed) > 1:
            way = "L".join(f"{x:g} {y:g}" for x, y in placed)
            parts.append(Markup('<path class="line s{}" d="M{}"/>').format(style, way))
        for across, low, high in series.whiskers:
            (x, bottom), (_, top) = self._place((across, low)), self._place((across, high))
            parts.append(Markup('<path class="line s{}" d="M{} {}V{}"/>').format(style, x, bottom, top))
        if series.mark != "line" or len(placed) == 1:
            sizes = series.sizes or [3.5] * len(placed)
            parts.extend(
                Markup('<circle class="dot s{}" cx="{}" cy="{}" r="{}"/>').format(style, x, y, f"{size:.1f}")
                for (x, y), size in zip(placed, sizes, strict=True)
            )
        return parts


def legend(lines: Sequence[tuple[str, int]], dots: Sequence[tuple[str, int]] = ()) -> Markup:
    """What the colours mean: names with their styles, of lines and of dots."""
    keys = [
        (name, Markup('<path class="line s{}" d="M1 4H21"/>').format(_style(style))) for name, style in lines
    ]
    keys += [
        (name, Markup('<circle class="dot s{}" cx="11" cy="4" r="3.5"/>').format(_style(style)))
        for name, style in dots
    ]
    items = (
        Markup('<li><svg class="key" viewBox="0 0 22 8" aria-hidden="true">{}</svg>{}</li>').format(key, name)
        for name, key in keys
    )
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def strip(
    *, reference: float, dots: Sequence[tuple[float, float | None, float | None]], ends: tuple[float, float]
) -> Markup:
    """A row's own little chart for a table cell: a diamond, and dots (value, low, high) with whiskers.

    It repeats what the row says in numbers, so it is hidden from those who have the row read out.
    """
    wide, high = 170, 10 + 8 * max(1, len(dots))
    middle = high / 2

    def across(number: float) -> float:
        share = (number - ends[0]) / (ends[1] - ends[0])
        return round(6 + min(1.0, max(0.0, share)) * (wide - 12), 1)

    parts = [Markup('<path class="grid" d="M{} {}H{}"/>').format(6, middle, wide - 6)]
    for place, (value, least, most) in enumerate(dots):
        up = 9 + 8 * place
        if least is not None and most is not None:
            parts.append(
                Markup('<path class="line s{}" d="M{} {}H{}"/>').format(
                    place + 1, across(least), up, across(most)
                )
            )
        parts.append(
            Markup('<circle class="dot s{}" cx="{}" cy="{}" r="3.2"/>').format(place + 1, across(value), up)
        )
    parts.append(
        Markup('<path class="paper" d="M{x} {t}l4 4-4 4-4-4Z"/>').format(x=across(reference), t=middle - 4)
    )
    return Markup('<svg class="strip" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        wide, high, Markup("").join(parts)
    )


def rounded_out(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis that hold all values and are ticks themselves."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = _step(low, high)
    return round(math.floor(low / step + 1e-9) * step, 10), round(math.ceil(high / step - 1e-9) * step, 10)


def _style(style: int) -> int:
    return (style - 1) % _STYLES + 1


def _step(low: float, high: float) -> float:
    """The roundest distance between ticks that makes about five of them."""
    rough = (high - low) / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= rough * 0.999)
