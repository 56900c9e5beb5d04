"""What a slide leaves on the disk: records of what happens, and with them what another run needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from edge.analysis.cells import Cell
from edge.analysis.gates import Accepted
from edge.analysis.session import Step
from edge.contract.message import ClockState, Key, Stamp
from edge.contract.records import (
    CoveredGround,
    DurableRecord,
    FieldPlace,
    FieldRecord,
    ReviewRecord,
    SlideRecord,
)
from edge.daemon.field_record import field_record
from edge.daemon.kept_slide import PREFIX, SlideHead, values_of_step
from edge.daemon.slide_state import SlideState
from edge.frame import Frame

REVIEWER: Final = "at the station"
"""The page has no users: whoever sat there."""


class Journal(Protocol):
    """Where records become durable, and small values with them; the outbox fits it."""

    def append(
        self, build: Callable[[Key], DurableRecord], *, keep: Mapping[str, bytes | None] | None = None
    ) -> Key:
        """Store the record that ``build`` makes for the next key, and the values in ``keep``, or neither.

        Durable on return; None removes a value. Raises StorageError.
        """
        ...

    def kept(self, prefix: str = "") -> dict[str, bytes]:
        """The values kept under names that begin so, also by an earlier process. Raises StorageError."""
        ...

    def keep(self, values: Mapping[str, bytes | None]) -> None:
        """Keep or remove values without a record. Raises StorageError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What every record of this station's run says of where it comes from."""

    site: str
    software: str
    bundle: str


@dataclass(frozen=True, kw_only=True)
class OnMap:
    """What the slide map says of a field: where it lies, what ground is covered, and what it keeps anew.

    ``seen_again`` are cells that were counted before, or wait for a field that shows more of them.
    """

    seen_again: tuple[Cell, ...] = ()
    place: FieldPlace | None = None
    ground: CoveredGround | None = None
    changes: Mapping[str, bytes | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedField:
    """A field whose record is on the disk. ``seen_again`` are cells that it shows and that are not in it.

    ``withdrawn`` are numbers of cells that this field showed to have been counted under another number.
    """

    key: Key
    slide: str
    number: int
    frame: Frame
    cells: tuple[Cell, ...]
    seen_again: tuple[Cell, ...] = ()
    withdrawn: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedCell:
    """One cell of a counted field: the field's key, and the cell's place in its record."""

    field_key: Key
    slide: str
    index: int
    cell: Cell

    @property
    def name(self) -> str:
        """Names the cell for ever, on this station."""
        return f"{self.field_key.boot}-{self.field_key.sequence}-{self.index}"


class SlideJournal:
    """Writes a slide's records. Every method raises StorageError, and then nothing is written."""

    def __init__(
        self,
        *,
        journal: Journal,
        origin: Origin,
        now: Callable[[], datetime],
        clock: Callable[[], ClockState | None],
    ) -> None:
        self._journal = journal
        self._origin = origin
        self._now = now
        self._clock = clock

    def stamp(self, key: Key) -> Stamp:
        """What a record that is made now under ``key`` says of where it comes from."""
        return Stamp(
            site=self._origin.site,
            key=key,
            recorded_at=self._now(),
            software=self._origin.software,
            bundle=self._origin.bundle,
            clock=self._clock(),
        )

    def kept(self) -> dict[str, bytes]:
        """Everything that is kept of an open slide; empty where there is none."""
        return self._journal.kept(PREFIX)

    def forget(self) -> None:
        """Keep nothing of a slide any longer."""
        self._journal.keep(dict.fromkeys(self.kept()))

    def state(
        self, state_at: Callable[[Stamp], SlideState], *, keep: Mapping[str, bytes | None] | None = None
    ) -> SlideState:
        """Record how the slide stands."""
        states: list[SlideState] = []

        def build(key: Key) -> SlideRecord:
            states.append(state_at(self.stamp(key)))
            return states[-1].record

        self._journal.append(build, keep=keep)
        return states[-1]

    def field(
        self,
        head: SlideHead,
        step: Step,
        *,
        frame: Frame,
        accepted: Accepted,
        cells: Sequence[Cell],
        analysis_ms: float,
        on_map: OnMap,
    ) -> CountedField:
        """Record a field, and keep what it changes."""
        number = step.tally.fields

        def build(key: Key) -> FieldRecord:
            return field_record(
                self.stamp(key),
                slide=head.slide,
                number=number,
                frame=frame,
                accepted=accepted,
                cells=cells,
                analysis_ms=analysis_ms,
                place=on_map.place,
            )

        key = self._journal.append(
            build, keep=values_of_step(step, ground=on_map.ground, slide_map=on_map.changes)
        )
        return CountedField(
            key=key,
            slide=head.slide,
            number=number,
            frame=frame,
            cells=tuple(cells),
            seen_again=on_map.seen_again,
            withdrawn=on_map.place.withdrawn_cells if on_map.place else (),
        )

    def verdict(self, counted: CountedCell, step: Step, *, machine_class: str, verdict: str | None) -> Key:
        """Record a person's verdict on a cell; None says that the network's class stands."""

        def build(key: Key) -> ReviewRecord:
            stamp = self.stamp(key)
            return ReviewRecord(
                stamp=stamp,
                slide=counted.slide,
                field_key=counted.field_key,
                cell=counted.index,
                machine_class=machine_class,
                reviewed_class=verdict or machine_class,
                reviewer=REVIEWER,
                reviewed_at=stamp.recorded_at,
            )

        return self._journal.append(build, keep=values_of_step(step))
