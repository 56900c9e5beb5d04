"""How the station fares, gathered from its parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from edge.contract.status import HealthRecord, OpticsHealth
from edge.daemon.capture import Capture
from edge.daemon.handover import Handover
from edge.daemon.observer import Observer
from edge.daemon.problems import Problems
from edge.daemon.supervision import Supervisor
from edge.daemon.timing import StageClock
from edge.errors import StorageError
from edge.frame import Frame
from edge.health.machine import Machine, MachineState
from edge.outbox.store import OutboxStatistics

OUTBOX_FIGURES: Final = "outbox figures"
DISK: Final = "disk"
DESCRIPTORS: Final = "file descriptors"
BrokerState = Literal["connected", "disconnected", "off"]


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
        supervisor: Supervisor,
        machine: Machine,
        outbox: Callable[[], OutboxStatistics],
        broker: Callable[[], BrokerState],
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
        optics: Callable[[], OpticsHealth | None] = lambda: None,
    ) -> None:
        self._optics = optics
        self._site = site
        self._station = station
        self._boot = boot
        self._state_dir = state_dir
        self._capture = capture
        self._frames = frames
        self._observer = observer
        self._clock = clock
        self._problems = problems
        self._supervisor = supervisor
        self._machine = machine
        self._outbox = outbox
        self._broker = broker
        self._now = now
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._last_outbox = OutboxStatistics(
            records=0, size_bytes=0, oldest_age_s=None, discarded=0, discarded_by_leaf={}
        )
        self._last_free_bytes = 0

    def record(self) -> HealthRecord:
        """The station's health now."""
        outbox = self._outbox_figures()
        machine = self._machine_state()
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
            refusals=dict(self._observer.refusals),
            latencies=self._clock.latencies(),
            queues=self._observer.waiting,
            outbox_records=outbox.records,
            outbox_bytes=outbox.size_bytes,
            outbox_oldest_s=None if outbox.oldest_age_s is None else round(outbox.oldest_age_s, 1),
            discarded=outbox.discarded,
            discarded_by_leaf=outbox.discarded_by_leaf,
            disk_free_bytes=self._free_bytes(),
            memory_bytes=machine.memory_bytes,
            open_files=machine.open_files,
            threads=machine.threads,
            temperature_c=machine.heat.temperature_c,
            throttled=machine.heat.throttled,
            throttled_by=machine.heat.reason,
            clock=machine.clock,
            broker=self._broker(),
            restarts={name: count for name, count in self._supervisor.restarts.items() if count},
            degraded=self._supervisor.degraded,
            problems=self._problems.standing(),
            optics=self._optics(),
        )

    # A disk that fails is told, with the figures of before: a station does not end of being asked how it is.

    def _outbox_figures(self) -> OutboxStatistics:
        try:
            self._last_outbox = self._outbox()
        except StorageError as error:
            self._problems.raise_(OUTBOX_FIGURES, f"What waits to be delivered cannot be read: {error}")
        else:
            self._problems.clear(OUTBOX_FIGURES)
        return self._last_outbox

    def _machine_state(self) -> MachineState:
        state = self._machine.state()
        if state.descriptors_spent:
            self._problems.raise_(
                DESCRIPTORS,
                "No file descriptor is free: what is open goes on and fields are saved, but no connection, "
                "camera or file can be opened. Restart the station; if it happens again, raise LimitNOFILE= "
                "of its unit and report it.",
            )
        else:
            self._problems.clear(DESCRIPTORS)
        return state

    def _free_bytes(self) -> int:
        try:
            self._last_free_bytes = shutil.disk_usage(self._state_dir).free
        except OSError as error:
            self._problems.raise_(DISK, f"{self._state_dir} cannot be looked at: {error.strerror}.")
        else:
            self._problems.clear(DISK)
        return self._last_free_bytes
