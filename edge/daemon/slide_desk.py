"""One slide at a time: opens, counts, pauses and closes it, and nothing counts that is not on the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from edge.analysis.cells import Cell
from edge.analysis.gates import Accepted
from edge.analysis.session import Step, Tally, group_of
from edge.contract.manifest import Classifier
from edge.contract.message import ClockState, Key, SlideName, Stamp
from edge.contract.records import SlideRecord
from edge.daemon.kept_slide import (
    Identity,
    KeptSlide,
    SlideHead,
    read_kept,
    values_of_head,
    values_of_step,
)
from edge.daemon.open_slide import CountRules, OpenSlide
from edge.daemon.slide_journal import CountedCell, CountedField, Journal, OnMap, Origin, SlideJournal
from edge.daemon.slide_state import Ending, SlideState
from edge.errors import LeukoscopeError, StorageError
from edge.frame import Frame
from edge.slide_identity import PlainNames, SlideNames, normalised

_log = logging.getLogger(__name__)

NO_SLIDE: Final = "no_slide_open"
SLIDE_PAUSED: Final = "slide_paused"

ScanOutcome = Literal["opened", "same", "ask"]

_SLIDE_NAME: Final[TypeAdapter[str]] = TypeAdapter(SlideName)


class SlideError(LeukoscopeError):
    """An order that does not fit the slide's state, such as closing when none is open."""

    exit_code = 64  # EX_USAGE


class SlideDesk:
    """Keeps the slide session. Its methods may be called from any thread; its properties never wait.

    An accession id is known here and on the page alone: records, kept values, logs and faults have the name
    that ``names`` gives it.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        origin: Origin,
        classifier: Classifier,
        record_every_fields: int,
        now: Callable[[], datetime],
        rules: CountRules | None = None,
        names: SlideNames | None = None,
        clock: Callable[[], ClockState | None] = lambda: None,
    ) -> None:
        self._journal = SlideJournal(journal=journal, origin=origin, now=now, clock=clock)
        self._bundle = origin.bundle
        self._classifier = classifier
        self._record_every_fields = record_every_fields
        self._rules = rules or CountRules()
        self._names = names or PlainNames()
        self._now = now
        self._lock = threading.Lock()
        self._slide: OpenSlide | None = None
        self._state: SlideState | None = None
        self.accession: str | None = None
        """The accession id of the slide in ``latest``; None where this run was not told it."""
        self.opened = 0
        """How many slides were opened: a change tells that what was counted may be counted again."""
        self.kept_map: Mapping[str, bytes] = {}
        """What the slide map had kept of a slide that this run goes on with; empty for one that is new."""
        self.blasts: tuple[int, ...] = ()
        """Numbers of the cells that count as blasts on the slide in ``latest``; of many the newest."""
        self.notice = ""
        """What a person should know of a slide that an earlier run left; empty after the next order."""

    @property
    def latest(self) -> SlideRecord | None:
        """The state of the slide that is open, or was last."""
        state = self._state
        return None if state is None else state.record

    @property
    def hides_ids(self) -> bool:
        """Whether records have a pseudonym in the place of an accession id."""
        return self._names.identity == "pseudonym"

    @property
    def is_open(self) -> bool:
        """Whether a slide is open, paused or not."""
        return self._slide is not None

    @property
    def not_counting(self) -> str | None:
        """Why good frames are not counted now: ``NO_SLIDE``, ``SLIDE_PAUSED``; None where they are."""
        slide = self._slide
        if slide is None:
            return NO_SLIDE
        return SLIDE_PAUSED if slide.head.paused else None

    @property
    def counted_cells(self) -> int:
        """How many objects the open slide has; 0 where none is open."""
        slide = self._slide
        return 0 if slide is None else sum(slide.session.tally.objects.values())

    def stamp(self, key: Key) -> Stamp:
        """What a record that is made now under ``key`` says of where it comes from."""
        return self._journal.stamp(key)

    def open(self, accession: str | None, *, target_cells: int | None = None) -> str:
        """Begin a slide, closing another; named after the time where there is no ``accession``.

        The slide that is open under this accession id goes on, from a pause too. Gives the name that records
        have. Raises SlideError for an id that cannot be one, SlideKeyError where it cannot be hidden,
        StorageError where the opening cannot be recorded: nothing is open then.
        """
        with self._lock:
            return self._open(accession, target_cells)

    def scan(self, accession: str) -> ScanOutcome:
        """A barcode was read: its slide was ``opened``, or is the ``same``, or ``ask``: another has fields.

        Where it says ``ask``, nothing is done. Raises what ``open`` raises.
        """
        with self._lock:
            slide = self._slide
            name = self._names.recorded(_checked(accession)).name
            same = slide is not None and slide.head.slide == name
            if slide is not None and not same and slide.session.tally.fields:
                return "ask"
            self._open(accession, None)
            return "same" if same else "opened"

    def pause(self) -> None:
        """Count no more frames until ``resume``; fields under way still count.

        Raises SlideError when none is open or it is paused, StorageError when it goes on.
        """
        with self._lock:
            slide = self._require()
            if slide.head.paused:
                raise SlideError("The slide is paused already.", remedy="Resume or close it.")
            self._write_head(slide, {"paused": True})

    def resume(self) -> None:
        """Count again. Raises SlideError when none is open or it is not paused, StorageError."""
        with self._lock:
            slide = self._require()
            if not slide.head.paused:
                raise SlideError("The slide is not paused.", remedy="It counts already.")
            self._write_head(slide, {"paused": False})

    def close(self) -> None:
        """End the open slide. Raises SlideError when none is open, StorageError when it stays open."""
        with self._lock:
            self._close(self._require(), "order")

    def go_on(self) -> bool:
        """Go on with the slide that an earlier run left open; whether there is one.

        One with cells of another bundle is closed as it stands: a differential is that of one bundle. So is
        one of which a damaged outbox has lost a part. ``notice`` says so. Raises StorageError.
        """
        with self._lock:
            values = self._journal.kept()
            if not values:
                return False
            kept = read_kept(values)
            if kept is None:
                self._journal.forget()
                self._note("A slide was open, but what was kept of it is damaged: it cannot go on.")
                return False
            return self._take_up(kept)

    def count(
        self,
        frame: Frame,
        accepted: Accepted,
        cells: Sequence[Cell],
        *,
        slide_number: int,
        analysis_ms: float,
        on_map: OnMap | None = None,
    ) -> CountedField | None:
        """Record a field and count its cells; None where its slide (by ``opened``) is open no more.

        Raises StorageError where the record is not on the disk: its cells are not counted then.
        """
        with self._lock:
            slide = self._slide
            if slide is None or slide_number != self.opened:
                return None
            told = on_map or OnMap()
            withdrawn = told.place.withdrawn_cells if told.place else ()
            step = slide.session.after_field(cells, withdrawn=withdrawn)
            field = self._journal.field(
                slide.head,
                step,
                frame=frame,
                accepted=accepted,
                cells=cells,
                analysis_ms=analysis_ms,
                on_map=told,
            )
            slide.ground = told.ground or slide.ground
            self._take(slide, step, field.key)
            if step.tally.fields % self._record_every_fields == 0:
                self._record_summary(slide)
            return field

    def judge(self, counted: CountedCell, verdict: str | None) -> None:
        """Note a person's verdict on a cell of the open slide: one of ``PERSONS_ANSWERS``, out of its class.

        None lets the network's answer stand again. Raises SlideError where the cell is not of this slide, or
        none that is named; StorageError.
        """
        with self._lock:
            slide = self._require()
            cell = counted.cell
            if slide.head.slide != counted.slide or cell.naming is None:
                raise SlideError("This cell is not of the open slide.", remedy="Review it in the collector.")
            name = counted.name if cell.number is None else str(cell.number)
            step = slide.session.after_verdict(name, machine=group_of(cell), verdict=verdict)
            key = self._journal.verdict(counted, step, machine_class=cell.naming.cell_class, verdict=verdict)
            self._take(slide, step, key)

    # Below here the lock is held.

    def _require(self) -> OpenSlide:
        if self._slide is None:
            raise SlideError("No slide is open.", remedy="Open one first.")
        return self._slide

    def _open(self, accession: str | None, target_cells: int | None) -> str:
        opened_at = self._now()
        name = opened_at.strftime("slide-%Y%m%d-%H%M%S-%f")[:-3]
        identity: Identity = "given"
        if accession:
            recorded = self._names.recorded(_checked(accession))
            name, identity = recorded.name, recorded.identity
        if self._slide is not None and self._slide.head.slide == name:
            if self._slide.head.paused:
                self._write_head(self._slide, {"paused": False})
            self.accession = accession
            return name
        if self._slide is not None:
            self._close(self._slide, "next_slide")
        head = self._head(
            slide=name,
            identity=identity,
            opened_at=opened_at,
            target_cells=target_cells or self._rules.stop.target_cells,
        )
        slide = OpenSlide.of(KeptSlide(head=head, tally=Tally(), cells={}), rules=self._rules)
        nothing_yet = values_of_step(Step(tally=slide.session.tally, cells={}))
        self._state = self._journal.state(slide.state_at, keep=values_of_head(head) | nothing_yet)
        self._begin(slide, accession)
        return name

    def _head(self, *, slide: str, identity: Identity, opened_at: datetime, target_cells: int) -> SlideHead:
        return SlideHead(
            slide=slide,
            identity=identity,
            opened_at=opened_at,
            target_cells=target_cells,
            bundle=self._bundle,
            confusion=self._classifier.confusion,
            blasts=self._classifier.vocabulary.blasts,
        )

    def _begin(
        self, slide: OpenSlide, accession: str | None, *, kept_map: Mapping[str, bytes] | None = None
    ) -> None:
        self._slide = slide
        self.blasts = slide.blasts.newest
        self.accession = accession
        self.kept_map = kept_map or {}
        self.opened += 1

    def _take_up(self, kept: KeptSlide) -> bool:
        of_here = kept.head.bundle == self._bundle
        if (sum(kept.tally.objects.values()) and not of_here) or not kept.whole:
            ending: Ending = "damaged" if of_here else "bundle_changed"
            self._close(OpenSlide.of(kept, rules=self._rules), ending)
            why = "a part of it was lost with a damaged outbox" if of_here else "another bundle counts now"
            self._note(
                f"The slide {kept.head.slide}, which was open, is closed with "
                f"{kept.tally.fields} fields: {why}."
            )
            return False
        here = self._head(
            slide=kept.head.slide,
            identity=kept.head.identity,
            opened_at=kept.head.opened_at,
            target_cells=kept.head.target_cells,
        )
        head = here.model_copy(update={"paused": kept.head.paused, "resumed": kept.head.resumed + 1})
        slide = OpenSlide.of(replace(kept, head=head), rules=self._rules)
        self._state = self._journal.state(slide.state_at, keep=values_of_head(head))
        self._begin(slide, None, kept_map=kept.slide_map)
        _log.info("slide %s goes on with %d fields", head.slide, kept.tally.fields)
        return True

    def _write_head(self, slide: OpenSlide, change: Mapping[str, object]) -> None:
        head = slide.head.model_copy(update=change)
        changed = replace(slide, head=head)
        self._state = self._journal.state(changed.state_at, keep=values_of_head(head))
        self._slide = changed
        self.notice = ""

    def _take(self, slide: OpenSlide, step: Step, key: Key) -> None:
        slide.session.take(step)
        slide.blasts.take(step.cells)
        self.blasts = slide.blasts.newest
        self._state = slide.state_at(self.stamp(key))

    def _close(self, slide: OpenSlide, ending: Ending) -> None:
        self._state = self._journal.state(
            lambda stamp: slide.state_at(stamp, ending=ending), keep=dict.fromkeys(self._journal.kept())
        )
        self._slide = None
        self.notice = ""

    def _record_summary(self, slide: OpenSlide) -> None:
        """Record the open slide's state; where that fails, the fields that it sums up are safe already."""
        try:
            self._state = self._journal.state(slide.state_at)
        except StorageError as error:
            _log.warning("the state of slide %s is not recorded: %s", slide.head.slide, error)

    def _note(self, notice: str) -> None:
        self.notice = notice
        _log.warning("%s", notice)


def _checked(accession: str) -> str:
    try:
        return _SLIDE_NAME.validate_python(normalised(accession))
    except ValidationError as error:
        # The id itself is not repeated: this goes into logs, and over the network.
        raise SlideError(
            f"An accession id of {len(accession)} characters like this cannot name a slide.",
            remedy="Use 1 to 64 characters without control characters.",
        ) from error
