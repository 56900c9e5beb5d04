"""Which object is which: a cell seen in overlapping fields is one cell, told by its place.

Two marks are one object where their middles lie nearer than half an object's diameter; a wrong place that
large would need a fault of several micrometres in the map. A cell that reaches beyond the frame is completed
towards the edge to be as broad as it is high, so that its middle is told although it is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.analysis.cells import Cell
from edge.contract.message import BoxPx
from edge.contract.taxonomy import ObjectKind
from edge.slide_map.atlas import Point
from edge.slide_map.typical_size import TypicalSize

_EDGE_PX: Final = 2.0
_EDGE_SHARE: Final = 0.06
"""A detector's box of a cut object may end short of the frame's edge: by up to 5% of the object, as seen."""

_HALF: Final = 0.5
_CLEARLY_SHARPER: Final = 1.2
_KINDS: Final = tuple(ObjectKind)
_WHITE: Final = _KINDS.index(ObjectKind.WBC)
_NO_NUMBER: Final = 0

MARK: Final = np.dtype(
    [
        ("x_px", "<f4"),
        ("y_px", "<f4"),
        ("size_px", "<f4"),
        ("number", "<i4"),
        ("kind", "u1"),
        ("cut", "?"),
        ("reported", "?"),
    ]
)
Marks = NDArray[np.void]
"""The objects of a field, of dtype ``MARK``: the middle as seen from the field's corner, the diameter."""


@dataclass(frozen=True, kw_only=True)
class Around:
    """A counted field near another one; (dx_px, dy_px) is its corner as seen from that."""

    field: int
    dx_px: float
    dy_px: float


@dataclass(frozen=True, kw_only=True)
class _View:
    """How a numbered cell was seen when it was last reported."""

    field: int
    focus: float
    cut: bool
    at_px: Point

    def is_bettered_by(self, focus: float, *, cut: bool) -> bool:
        """A whole view is better than a cut one; else a clearly sharper one."""
        if cut != self.cut:
            return self.cut
        return focus >= _CLEARLY_SHARPER * self.focus


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """A field's objects: those to report, and those that were counted before or wait for a better view."""

    reported: tuple[Cell, ...]
    seen_again: tuple[Cell, ...]


class Census:
    """The objects of one slide. White cells are numbered from 1; what is asked is bounded by a field."""

    def __init__(self) -> None:
        self._marks: dict[int, Marks] = {}
        self._focus: dict[int, float] = {}
        self._views: dict[int, list[_View]] = {}
        self._same_as: dict[int, int] = {}
        self._next_number = 1
        self.white_size = TypicalSize()
        """How large the slide's white cells are, in pixels."""

    def __contains__(self, field: int) -> bool:
        return field in self._marks

    @property
    def next_number(self) -> int:
        """The number that the next new white cell gets."""
        return self._next_number

    def number_from(self, number: int) -> None:
        """Give no new cell a lower number than this."""
        self._next_number = max(self._next_number, number)

    @property
    def white_cells(self) -> int:
        """How many different white cells are counted."""
        return len(self._views)

    def marks(self, field: int) -> Marks:
        """What a counted field holds."""
        return self._marks[field]

    def focus(self, field: int) -> float:
        """How sharp a counted field is."""
        return self._focus[field]

    def middle(self, number: int) -> tuple[int, Point] | None:
        """The field of a counted white cell's best view, and the middle as seen from its corner."""
        views = self._views.get(self._now(number))
        if not views:
            return None
        best = _best(views)
        return best.field, best.at_px

    def admit(
        self,
        field: int,
        cells: Sequence[Cell],
        *,
        size_px: tuple[int, int],
        focus: float,
        around: Iterable[Around],
    ) -> Sorted:
        """Count a field's objects; each part in their own order.

        A white cell is reported with its number when it is seen first, and again when this view is better
        than the one that was reported: whole where that was cut off by the frame, or clearly sharper. One
        that shows less than half of itself waits for a field that shows more. Others are reported once.
        """
        marks = _marks_of(cells, size_px, self.white_size.usual_px)
        for mark in marks:
            if mark["kind"] == _WHITE and not mark["cut"]:
                self.white_size.add(float(mark["size_px"]))
        known = self._known(around)
        partners = _pairs(marks, known)
        reported: list[Cell] = []
        seen_again: list[Cell] = []
        for index, cell in enumerate(cells):
            partner = known[partners[index]] if index in partners else None
            if marks[index]["kind"] == _WHITE:
                self._mark_white(field, marks[index : index + 1], partner, focus, cell)
                number = int(marks[index]["number"]) or None
                known_as = replace(cell, number=number, cut_off=bool(marks[index]["cut"]))
                (reported if marks[index]["reported"] else seen_again).append(known_as)
            elif partner is None:
                marks[index]["reported"] = True
                reported.append(cell)
            else:
                seen_again.append(cell)
        worth_keeping = marks["reported"] | (marks["number"] != _NO_NUMBER)
        self._marks[field] = marks[worth_keeping].copy()
        self._focus[field] = focus
        return Sorted(reported=tuple(reported), seen_again=tuple(seen_again))

    def remove(self, field: int) -> None:
        """Take a field's views back: a cell that was reported there may be reported anew."""
        marks = self._marks.pop(field, None)
        self._focus.pop(field, None)
        if marks is None:
            return
        for number in {self._now(int(each)) for each in marks["number"] if each != _NO_NUMBER}:
            views = [view for view in self._views.get(number, ()) if view.field != field]
            if views:
                self._views[number] = views
            else:
                self._views.pop(number, None)

    def same(self, field: int, around: Iterable[Around]) -> tuple[tuple[int, int], ...]:
        """The white cells of ``field`` that turn out to be others' of fields around it, now that it moved.

        Pairs of a number that is withdrawn, and the number under which the cell is known from now on.
        """
        found = []
        own = self._marks[field][self._marks[field]["kind"] == _WHITE].copy()
        own["number"] = [self._now(number) for number in own["number"].tolist()]
        known = self._known(around)
        # What one field shows apart is not one.
        known = known[(known["kind"] == _WHITE) & ~np.isin(known["number"], own["number"])]
        for index, partner in _pairs(own, known).items():
            one, other = self._now(int(own[index]["number"])), self._now(int(known[partner]["number"]))
            if one == other or one not in self._views or other not in self._views:
                continue
            stays, goes = min(one, other), max(one, other)
            view = _best(self._views[goes])
            if _best(self._views[stays]).is_bettered_by(view.focus, cut=view.cut):
                stays, goes = goes, stays
            self.unite(goes, stays)
            found.append((goes, stays))
        return tuple(found)

    def unite(self, goes: int, stays: int) -> None:
        """Know the cell ``goes`` as ``stays`` from now on."""
        self._same_as[goes] = stays
        views = self._views.pop(goes, [])
        if views:
            self._views.setdefault(stays, []).extend(views)

    def restore(self, field: int, marks: Marks, focus: float) -> None:
        """Have a field's marks again; fields come in the order in which they were counted."""
        self._marks[field], self._focus[field] = marks, focus
        for mark in marks[marks["kind"] == _WHITE]:
            number = int(mark["number"])
            self._next_number = max(self._next_number, number + 1)
            if not mark["cut"]:
                self.white_size.add(float(mark["size_px"]))
            if mark["reported"]:
                view = _View(field=field, focus=focus, cut=bool(mark["cut"]), at_px=_at(mark))
                self._views.setdefault(self._now(number), []).append(view)

    def _mark_white(self, field: int, mark: Marks, partner: np.void | None, focus: float, cell: Cell) -> None:
        """Give a white cell its number, and note whether it is to be reported under it."""
        cut = bool(mark["cut"][0])
        if partner is not None:
            number = self._now(int(partner["number"]))
        elif cut and _visible_share(cell.box_px, float(mark["size_px"][0])) < _HALF:
            return
        else:
            number = self._next_number
            self._next_number += 1
        mark["number"] = number
        views = self._views.get(number)
        if not views or _best(views).is_bettered_by(focus, cut=cut):
            mark["reported"] = True
            view = _View(field=field, focus=focus, cut=cut, at_px=_at(mark[0]))
            self._views.setdefault(number, []).append(view)

    def _now(self, number: int) -> int:
        """The number under which a cell is known today."""
        while number in self._same_as:
            number = self._same_as[number]
        return number

    def _known(self, around: Iterable[Around]) -> Marks:
        parts = []
        for each in around:
            if each.field in self._marks:
                part = self._marks[each.field].copy()
                part["x_px"] += each.dx_px
                part["y_px"] += each.dy_px
                if self._same_as:
                    part["number"] = [self._now(number) for number in part["number"].tolist()]
                parts.append(part)
        return np.concatenate(parts) if parts else np.zeros(0, dtype=MARK)


def _marks_of(cells: Sequence[Cell], size_px: tuple[int, int], usual_px: float | None) -> Marks:
    marks = np.zeros(len(cells), dtype=MARK)
    for mark, cell in zip(marks, cells, strict=True):
        white = cell.kind is ObjectKind.WBC
        (x_px, y_px), diameter_px, cut = completed(cell.box_px, size_px, usual_px if white else None)
        mark["x_px"], mark["y_px"], mark["size_px"], mark["cut"] = x_px, y_px, diameter_px, cut
        mark["kind"] = _KINDS.index(cell.kind)
    return marks


def completed(
    box_px: BoxPx, size_px: tuple[int, int], usual_px: float | None
) -> tuple[tuple[float, float], float, bool]:
    """Middle and diameter of the object in ``box_px``, and whether the edge of its frame cuts it.

    A cut one is completed towards the edge to be as broad as it is high; where a corner cuts both ways, to
    ``usual_px``, where that is known.
    """
    left, top, right, bottom = box_px
    diameter_px = max(right - left, bottom - top)
    edge_px = max(_EDGE_PX, _EDGE_SHARE * diameter_px)
    cut_left, cut_top = left <= edge_px, top <= edge_px
    cut_right, cut_bottom = right >= size_px[0] - edge_px, bottom >= size_px[1] - edge_px
    across, down = cut_left or cut_right, cut_top or cut_bottom
    if across and down and usual_px is not None:
        diameter_px = max(diameter_px, usual_px)
    if across and not (cut_left and cut_right):
        left, right = (right - diameter_px, right) if cut_left else (left, left + diameter_px)
    if down and not (cut_top and cut_bottom):
        top, bottom = (bottom - diameter_px, bottom) if cut_top else (top, top + diameter_px)
    return ((left + right) / 2, (top + bottom) / 2), diameter_px, across or down


def _visible_share(box_px: BoxPx, diameter_px: float) -> float:
    """The share of a cut object's square that its frame shows."""
    width_px, height_px = box_px[2] - box_px[0], box_px[3] - box_px[1]
    return (width_px * height_px) / max(diameter_px * diameter_px, width_px * height_px, 1e-9)


def _pairs(marks: Marks, known: Marks) -> dict[int, int]:
    """Which of ``marks`` is which of ``known``: the nearest pairs first, none twice."""
    if not len(marks) or not len(known):
        return {}
    apart = np.hypot(
        marks["x_px"][:, None] - known["x_px"][None, :], marks["y_px"][:, None] - known["y_px"][None, :]
    )
    size = 0.5 * (marks["size_px"][:, None] + known["size_px"][None, :])
    near = (apart < _HALF * size) & (marks["kind"][:, None] == known["kind"][None, :])
    rows, columns = np.nonzero(near)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort((apart / np.maximum(size, 1e-9))[rows, columns], kind="stable").tolist():
        row, column = int(rows[place]), int(columns[place])
        # A white cell has a mark for each view of it, any other object one alone.
        partner = int(known[column]["number"]) or -1 - column
        if row in pairs or partner in taken:
            continue
        pairs[row] = column
        taken.add(partner)
    return pairs


def _at(mark: np.void) -> Point:
    return float(mark["x_px"]), float(mark["y_px"])


def _best(views: Sequence[_View]) -> _View:
    return max(views, key=lambda view: (not view.cut, view.focus))
