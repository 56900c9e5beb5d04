"""From frames to counted fields: gates, analysis and saving, a thread each, one behind another.

So the networks need not wait for the disk, nor for the comparison with earlier fields. The queues between
them are short and lose nothing; where the camera is faster than the analysis, its own queue drops frames.
Each stage can be begun anew by whoever supervises it, or given up, and the others go on.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from edge.analysis.cells import Cell
from edge.analysis.field import DetectorInputs
from edge.analysis.gates import Accepted, Gates, Refused
from edge.daemon.engine_sessions import Analyzer
from edge.daemon.handover import Handover
from edge.daemon.problems import Problems
from edge.daemon.slide_desk import SlideDesk
from edge.daemon.slide_journal import CountedField, OnMap
from edge.daemon.stage_worker import StageWork, StageWorker
from edge.daemon.timing import StageClock
from edge.errors import EngineError, StorageError
from edge.frame import Frame
from edge.slide_map.keeping import MapDamagedError

GATES: Final = "gates"
ANALYSIS: Final = "analysis"
SAVING: Final = "saving"
COUNTING: Final = (GATES, ANALYSIS, SAVING)
"""The stages without which nothing is counted."""
SLIDE_MAP: Final = "slide map"
FRAME_TO_RECORD: Final = "frame_to_record"
NOT_ANALYSED: Final = "not_analysed"
"""Counted beside the gates' reasons: a later stage was given up, so that frames are only shown."""

_BETWEEN_STAGES: Final = 2
_REOPEN_AFTER: Final = 3
"""So many engine errors in a row are no accident of one picture: the networks are loaded anew."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Field:
    """A frame that passed the gates while the slide of this number was open.

    ``inputs`` is what the detector will be shown of it, made while the networks are at the field before.
    """

    frame: Frame
    accepted: Accepted
    slide_number: int
    inputs: DetectorInputs | None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """What the gates said of a frame: the field that it is, or why it is none."""

    frame: Frame
    field: _Field | None = None
    refusal: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _AnalysedField:
    field: _Field
    cells: tuple[Cell, ...]
    analysis_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Analysis:
    """What the networks said of a field, or why they said nothing."""

    cells: tuple[Cell, ...] = ()
    analysis_s: float = 0.0
    fault: str = ""
    by_engine: bool = False


class Lens(Protocol):
    """What makes a camera's frames comparable; ``edge.daemon.optics`` fits it."""

    def correct(self, frame: Frame) -> Frame:
        """The frame as gates, networks and page shall see it."""
        ...

    def watch(self, field: Frame) -> None:
        """A corrected frame that became a field and was analysed."""
        ...


class Observer:
    """Takes frames from the queue, judges, analyses and counts them.

    A network that fails or a disk that is full loses the field, says so, and the next frame is tried: the
    station does not die of what a person can mend. The gates take a lost field back, so that it can be
    counted when it is seen again. ``reopen`` opens the networks anew, for when they are stuck or fail again
    and again; it may raise EngineError.
    """

    def __init__(
        self,
        *,
        frames: Handover[Frame],
        gates: Gates,
        analyzer: Analyzer,
        desk: SlideDesk,
        clock: StageClock,
        problems: Problems,
        monotonic_s: Callable[[], float],
        on_frame: Callable[[Frame, str | None], None],
        on_field: Callable[[CountedField], None],
        on_analysed: Callable[[Frame, Sequence[Cell], float], None],
        on_engine_error: Callable[[str], None],
        reopen: Callable[[], None] = lambda: None,
        optics: Lens | None = None,
    ) -> None:
        self._frames = frames
        self._gates = gates
        self._analyzer = analyzer
        self._desk = desk
        self._clock = clock
        self._problems = problems
        self._monotonic_s = monotonic_s
        self._on_frame = on_frame
        self._on_field = on_field
        self._on_analysed = on_analysed
        self._on_engine_error = on_engine_error
        self._reopen = reopen
        self._optics = optics
        self._failed_in_a_row = 0
        self._fields = Handover[_Field](capacity=_BETWEEN_STAGES, live=False)
        self._analysed = Handover[_AnalysedField](capacity=_BETWEEN_STAGES, live=False)
        self._lost: deque[Accepted] = deque()
        self._slide_number = 0
        self._not_counted: Counter[str] = Counter()
        self._not_analysed = 0
        self._given_up: set[str] = set()
        self.finished = threading.Event()
        """Set when the frames came to an end and all were seen to."""
        self.fields = 0
        gates_work = StageWork[Frame, _Judged](
            do=self._judge,
            deliver=self._pass_on,
            lost=lambda _frame, reason: problems.raise_(GATES, f"A frame was lost: {reason}"),
            late=self._take_back_late,
            at_end=self._fields.end,
        )
        analysis_work = StageWork[_Field, _Analysis](
            do=self._analyse,
            deliver=self._number,
            lost=self._lose,
            late=lambda _field, _analysis: None,
            at_end=self._analysed.end,
            prepare=self._reopen_engines,
        )
        saving_work = StageWork[_AnalysedField, None](
            do=self._save,
            deliver=lambda _analysed, _none: None,
            # Whether a record came onto the disk, only the thread that writes it can tell: it takes the field
            # back where it did not, and what is on the disk counts, however late.
            lost=lambda _analysed, reason: problems.raise_(SAVING, f"A field is not saved yet: {reason}"),
            late=lambda _analysed, _none: None,
            at_end=self.finished.set,
        )
        self._gates_worker = StageWorker(
            stage=GATES, source=frames, work=gates_work, clock=clock, gives_way=True
        )
        self._analysis_worker = StageWorker(
            stage=ANALYSIS, source=self._fields, work=analysis_work, clock=clock
        )
        self._saving_worker = StageWorker(
            stage=SAVING, source=self._analysed, work=saving_work, clock=clock, gives_way=True
        )
        self.workers: Mapping[str, StageWorker[Any, Any]] = {
            GATES: self._gates_worker,
            ANALYSIS: self._analysis_worker,
            SAVING: self._saving_worker,
        }
        """The stages' threads, for whoever supervises them."""

    def start(self) -> None:
        """Begin, in threads of its own."""
        for worker in self.workers.values():
            worker.start()

    def stop(self, timeout_s: float) -> bool:
        """End after the items in hand; whether the threads ended in time."""
        self._fields.end()
        self._analysed.end()
        ended = [worker.stop(timeout_s) for worker in self.workers.values()]
        return all(ended)

    def give_up(self, stage: str, reason: str) -> None:
        """Do without a stage from now on; the stages before it go on as far as they make sense."""
        self._given_up.add(stage)
        self.workers[stage].give_up(reason)

    @property
    def waiting(self) -> dict[str, int]:
        """How many items wait before each stage."""
        return {GATES: len(self._frames), ANALYSIS: len(self._fields), SAVING: len(self._analysed)}

    @property
    def refusals(self) -> Counter[str]:
        """How many frames did not become fields, by reason."""
        counts = Counter({reason.value: count for reason, count in self._gates.refusals.items()})
        counts.update(self._not_counted)
        if self._not_analysed:
            counts[NOT_ANALYSED] = self._not_analysed
        return counts

    def _judge(self, frame: Frame) -> _Judged:
        if self._optics is not None:
            frame = self._optics.correct(frame)
        if self._given_up:
            self._not_analysed += 1
            return _Judged(frame=frame, refusal=NOT_ANALYSED)
        if (why_not := self._desk.not_counting) is not None:
            self._not_counted[why_not] += 1
            return _Judged(frame=frame, refusal=why_not)
        if self._slide_number != self._desk.opened:
            self._slide_number = self._desk.opened
            self._lost.clear()
            self._begin_on_map()
        while self._lost:
            self._gates.take_back(self._lost.popleft())
        with self._clock.stage(GATES):
            verdict = self._gates.judge(frame)
        if isinstance(verdict, Refused):
            return _Judged(frame=frame, refusal=verdict.reason.value)
        field = _Field(
            frame=frame,
            accepted=verdict,
            slide_number=self._slide_number,
            inputs=self._inputs_of(frame),
        )
        return _Judged(frame=frame, field=field)

    def _inputs_of(self, frame: Frame) -> DetectorInputs | None:
        try:
            return self._analyzer.prepare(frame.pixels, um_per_px=frame.um_per_px)
        except ValueError:
            return None  # the analysis finds the same, and tells the field as lost

    def _begin_on_map(self) -> None:
        """Another slide, or one that an earlier run left open, whose map was kept."""
        try:
            self._gates.begin_slide(self._desk.kept_map)
        except MapDamagedError as error:
            self._problems.raise_(SLIDE_MAP, str(error))
        else:
            self._problems.clear(SLIDE_MAP)
        self._gates.slide_map.point_out(self._desk.blasts)

    def _pass_on(self, _frame: Frame, judged: _Judged) -> None:
        self._problems.clear(GATES)
        self._on_frame(judged.frame, judged.refusal)
        if judged.field is not None:
            self._gates_worker.hand_on(judged.field, self._fields)

    def _take_back_late(self, _frame: Frame, judged: _Judged) -> None:
        """The gates hold this frame for counted, and nobody will count it."""
        if judged.field is not None:
            self._lost.append(judged.field.accepted)

    def _analyse(self, field: _Field) -> _Analysis:
        begun_s = self._monotonic_s()
        try:
            if self._failed_in_a_row >= _REOPEN_AFTER:
                self._reopen_engines()
            cells = self._analyzer.analyze(
                field.frame.pixels, um_per_px=field.frame.um_per_px, prepared=field.inputs
            )
        except (EngineError, ValueError) as error:
            return _Analysis(fault=str(error), by_engine=isinstance(error, EngineError))
        return _Analysis(cells=cells, analysis_s=self._monotonic_s() - begun_s)

    def _number(self, field: _Field, analysis: _Analysis) -> None:
        if analysis.fault:
            self._failed_in_a_row += analysis.by_engine
            self._lose(field, analysis.fault, by_engine=analysis.by_engine)
            return
        self._failed_in_a_row = 0
        self._problems.clear(ANALYSIS)
        self._clock.note(ANALYSIS, analysis.analysis_s)
        self._on_analysed(field.frame, analysis.cells, analysis.analysis_s)
        if self._optics is not None:
            self._optics.watch(field.frame)
        analysed = _AnalysedField(field=field, cells=analysis.cells, analysis_s=analysis.analysis_s)
        self._analysis_worker.hand_on(analysed, self._analysed)

    def _lose(self, field: _Field, reason: str, *, by_engine: bool = True) -> None:
        """Give a field back to the gates, so that it can be counted when it is seen again, and say so."""
        self._lost.append(field.accepted)
        if by_engine:
            self._on_engine_error(reason)
        self._problems.raise_(ANALYSIS, f"A field was lost: {reason}")

    def _reopen_engines(self) -> None:
        """Other sessions of the same networks; those in a stuck thread's hands are left to it."""
        self._reopen()
        self._failed_in_a_row = 0

    def _save(self, analysed: _AnalysedField) -> None:
        field, slide_map = analysed.field, self._gates.slide_map
        try:
            with self._clock.stage(SAVING):
                admitted = slide_map.admit(field.accepted.place, analysed.cells)
                counted = self._desk.count(
                    field.frame,
                    field.accepted,
                    admitted.cells,
                    slide_number=field.slide_number,
                    analysis_ms=analysed.analysis_s * 1000,
                    on_map=OnMap(
                        seen_again=admitted.seen_again,
                        place=admitted.place,
                        ground=admitted.ground,
                        changes=slide_map.changes(),
                    ),
                )
        except StorageError as error:
            # At once: the field that is saved next must not take a cell for counted that is not.
            slide_map.take_back(field.accepted.place)
            self._lost.append(field.accepted)
            self._problems.raise_(SAVING, f"A field could not be saved and was not counted: {error}")
            return
        self._problems.clear(SAVING)
        self._clock.note(FRAME_TO_RECORD, self._monotonic_s() - field.frame.monotonic_s)
        if counted is not None:
            self.fields += 1
            slide_map.point_out(self._desk.blasts)
            self._on_field(counted)
