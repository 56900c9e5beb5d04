"""The map of one slide: frames find their place on it, fields are taken into it, cells get their numbers."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge.analysis.cells import Cell
from edge.contract.records import CoveredGround, FieldPlace
from edge.frame import Frame
from edge.slide_map.atlas import Lens, Spot
from edge.slide_map.census import MARK, Around, Census
from edge.slide_map.chart import Chart, Charted, Sight, sight_of
from edge.slide_map.coverage import covered_share, whole_cell_margin_px
from edge.slide_map.ground import Ground
from edge.slide_map.keeping import (
    KeptField,
    KeptState,
    MapDamagedError,
    beyond_all_numbers,
    kept_fields,
    number_to_bytes,
    spot_to_bytes,
)
from edge.slide_map.placing import Located
from edge.slide_map.sketch import Sketcher
from edge.vision.reduction import Reduction
from edge.vision.registration import plate_of

_CLEARLY_SHARPER: Final = 1.2
_AT_REST: Final = 0.98
"""A frame that lies where the map last placed one needs no other proof where so much of it is covered."""

_REVISITED_AT_ONCE: Final = 8
_NOTICED_PX: Final = 8.0
"""A field that moves by less is not asked again which of its cells are others'."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """A frame that might become a field, and where it lies; ``located`` is None where nothing tells that.

    ``covered_share`` of it need not be seen again: fields that are not clearly less sharp have shown whole
    every cell that it shows whole there. ``taken_back`` is how many fields had been lost by then.
    """

    sight: Sight
    focus: float
    located: Located | None
    covered_share: float
    taken_back: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """A field on the map: its number there, and of which slide."""

    field: int = 0
    slide: int = 0


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """What the map makes of a field's cells: those to report, and what the records say of the place.

    ``seen_again`` are the others, for the page: counted before, or waiting for a field that shows more.
    """

    cells: tuple[Cell, ...]
    seen_again: tuple[Cell, ...] = ()
    place: FieldPlace | None = None
    ground: CoveredGround | None = None


class SlideMap:
    """Everything that is known of where one slide's fields and cells lie.

    ``followed`` says that frames come from one camera, one after another, and can be followed from field to
    field; else every frame is a place of its own. ``recent_fields`` are compared by their picture alone
    where nothing tells where a frame lies. Its methods may be called from any thread. A field costs the same
    however many there are already.
    """

    def __init__(self, *, followed: bool = True, recent_fields: int = 12) -> None:
        self._followed = followed
        self._recent_fields = recent_fields
        self._lock = threading.RLock()
        self._slide = 0
        self._begin()

    def begin_slide(self, kept: Mapping[str, bytes] | None = None) -> None:
        """Forget the slide before; with ``kept``, all that ``changes`` gave of this one, go on with it.

        Raises MapDamagedError where that cannot be read; the map is empty then, but gives no number that a
        cell of this slide may have.
        """
        with self._lock:
            self._begin()
            if not kept:
                return
            try:
                self._restore(kept)
            except MapDamagedError:
                self._begin()
                self._census.number_from(beyond_all_numbers(kept))
                raise
            self.shown = self._sketcher.shown()

    def follow(self, reduction: Reduction) -> None:
        """A frame that is no field, such as one in motion: it tells where the camera goes."""
        if self._followed:
            plate = plate_of(reduction.fine_green)
            with self._lock:
                self._chart.tracker.follow(plate)
                self.shown = self._sketcher.shown()

    def look(self, frame: Frame, reduction: Reduction, *, focus: float) -> Sighting:
        """Where a frame lies that could be a field, and how much of it is covered; nothing is counted."""
        sight = sight_of(frame, reduction)
        with self._lock:
            if self._followed:
                self._chart.tracker.follow(sight.view.plate)
            located, covered = self._locate(sight, focus)
            self.shown = self._sketcher.shown()
            return Sighting(
                sight=sight,
                focus=focus,
                located=located,
                covered_share=covered,
                taken_back=self._taken_back,
            )

    def take(self, sighting: Sighting) -> Place:
        """Make a field of the frame that was looked at last: its ground is covered from now on."""
        with self._lock:
            field = self._next_field
            self._next_field += 1
            located = sighting.located
            if sighting.taken_back != self._taken_back:
                # What told the place may have been lost since.
                located = self._chart.locate(sighting.sight)
            if located is None and self._followed and self._fields:
                self._losses += 1
                self._lost_at.add(field)
            charted = self._chart.take(field, sighting.sight, located)
            view = sighting.sight.view
            self._fields[field] = KeptField(
                lens=view.lens,
                focus=sighting.focus,
                stage_px=sighting.sight.stage_px,
                digest=sighting.sight.digest,
                thumbnail=view.thumbnail,
                landmarks=view.landmarks,
                links=self._chart.atlas.links_of(field),
                marks=np.zeros(0, dtype=MARK),
            )
            self._note(charted)
            self.shown = self._sketcher.shown()
            return Place(field=field, slide=self._slide)

    def admit(self, place: Place, cells: Sequence[Cell]) -> Admitted:
        """Count what was found in a field, once; in the order in which the fields were taken.

        Cells of a field that is not on the map, as after the slide was closed, are given back as they came.
        """
        with self._lock:
            field = place.field
            if place.slide != self._slide or field not in self._fields or field in self._census:
                return Admitted(cells=tuple(cells))
            taken = self._fields[field]
            found = self._census.admit(
                field,
                cells,
                size_px=(taken.lens.width_px, taken.lens.height_px),
                focus=taken.focus,
                around=self._counted_around(field),
            )
            self._fields[field] = replace(taken, marks=self._census.marks(field))
            self._matched_at[field] = self._chart.atlas.spot(field)
            self._weigh(field)
            self._sketcher.draw(field)
            self._dirty.update(dict.fromkeys((f"field/{field}", f"spot/{field}", "state")))
            self._revisit()
            joined, withdrawn = tuple(self._joined), tuple(self._withdrawn)
            self._joined.clear()
            self._withdrawn.clear()
            spot = self._chart.atlas.spot(field)
            self.shown = self._sketcher.shown()
            return Admitted(
                cells=tuple(_on_island(cell, spot) for cell in found.reported),
                seen_again=tuple(_on_island(cell, spot) for cell in found.seen_again),
                place=FieldPlace(
                    island=spot.island,
                    corner_px=(round(spot.x_px, 1), round(spot.y_px, 1)),
                    tracking_lost=field in self._lost_at,
                    joined=joined,
                    withdrawn_cells=withdrawn,
                ),
                ground=self.ground,
            )

    def take_back(self, place: Place) -> None:
        """A field was lost after all: its ground and cells may be counted when they are seen again.

        What ``changes`` gave last is given again: it was to be kept with that field.
        """
        with self._lock:
            field = place.field
            if place.slide != self._slide or field not in self._fields:
                return
            self._taken_back += 1
            self._chart.remove(field)
            self._census.remove(field)
            self._ground.remove(field)
            self._sketcher.erase(field)
            del self._fields[field]
            self._matched_at.pop(field, None)
            self._revisits.pop(field, None)
            self._lost_at.discard(field)
            self._dirty.update(self._handed)
            for name in (f"field/{field}", f"spot/{field}"):
                self._dirty.pop(name, None)
            self.shown = self._sketcher.shown()

    def point_out(self, numbers: Sequence[int]) -> None:
        """Show where these of the slide's cells lie, the newest last; of many the newest alone."""
        with self._lock:
            self._sketcher.point_out(numbers)
            self.shown = self._sketcher.shown()

    def changes(self) -> Mapping[str, bytes]:
        """What changed since the last call and must be kept, by name: some 10 KB for a field.

        To be kept together with the record of the field that was admitted last, or given to ``take_back``.
        """
        with self._lock:
            self._handed.clear()
            self._handed.update(self._dirty)
            self._dirty.clear()
            return {name: self._value(name) for name in self._handed}

    @property
    def ground(self) -> CoveredGround:
        """How much the counted fields cover."""
        with self._lock:
            return self._ground.covered(islands=self._chart.atlas.islands, tracking_losses=self._losses)

    @property
    def tracking(self) -> bool:
        """Whether it is known where the camera looks; true for pictures that are not followed."""
        with self._lock:
            return not self._followed or not self._fields or self._chart.tracker.at is not None

    def _begin(self) -> None:
        self._slide += 1
        self._chart = Chart(recent_fields=self._recent_fields, followed=self._followed)
        self._census = Census()
        self._ground = Ground()
        self._sketcher = Sketcher(chart=self._chart, census=self._census, followed=self._followed)
        self.shown = self._sketcher.shown()
        """What a person is shown of the covered ground; may be read without waiting for anything."""
        self._fields: dict[int, KeptField] = {}
        self._next_field = 1
        self._losses = 0
        self._taken_back = 0
        self._lost_at: set[int] = set()
        self._joined: list[int] = []
        self._withdrawn: list[int] = []
        self._same: dict[int, int] = {}
        self._gone_islands: dict[int, Spot] = {}
        self._revisits: dict[int, None] = {}
        self._matched_at: dict[int, Spot] = {}
        self._dirty: dict[str, None] = {}
        self._handed: dict[str, None] = {}

    def _locate(self, sight: Sight, focus: float) -> tuple[Located | None, float]:
        lens = sight.view.lens
        rests_at = self._chart.steady_spot(lens)
        if rests_at is not None and (covered := self._covered(rests_at, lens, focus)) >= _AT_REST:
            return Located(spot=rests_at, links=(), seen=True), covered
        located = self._chart.locate(sight)
        return located, 0.0 if located is None else self._covered(located.spot, lens, focus)

    def _covered(self, spot: Spot, lens: Lens, focus: float) -> float:
        return covered_share(
            (
                (each.dx_px, each.dy_px)
                for each in self._chart.atlas.near(spot)
                if focus < _CLEARLY_SHARPER * self._fields[each.field].focus
            ),
            width_px=lens.width_px,
            height_px=lens.height_px,
            margin_px=whole_cell_margin_px(self._census.white_size.large_px, lens),
        )

    def _note(self, charted: Charted) -> None:
        for joined in charted.joined:
            self._joined.append(joined.gone)
            x_px, y_px = joined.moved_px
            self._gone_islands[joined.gone] = Spot(island=joined.stays, x_px=x_px, y_px=y_px)
            self._dirty[f"island/{joined.gone}"] = None
            self._revisits.update(dict.fromkeys(each for each in joined.fields if each in self._census))
        for field in charted.moved:
            if field not in self._census:
                continue
            self._sketcher.draw(field)
            before, now = self._matched_at[field], self._chart.atlas.spot(field)
            if before.island == now.island:
                self._dirty[f"spot/{field}"] = None
                if math.dist((before.x_px, before.y_px), (now.x_px, now.y_px)) > _NOTICED_PX:
                    self._revisits[field] = None

    def _revisit(self) -> None:
        """Ask a few of the fields that moved which of their cells are others'."""
        for field in list(self._revisits)[:_REVISITED_AT_ONCE]:
            del self._revisits[field]
            around = self._counted_around(field)
            for gone, stays in self._census.same(field, around):
                self._withdrawn.append(gone)
                self._same[gone] = stays
                self._dirty[f"same/{gone}"] = None
            self._matched_at[field] = self._chart.atlas.spot(field)
            for each in (field, *(each.field for each in around)):
                self._weigh(each)

    def _counted_around(self, field: int) -> tuple[Around, ...]:
        reach_px = self._census.white_size.large_px or 0.0
        return tuple(
            Around(field=each.field, dx_px=each.dx_px, dy_px=each.dy_px)
            for each in self._chart.atlas.near(self._chart.atlas.spot(field), reach_px=reach_px)
            if each.field != field and each.field in self._census
        )

    def _weigh(self, field: int) -> None:
        """Tell a counted field's own share of the ground."""
        lens = self._fields[field].lens
        earlier = (
            (each.dx_px, each.dy_px)
            for each in self._chart.atlas.near(self._chart.atlas.spot(field))
            if each.field < field and each.field in self._census
        )
        share = 1 - covered_share(earlier, width_px=lens.width_px, height_px=lens.height_px)
        self._ground.set(field, lens, share)

    def _value(self, name: str) -> bytes:
        kind, _, number = name.partition("/")
        if kind == "field":
            return self._fields[int(number)].to_bytes()
        if kind == "spot":
            return spot_to_bytes(self._chart.atlas.spot(int(number)))
        if kind == "island":
            return spot_to_bytes(self._gone_islands[int(number)])
        if kind == "same":
            return number_to_bytes(self._same[int(number)])
        return KeptState(
            next_field=self._next_field,
            next_island=self._chart.atlas.next_island,
            next_number=self._census.next_number,
            tracking_losses=self._losses,
        ).to_bytes()

    def _restore(self, kept: Mapping[str, bytes]) -> None:
        fields, gone_islands, same, state = kept_fields(kept)
        self._gone_islands, self._same = dict(gone_islands), dict(same)
        self._next_field, self._losses = state.next_field, state.tracking_losses
        atlas = self._chart.atlas
        atlas.restore_islands(
            {spot.island: field.lens for field, spot in fields.values()}, next_island=state.next_island
        )
        for gone, stays in same.items():
            self._census.unite(gone, stays)
        for number, (field, spot) in fields.items():
            self._chart.restore(number, field, spot)
            self._census.restore(number, field.marks, field.focus)
            self._fields[number] = field
            self._matched_at[number] = spot
            self._sketcher.draw(number)
            self._weigh(number)
        atlas.forget_tension()
        self._census.number_from(state.next_number)


def _on_island(cell: Cell, spot: Spot) -> Cell:
    x_px, y_px = cell.centre_px
    return replace(cell, position_px=(spot.x_px + x_px, spot.y_px + y_px))
