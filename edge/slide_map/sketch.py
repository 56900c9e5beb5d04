"""What a person is shown of the covered ground: an island's counted fields as one drawing of bounded size.

A drawing is made of squares, at most ``MOST_SQUARES`` along a side: a sixteenth of a frame each, and twice as
wide again whenever the island outgrows it. A square knows how much ground the fields lay on it, not only
that they do; so a field that moves, or is lost after all, is taken off again without a look at the others,
and a field costs the same however many there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edge.slide_map.atlas import Lens, Point, Spot
from edge.slide_map.census import Census
from edge.slide_map.chart import Chart

MOST_SQUARES: Final = 96
MOST_POINTED_OUT: Final = 200
_SQUARES_A_FRAME: Final = 16

Tracking = Literal["known", "lost", "off"]
"""Whether it is known where the camera looks; off where nobody follows it."""

_Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in squares of the finest kind."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A cell to be pointed out: its number, and its middle on the island."""

    number: int
    at_px: Point


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """An island as it is shown. Every counted field is on it, and no edge lies more than a square outside.

    The squares' upper left corner lies at ``corner_px`` on the island. ``squares`` has one bit a square, row
    by row without padding, the first in the highest bit: set where there is covered ground. ``other_islands``
    are parts of the slide of which nobody knows yet where they lie.
    """

    island: int
    lens: Lens
    fields: int = 0
    corner_px: Point = (0.0, 0.0)
    square_px: float
    columns: int = 0
    rows: int = 0
    squares: bytes = b""
    dots: tuple[Dot, ...] = ()
    other_islands: int = 0


@dataclass(frozen=True, kw_only=True)
class ShownGround:
    """The island where the camera looks, or was last known to; ``frame`` is where its picture lies there.

    ``sketch`` is the same object as long as it says the same; None while there is no field.
    """

    sketch: Sketch | None = None
    frame: Spot | None = None
    tracking: Tracking = "off"


class Drawing:
    """The counted fields of one island, laid on squares."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.fields = 0
        self._finest_px = lens.width_px / _SQUARES_A_FRAME
        self._side = 1
        self._left = self._top = 0
        self._laid: NDArray[np.int32] = np.zeros((0, 0), dtype=np.int32)

    @property
    def square_px(self) -> float:
        """The side of a square."""
        return self._side * self._finest_px

    def rectangle(self, spot: Spot) -> _Rectangle:
        """The ground of a field at ``spot``, to the nearest finest squares."""
        left, top = round(spot.x_px / self._finest_px), round(spot.y_px / self._finest_px)
        bottom = round((spot.y_px + self.lens.height_px) / self._finest_px)
        return left, top, left + _SQUARES_A_FRAME, max(bottom, top + 1)

    def lay(self, rectangle: _Rectangle) -> None:
        """Put a field there."""
        self._reach(rectangle)
        self._add(rectangle, 1)
        self.fields += 1

    def lift(self, rectangle: _Rectangle) -> None:
        """Take a field off that was laid there."""
        self._add(rectangle, -1)
        self.fields -= 1

    def sketch(self, island: int, *, dots: tuple[Dot, ...], other_islands: int) -> Sketch:
        """The drawing as it is now, without empty borders."""
        covered = self._laid > 0
        rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        left, right = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)
        return Sketch(
            island=island,
            lens=self.lens,
            fields=self.fields,
            corner_px=((self._left + left) * self.square_px, (self._top + top) * self.square_px),
            square_px=self.square_px,
            columns=right - left,
            rows=bottom - top,
            squares=np.packbits(covered[top:bottom, left:right]).tobytes(),
            dots=dots,
            other_islands=other_islands,
        )

    def _add(self, rectangle: _Rectangle, sign: int) -> None:
        left, top, right, bottom = rectangle
        column, across = _shares(left, right, self._side)
        row, down = _shares(top, bottom, self._side)
        column, row = column - self._left, row - self._top
        self._laid[row : row + len(down), column : column + len(across)] += sign * down[:, None] * across

    def _reach(self, rectangle: _Rectangle) -> None:
        """Have squares where the rectangle lies: more of them, or wider ones where they would be too many."""
        while True:
            left, top = rectangle[0] // self._side, rectangle[1] // self._side
            right, bottom = -(-rectangle[2] // self._side), -(-rectangle[3] // self._side)
            rows, columns = self._laid.shape
            if rows:
                left, top = min(left, self._left), min(top, self._top)
                right, bottom = max(right, self._left + columns), max(bottom, self._top + rows)
            if max(right - left, bottom - top) <= MOST_SQUARES:
                break
            self._widen()
        if (bottom - top, right - left) == (rows, columns):
            return
        wider = np.zeros((bottom - top, right - left), dtype=np.int32)
        if rows:
            row, column = self._top - top, self._left - left
            wider[row : row + rows, column : column + columns] = self._laid
        self._laid, self._left, self._top = wider, left, top

    def _widen(self) -> None:
        """Make one square of four."""
        rows, columns = self._laid.shape
        before = ((self._top % 2, (self._top + rows) % 2), (self._left % 2, (self._left + columns) % 2))
        even = np.pad(self._laid, before)
        self._laid = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).sum(
            axis=(1, 3), dtype=np.int32
        )
        self._left, self._top, self._side = self._left // 2, self._top // 2, 2 * self._side


class Sketcher:
    """Keeps every island drawn as its fields are counted, moved, joined to others and lost."""

    def __init__(self, *, chart: Chart, census: Census, followed: bool) -> None:
        self._chart = chart
        self._census = census
        self._followed = followed
        self._drawings: dict[int, Drawing] = {}
        self._drawn: dict[int, tuple[int, _Rectangle]] = {}
        self._pointed_out: tuple[int, ...] = ()
        self._sketch: Sketch | None = None
        self._stale = False

    def draw(self, field: int) -> None:
        """Show a counted field where it lies now."""
        spot, lens = self._chart.atlas.spot(field), self._chart.atlas.lens_of(field)
        drawing = self._drawings.get(spot.island)
        if drawing is None:
            drawing = self._drawings[spot.island] = Drawing(lens)
        drawn = (spot.island, drawing.rectangle(spot))
        before = self._drawn.get(field)
        if before == drawn:
            return
        if before is not None and before[0] != spot.island:
            # Its island is part of this one now, with all its fields: what is drawn there is shown no more.
            self._drawings.pop(before[0], None)
        elif before is not None:
            drawing.lift(before[1])
        drawing.lay(drawn[1])
        self._drawn[field] = drawn
        self._stale = True

    def erase(self, field: int) -> None:
        """Show a field no more."""
        if field in self._drawn:
            self._lift(*self._drawn.pop(field))
        self._stale = True

    def point_out(self, numbers: Iterable[int]) -> None:
        """Have dots for these cells, the newest last, and for no others; for the newest of them at most."""
        newest = tuple(numbers)[-MOST_POINTED_OUT:]
        self._stale |= newest != self._pointed_out
        self._pointed_out = newest

    def shown(self) -> ShownGround:
        """What is to be shown now."""
        atlas, at = self._chart.atlas, self._chart.tracker.at if self._followed else None
        if at is not None and at.field in atlas:
            lens = atlas.lens_of(at.field)
            frame = atlas.spot(at.field).moved(at.dx * lens.width_px, at.dy * lens.height_px)
            return ShownGround(sketch=self._of(frame.island, lens), frame=frame, tracking="known")
        tracking: Tracking = "lost" if self._followed and self._drawn else "off"
        latest = next(reversed(self._drawn), None)
        if latest is None:
            return ShownGround(tracking=tracking)
        return ShownGround(
            sketch=self._of(atlas.spot(latest).island, atlas.lens_of(latest)), tracking=tracking
        )

    def _of(self, island: int, lens: Lens) -> Sketch:
        if self._stale or self._sketch is None or self._sketch.island != island:
            drawing = self._drawings.get(island) or Drawing(lens)
            others = self._chart.atlas.islands - 1
            self._sketch = drawing.sketch(island, dots=tuple(self._dots(island)), other_islands=others)
            self._stale = False
        return self._sketch

    def _dots(self, island: int) -> Iterable[Dot]:
        for number in self._pointed_out:
            seen = self._census.middle(number)
            if seen is not None and seen[0] in self._chart.atlas:
                spot = self._chart.atlas.spot(seen[0])
                if spot.island == island:
                    x_px, y_px = seen[1]
                    yield Dot(number=number, at_px=(spot.x_px + x_px, spot.y_px + y_px))

    def _lift(self, island: int, rectangle: _Rectangle) -> None:
        drawing = self._drawings[island]
        drawing.lift(rectangle)
        if not drawing.fields:
            del self._drawings[island]


def _shares(start: int, end: int, side: int) -> tuple[int, NDArray[np.int32]]:
    """The first square of this side that a span meets, and how much of it lies in each from there on."""
    first, last = start // side, -(-end // side)
    inside = [min(end, (each + 1) * side) - max(start, each * side) for each in range(first, last)]
    return first, np.array(inside, dtype=np.int32)
