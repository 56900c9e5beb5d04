"""A candidate beside the active bundle on live fields: compared, told, and never counted.

The station's own analysis does not wait for it. One field at a time is compared; those that come meanwhile
are passed over, but for the newest.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.analysis.cells import Cell
from edge.analysis.comparison import Disagreement, Sighting, TwoReadings
from edge.cancellation import CancelledError
from edge.contract.records import ShadowResult
from edge.daemon.handover import Handover
from edge.daemon.second_opinion import OpenOpinion, SeenField
from edge.errors import EngineError
from edge.frame import Frame

SHADOW: Final = "shadow"
_WAIT_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class ShadowEnd:
    """What came of a run: ``found``, or the ``fault`` that ended it."""

    found: ShadowResult | None = None
    fault: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Analysed:
    frame: Frame
    cells: tuple[Cell, ...]


class Shadow:
    """Runs candidates beside the active bundle, one at a time, each on ``fields`` fields.

    ``see`` is for the analysis thread, and never waits; the rest is for one other thread.
    """

    def __init__(self, *, fields: int, open_opinion: OpenOpinion) -> None:
        self._fields = fields
        self._open_opinion = open_opinion
        self._run: _Run | None = None

    def follow(self, attempt: str, *, bundle: Path) -> ShadowEnd | None:
        """How the run of ``attempt`` ended; None while it goes on. The first call begins it."""
        if self._run is None or self._run.attempt != attempt:
            self.stop(0)
            self._run = _Run(
                attempt=attempt, bundle=bundle, fields=self._fields, open_opinion=self._open_opinion
            )
            self._run.start()
        return self._run.end

    @property
    def progress(self) -> str:
        """How far the run is, for a person; empty where there is none."""
        return "" if self._run is None else f"{self._run.compared} of {self._fields} fields are compared"

    def see(self, frame: Frame, cells: Sequence[Cell]) -> None:
        """The active bundle has analysed ``frame``."""
        run = self._run
        if run is not None and run.end is None:
            run.waiting.put(_Analysed(frame=frame, cells=tuple(cells)))

    def stop(self, timeout_s: float) -> bool:
        """End the run, if there is one; what it found is forgotten. Whether its thread ended in time."""
        run, self._run = self._run, None
        return run is None or run.stop(timeout_s)


class _Run:
    """One candidate's run, in a thread of its own."""

    def __init__(self, *, attempt: str, bundle: Path, fields: int, open_opinion: OpenOpinion) -> None:
        self.attempt = attempt
        self.waiting = Handover[_Analysed](capacity=1, live=True)
        self.end: ShadowEnd | None = None
        self.compared = 0
        self._bundle = bundle
        self._fields = fields
        self._open_opinion = open_opinion
        self._counts: Counter[TwoReadings] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=SHADOW, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        self._stopping.set()
        self.waiting.end()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._compare_all()
        except CancelledError:
            return
        except EngineError as error:
            self.end = ShadowEnd(fault=str(error))
            return
        if not self._stopping.is_set():
            found = Disagreement(fields=self.compared, counts=self._counts)
            self.end = ShadowEnd(found=found.result(passed_over=self.waiting.dropped))

    def _compare_all(self) -> None:
        stopped = self._stopping.is_set
        with self._open_opinion(self._bundle, stopped) as opinion:
            while self.compared < self._fields and not stopped():
                analysed = self.waiting.get(_WAIT_S)
                if analysed is not None:
                    self._counts.update(opinion(_seen(analysed), cancelled=stopped))
                    self.compared += 1


def _seen(analysed: _Analysed) -> SeenField:
    return SeenField(
        pixels=analysed.frame.pixels,
        um_per_px=analysed.frame.um_per_px,
        seen=tuple(Sighting.of(cell) for cell in analysed.cells),
    )
