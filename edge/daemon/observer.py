"""From frames to counted fields: gates, analysis and saving, a thread each, one behind another.

So the networks need not wait for the disk, nor for the comparison with earlier fields. The queues between
them are short and lose nothing; where the camera is faster than the analysis, its own queue drops frames.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from edge.analysis.cells import Cell
from edge.analysis.field import FieldAnalyzer
from edge.analysis.gates import Accepted, Gates, Refused
from edge.contract.message import BoxPx
from edge.daemon.handover import Handover
from edge.daemon.problems import Problems
from edge.daemon.slide_desk import CountedField, SlideDesk
from edge.daemon.timing import StageClock
from edge.errors import EngineError, StorageError
from edge.frame import Frame

GATES: Final = "gates"
ANALYSIS: Final = "analysis"
SAVING: Final = "saving"
STAGES: Final = (GATES, ANALYSIS, SAVING)
FRAME_TO_RECORD: Final = "frame_to_record"
NO_SLIDE: Final = "no_slide_open"
"""Counted beside the gates' reasons: the frame was good, but there was no slide to count it on."""

_WAIT_S: Final = 0.5
_BETWEEN_STAGES: Final = 2
_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Field:
    """A frame that passed the gates while the slide of this number was open."""

    frame: Frame
    accepted: Accepted
    slide_number: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _AnalysedField:
    field: _Field
    cells: tuple[Cell, ...]
    analysis_s: float


class Observer:
    """Takes frames from the queue, judges, analyses and counts them.

    A network that fails or a disk that is full loses the field, says so, and the next frame is tried: the
    station does not die of what a person can mend. The gates take a lost field back, so that it can be
    counted when it is seen again.
    """

    def __init__(
        self,
        *,
        frames: Handover[Frame],
        gates: Gates,
        analyzer: FieldAnalyzer,
        desk: SlideDesk,
        clock: StageClock,
        problems: Problems,
        monotonic_s: Callable[[], float],
        on_frame: Callable[[Frame, str | None], None],
        on_field: Callable[[CountedField], None],
        on_analysed: Callable[[Frame, Sequence[Cell], float], None],
        on_engine_error: Callable[[str], None],
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
        self._fields = Handover[_Field](capacity=_BETWEEN_STAGES, live=False)
        self._analysed = Handover[_AnalysedField](capacity=_BETWEEN_STAGES, live=False)
        self._lost: deque[Accepted] = deque()
        self._slide_number = 0
        self._without_slide = 0
        self._stopping = threading.Event()
        self._threads = (
            threading.Thread(target=self._judge_all, name=GATES, daemon=True),
            threading.Thread(target=self._analyse_all, name=ANALYSIS, daemon=True),
            threading.Thread(target=self._save_all, name=SAVING, daemon=True),
        )
        self.finished = threading.Event()
        """Set when the frames came to an end and all were seen to."""
        self.fields = 0

    def start(self) -> None:
        """Begin, in threads of its own."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End after the items in hand; whether the threads ended in time."""
        self._stopping.set()
        self._fields.end()
        self._analysed.end()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def waiting(self) -> dict[str, int]:
        """How many items wait before each stage."""
        return {GATES: len(self._frames), ANALYSIS: len(self._fields), SAVING: len(self._analysed)}

    @property
    def refusals(self) -> Counter[str]:
        """How many frames did not become fields, by reason."""
        counts = Counter({reason.value: count for reason, count in self._gates.refusals.items()})
        if self._without_slide:
            counts[NO_SLIDE] = self._without_slide
        return counts

    def _judge_all(self) -> None:
        self._work(GATES, self._frames, self._judge)
        self._fields.end()

    def _analyse_all(self) -> None:
        self._work(ANALYSIS, self._fields, self._analyse)
        self._analysed.end()

    def _save_all(self) -> None:
        self._work(SAVING, self._analysed, self._save)
        self.finished.set()

    def _work(self, stage: str, source: Handover[_Item], see_to: Callable[[_Item], None]) -> None:
        while not self._stopping.is_set():
            item = source.get(_WAIT_S)
            self._clock.alive(stage)
            if item is not None:
                see_to(item)
            elif source.drained:
                return

    def _judge(self, frame: Frame) -> None:
        if not self._desk.is_open:
            self._without_slide += 1
            self._on_frame(frame, NO_SLIDE)
            return
        if self._slide_number != self._desk.opened:
            self._slide_number = self._desk.opened
            self._lost.clear()
            self._gates.forget_fields()
        while self._lost:
            self._gates.take_back(self._lost.popleft())
        with self._clock.stage(GATES):
            verdict = self._gates.judge(frame)
        if isinstance(verdict, Refused):
            self._on_frame(frame, verdict.reason.value)
            return
        self._on_frame(frame, None)
        self._fields.put(_Field(frame=frame, accepted=verdict, slide_number=self._slide_number))

    def _analyse(self, field: _Field) -> None:
        begun_s = self._monotonic_s()
        try:
            cells = self._analyzer.analyze(field.frame.pixels, um_per_px=field.frame.um_per_px)
        except (EngineError, ValueError) as error:
            self._lost.append(field.accepted)
            if isinstance(error, EngineError):
                self._on_engine_error(str(error))
            self._problems.raise_(ANALYSIS, f"A field was lost: {error}")
            return
        self._problems.clear(ANALYSIS)
        analysis_s = self._monotonic_s() - begun_s
        self._clock.note(ANALYSIS, analysis_s)
        self._on_analysed(field.frame, cells, analysis_s)
        fresh = not_yet_counted(cells, field.accepted.covered_px)
        self._analysed.put(_AnalysedField(field=field, cells=fresh, analysis_s=analysis_s))

    def _save(self, analysed: _AnalysedField) -> None:
        field = analysed.field
        try:
            with self._clock.stage(SAVING):
                counted = self._desk.count(
                    field.frame,
                    field.accepted,
                    analysed.cells,
                    slide_number=field.slide_number,
                    analysis_ms=analysed.analysis_s * 1000,
                )
        except StorageError as error:
            self._lost.append(field.accepted)
            self._problems.raise_(SAVING, f"A field could not be saved and was not counted: {error}")
            return
        self._problems.clear(SAVING)
        self._clock.note(FRAME_TO_RECORD, self._monotonic_s() - field.frame.monotonic_s)
        if counted is not None:
            self.fields += 1
            self._on_field(counted)


def not_yet_counted(cells: Sequence[Cell], covered_px: Sequence[BoxPx]) -> tuple[Cell, ...]:
    """The cells whose centres no earlier field has shown."""
    return tuple(
        cell
        for cell in cells
        if not any(
            x0 <= cell.centre_px[0] < x1 and y0 <= cell.centre_px[1] < y1 for x0, y0, x1, y1 in covered_px
        )
    )
