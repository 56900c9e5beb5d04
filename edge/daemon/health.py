"""How the station fares, gathered from its parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import psutil

from edge.contract.status import HealthRecord
from edge.daemon.capture import Capture
from edge.daemon.handover import Handover
from edge.daemon.observer import Observer
from edge.daemon.problems import Problems
from edge.daemon.timing import StageClock
from edge.frame import Frame

BrokerState = Literal["connected", "disconnected", "off"]


@dataclass(frozen=True, kw_only=True)
class OutboxFigures:
    """What the outbox holds, and what it had to let go."""

    records: int
    size_bytes: int
    discarded: int


class Health:
    """Asks each part how it fares; cheap enough to be asked several times in a second."""

    def __init__(
        self,
        *,
        site: str,
        station: str,
        boot: Callable[[], int],
        state_dir: Path,
        capture: Capture,
        frames: Handover[Frame],
        observer: Observer,
        clock: StageClock,
        problems: Problems,
        outbox: Callable[[], OutboxFigures],
        broker: Callable[[], BrokerState],
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._site = site
        self._station = station
        self._boot = boot
        self._state_dir = state_dir
        self._capture = capture
        self._frames = frames
        self._observer = observer
        self._clock = clock
        self._problems = problems
        self._outbox = outbox
        self._broker = broker
        self._now = now
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._process = psutil.Process()

    def record(self) -> HealthRecord:
        """The station's health now."""
        outbox = self._outbox()
        return HealthRecord(
            site=self._site,
            station=self._station,
            boot=self._boot(),
            recorded_at=self._now(),
            uptime_s=round(self._monotonic_s() - self._started_s, 1),
            camera=self._capture.state,
            frames=self._capture.frames_read,
            frames_dropped=self._frames.dropped,
            fields=self._observer.fields,
            refusals=self._refusals(),
            latencies=self._clock.latencies(),
            queues=self._observer.waiting,
            outbox_records=outbox.records,
            outbox_bytes=outbox.size_bytes,
            discarded=outbox.discarded,
            disk_free_bytes=shutil.disk_usage(self._state_dir).free,
            memory_bytes=int(self._process.memory_info().rss),
            broker=self._broker(),
            problems=self._problems.standing(),
        )

    def _refusals(self) -> Mapping[str, int]:
        return dict(self._observer.refusals)
