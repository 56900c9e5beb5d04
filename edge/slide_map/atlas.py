"""Where fields lie: islands of ground, corners on them, the links that were measured, and their settling.

An island is ground that is known to hang together, in pixels of the frames. Fields are linked by measured
shifts; where links contradict each other, as at the end of a long way around, the corners settle between
them by relaxation, a bounded number of fields at a time (Duckett, Marsland and Shapiro 2002, "Fast, on-line
learning of globally consistent maps"). Shifts alone, no turning, so the least squares are a weighted mean.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

Point = tuple[float, float]

_TENSION_PX: Final = 0.3
"""A corner that its links would move by less stays where it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lens:
    """What all fields of an island have in common: their size, and the scale where it is known."""

    width_px: int
    height_px: int
    um_per_px: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A measured shift: the field's corner lies at that of ``other`` and (dx_px, dy_px)."""

    other: int
    dx_px: float
    dy_px: float
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A place on an island."""

    island: int
    x_px: float
    y_px: float

    def moved(self, dx_px: float, dy_px: float) -> Spot:
        """The spot that far from here."""
        return replace(self, x_px=self.x_px + dx_px, y_px=self.y_px + dy_px)


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """A field near a spot; (dx_px, dy_px) is its corner seen from there, ``overlap_share`` of a frame."""

    field: int
    dx_px: float
    dy_px: float
    overlap_share: float


class Atlas:
    """The fields of one slide, by number. What it costs to add one does not grow with the slide."""

    def __init__(self) -> None:
        self._lenses: dict[int, Lens] = {}
        self._members: dict[int, set[int]] = {}
        self._spots: dict[int, Spot] = {}
        self._links: dict[int, list[Link]] = {}
        self._grid: dict[tuple[int, int, int], list[int]] = {}
        self._tense: deque[int] = deque()
        self._next_island = 1

    @property
    def islands(self) -> int:
        """How many pieces of ground there are that are not known to hang together."""
        return len(self._members)

    def islands_of(self, lens: Lens) -> int:
        """How many of them were filmed through ``lens``."""
        return sum(1 for island in self._members if self._lenses[island] == lens)

    def __contains__(self, field: int) -> bool:
        return field in self._spots

    def lens_of(self, field: int) -> Lens:
        """Through which a field was filmed."""
        return self._lenses[self._spots[field].island]

    def spot(self, field: int) -> Spot:
        """Where a field's top left corner lies now."""
        return self._spots[field]

    def begin_island(self, lens: Lens) -> int:
        """A new island's number. It is there once it has a field."""
        number = self._next_island
        self._next_island += 1
        self._lenses[number] = lens
        return number

    def add(self, field: int, spot: Spot, links: Sequence[Link] = ()) -> None:
        """Put a new field on an island; links to fields that are not there are passed over."""
        self._members.setdefault(spot.island, set()).add(field)
        self._spots[field] = spot
        self._links[field] = []
        self._grid.setdefault(self._place_of(spot), []).append(field)
        for link in links:
            self.link(field, link)

    def link(self, field: int, link: Link) -> None:
        """Hold to a measured shift from now on."""
        if link.other in self._spots:
            self._links[field].append(link)
            back = Link(other=field, dx_px=-link.dx_px, dy_px=-link.dy_px, weight=link.weight)
            self._links[link.other].append(back)
            self._tense.extend((field, link.other))

    def links_of(self, field: int) -> tuple[Link, ...]:
        """The measured shifts of a field."""
        return tuple(self._links[field])

    def remove(self, field: int) -> None:
        """Take a field off; an island without any is gone."""
        spot = self._spots.pop(field)
        self._grid[self._place_of(spot)].remove(field)
        members = self._members[spot.island]
        members.discard(field)
        if not members:
            del self._members[spot.island], self._lenses[spot.island]
        for link in self._links.pop(field):
            kept = [each for each in self._links.get(link.other, ()) if each.other != field]
            if link.other in self._links:
                self._links[link.other] = kept

    def near(self, spot: Spot, *, reach_px: float = 0.0) -> tuple[Neighbour, ...]:
        """The fields whose ground meets that of one at ``spot``, or comes within ``reach_px`` of it.

        The largest overlap comes first.
        """
        lens = self._lenses[spot.island]
        found = []
        for field, dx_px, dy_px in self.within(spot, lens.width_px + reach_px, lens.height_px + reach_px):
            across, down = max(0.0, lens.width_px - abs(dx_px)), max(0.0, lens.height_px - abs(dy_px))
            share = across * down / (lens.width_px * lens.height_px)
            found.append(Neighbour(field=field, dx_px=dx_px, dy_px=dy_px, overlap_share=share))
        found.sort(key=lambda each: (-each.overlap_share, -each.field))
        return tuple(found)

    def within(self, spot: Spot, across_px: float, down_px: float) -> Iterator[tuple[int, float, float]]:
        """The fields whose corners lie nearer than that to ``spot``, each with its corner seen from there."""
        _, left, top = self._place_of(spot.moved(-across_px, -down_px))
        _, right, bottom = self._place_of(spot.moved(across_px, down_px))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                for field in self._grid.get((spot.island, column, row), ()):
                    other = self._spots[field]
                    dx_px, dy_px = other.x_px - spot.x_px, other.y_px - spot.y_px
                    if abs(dx_px) < across_px and abs(dy_px) < down_px:
                        yield field, dx_px, dy_px

    def join(self, one: Spot, other: Spot) -> tuple[int, int, Point, tuple[int, ...]]:
        """Say that two spots of different islands are one; the smaller island moves onto the larger.

        Gives the island that stays, the one that is gone, how far its ground was moved, and its fields.
        Costs by the size of the smaller one, so a field's share of all joins is the logarithm of the slide.
        """
        stays, goes = one, other
        if len(self._members[other.island]) > len(self._members[one.island]):
            stays, goes = other, one
        moved_px = (stays.x_px - goes.x_px, stays.y_px - goes.y_px)
        members = tuple(sorted(self._members.pop(goes.island)))
        del self._lenses[goes.island]
        for field in members:
            before = self._spots[field]
            self._grid[self._place_of(before, of=self._lenses[stays.island])].remove(field)
            after = replace(before.moved(*moved_px), island=stays.island)
            self._spots[field] = after
            self._grid.setdefault(self._place_of(after), []).append(field)
        self._members[stays.island].update(members)
        return stays.island, goes.island, moved_px, members

    def settle(self, *, budget: int) -> tuple[int, ...]:
        """Move up to ``budget`` tense fields to where their links want them; those that moved."""
        moved: dict[int, None] = {}
        for _ in range(budget):
            if not self._tense:
                break
            field = self._tense.popleft()
            wanted = self._wanted(field)
            if wanted is None:
                continue
            before = self._spots[field]
            if math.dist((before.x_px, before.y_px), wanted) < _TENSION_PX:
                continue
            self._move(field, Spot(island=before.island, x_px=wanted[0], y_px=wanted[1]))
            moved[field] = None
            self._tense.extend(link.other for link in self._links[field] if link.other not in self._tense)
        return tuple(moved)

    def restore_islands(self, lenses: Mapping[int, Lens], *, next_island: int) -> None:
        """Have islands again under the numbers that they had, before their fields are added."""
        self._lenses.update(lenses)
        self._next_island = next_island

    def forget_tension(self) -> None:
        """Take every corner for settled; after fields were put back where they had come to lie."""
        self._tense.clear()

    @property
    def next_island(self) -> int:
        """The number that the next island will have."""
        return self._next_island

    def _wanted(self, field: int) -> Point | None:
        links = self._links.get(field)
        if not links:
            return None
        spot = self._spots[field]
        x_px = y_px = total = 0.0
        for link in links:
            other = self._spots[link.other]
            if other.island != spot.island:
                continue
            x_px += link.weight * (other.x_px + link.dx_px)
            y_px += link.weight * (other.y_px + link.dy_px)
            total += link.weight
        return (x_px / total, y_px / total) if total else None

    def _move(self, field: int, after: Spot) -> None:
        self._grid[self._place_of(self._spots[field])].remove(field)
        self._spots[field] = after
        self._grid.setdefault(self._place_of(after), []).append(field)

    def _place_of(self, spot: Spot, *, of: Lens | None = None) -> tuple[int, int, int]:
        lens = of or self._lenses[spot.island]
        return spot.island, math.floor(spot.x_px / lens.width_px), math.floor(spot.y_px / lens.height_px)
