"""The analysing thread: frames in, counted fields out."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from edge.analysis.cells import Cell
from edge.analysis.field import FieldAnalyzer
from edge.analysis.gates import Accepted, Gates, Refused
from edge.contract.records import BoxPx
from edge.daemon.frame_queue import FrameQueue
from edge.daemon.problems import Problems
from edge.daemon.slide_desk import CountedField, SlideDesk
from edge.daemon.timing import StageClock
from edge.errors import EngineError, StorageError
from edge.frame import Frame

_log = logging.getLogger(__name__)

ANALYSIS: Final = "analysis"
GATES: Final = "gates"
SAVING: Final = "saving"
FRAME_TO_RECORD: Final = "frame_to_record"
NO_SLIDE: Final = "no_slide_open"
"""Counted beside the gates' reasons: the frame was good, but there was no slide to count it on."""

_WAIT_S: Final = 0.5


class Observer:
    """Takes frames from the queue, judges, analyses and counts them, one after another.

    A network that fails or a disk that is full loses the field, says so, and the next frame is tried: the
    station does not die of what a person can mend.
    """

    def __init__(
        self,
        *,
        frames: FrameQueue,
        gates: Gates,
        analyzer: FieldAnalyzer,
        desk: SlideDesk,
        clock: StageClock,
        problems: Problems,
        monotonic_s: Callable[[], float],
        on_frame: Callable[[Frame, str | None], None],
        on_field: Callable[[CountedField], None],
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
        self._slides_opened = 0
        self._without_slide = 0
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._stopping = threading.Event()
        self.finished = threading.Event()
        """Set when the frames came to an end and all were seen to."""
        self.fields = 0

    def start(self) -> None:
        """Begin in a new thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End after the frame in hand; whether the thread ended in time."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def refusals(self) -> Counter[str]:
        """How many frames did not become fields, by reason."""
        counts = Counter({reason.value: count for reason, count in self._gates.refusals.items()})
        if self._without_slide:
            counts[NO_SLIDE] = self._without_slide
        return counts

    def _run(self) -> None:
        while not self._stopping.is_set():
            frame = self._frames.get(_WAIT_S)
            self._clock.alive(ANALYSIS)
            if frame is not None:
                self._see(frame)
            elif self._frames.drained:
                break
        self.finished.set()

    def _see(self, frame: Frame) -> None:
        if not self._desk.is_open:
            self._without_slide += 1
            self._on_frame(frame, NO_SLIDE)
            return
        if self._slides_opened != self._desk.opened:
            self._slides_opened = self._desk.opened
            self._gates.forget_fields()
        with self._clock.stage(GATES):
            verdict = self._gates.judge(frame)
        if isinstance(verdict, Refused):
            self._on_frame(frame, verdict.reason.value)
            return
        self._on_frame(frame, None)
        self._count(frame, verdict)

    def _count(self, frame: Frame, accepted: Accepted) -> None:
        begun_s = self._monotonic_s()
        try:
            cells = self._analyzer.analyze(frame.pixels, um_per_px=frame.um_per_px)
        except (EngineError, ValueError) as error:
            self._gates.take_back()
            self._problems.raise_(ANALYSIS, f"A field was lost: {error}")
            return
        self._problems.clear(ANALYSIS)
        analysis_s = self._monotonic_s() - begun_s
        self._clock.note(ANALYSIS, analysis_s)
        fresh = not_yet_counted(cells, accepted.covered_px)
        try:
            with self._clock.stage(SAVING):
                counted = self._desk.count(frame, accepted, fresh, analysis_ms=analysis_s * 1000)
        except StorageError as error:
            self._gates.take_back()
            self._problems.raise_(SAVING, f"A field could not be saved and was not counted: {error}")
            return
        self._problems.clear(SAVING)
        self._clock.note(FRAME_TO_RECORD, self._monotonic_s() - frame.monotonic_s)
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
