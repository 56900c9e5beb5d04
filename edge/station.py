"""The composition root: the only place that knows every part of a station."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from importlib.metadata import version
from types import TracebackType
from typing import Final

from typing_extensions import Self

from edge import slides
from edge.analysis.cells import Cell
from edge.camera.protocol import Camera
from edge.config import StationConfig
from edge.contract.status import HealthRecord, StateRecord
from edge.daemon.capture import Capture
from edge.daemon.engine_builder import EngineBuilder
from edge.daemon.engine_sessions import EngineSessions
from edge.daemon.handover import Handover
from edge.daemon.health import BrokerState, Health
from edge.daemon.observer import ANALYSIS, COUNTING, Observer
from edge.daemon.optics import open_optics
from edge.daemon.orders import Orders
from edge.daemon.page_view import PageView
from edge.daemon.problems import Problems
from edge.daemon.publishing import publishing_by
from edge.daemon.station_parts import station_parts, supervise
from edge.daemon.timing import StageClock
from edge.daemon.updates import RecordedReports, Updates
from edge.engine.golden import check_golden
from edge.engine.runtimes import ONNX_RUNTIME
from edge.errors import EngineError, LeukoscopeError, StorageError
from edge.frame import Frame
from edge.health.machine import Machine
from edge.health.metrics import Serving, StationCollector
from edge.health.metrics_server import MetricsServer
from edge.networks import Networks, prepare_networks
from edge.outbox.store import Outbox
from edge.update.serving import Opening
from edge.update.trial import TrialWatch
from edge.updating import UpdateRoom
from edge.watchdog import Watchdog
from edge.web.server import PageServer
from edge.web.view import BundleView

_log = logging.getLogger(__name__)

SOFTWARE: Final = f"leukoscope {version('leukoscope')}"
FRAMES_WAITING: Final = 2
"""Between camera and analysis: one to work on next, one in reserve; more would only grow stale."""
HEALTH_EVERY_S: Final = 10.0
_STOP_S: Final = 5.0
_ANEW_S: Final = 300.0
"""What the unit allows a start (``TimeoutStartSec=``): engines are loaded and the golden set is run."""


class Station:
    """A running station: every part, its threads, and the order in which they start and end."""

    def __init__(
        self,
        *,
        config: StationConfig,
        networks: Networks,
        opening: Opening,
        room: UpdateRoom | None,
        outbox: Outbox,
        open_camera: Callable[[], Camera],
        open_networks_anew: Callable[[], AbstractContextManager[Networks]],
        machine: Machine,
        watchdog: Watchdog,
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._watch = watch = TrialWatch(monotonic_s=monotonic_s)
        self._shadow = None if room is None else room.shadow()
        self._config = config
        self._outbox = outbox
        self._watchdog = watchdog
        self._monotonic_s = monotonic_s
        self._health_due_s = monotonic_s()
        manifest = networks.bundle.manifest
        engine = networks.detector.description

        self.problems = Problems()
        self._clock = StageClock(monotonic_s=monotonic_s)
        camera = open_camera()
        self._frames = Handover[Frame](capacity=FRAMES_WAITING, live=camera.live)
        self._capture = Capture(camera=camera, frames=self._frames, clock=self._clock, reopen=open_camera)
        optics = open_optics(config, camera=camera.name, problems=self.problems, now=now)
        self._sessions = EngineSessions(
            networks=networks, open_anew=open_networks_anew, on_answer=lambda: self._clock.alive(ANALYSIS)
        )
        self.desk = slides.slide_desk(
            config=config,
            journal=outbox,
            manifest=manifest,
            software=SOFTWARE,
            now=now,
            clock=lambda: machine.state().clock,
        )
        self._view = PageView(
            desk=self.desk,
            bundle=BundleView.of(manifest),
            software=SOFTWARE,
            engine=engine,
            camera=camera.name,
            live=camera.live,
            target_cells=config.slide.target_cells,
            health=self.health,
            saved_records=lambda: self.saved_records,
            acknowledged_records=lambda: self.acknowledged_records,
            update=lambda: "" if self._updates is None else self._updates.told,
            focus_trend=lambda: optics.gates.focus_trend,
            ground=lambda: optics.gates.slide_map.shown,
        )
        self._observer = Observer(
            frames=self._frames,
            gates=optics.gates,
            optics=optics,
            analyzer=self._sessions,
            reopen=self._sessions.reopen,
            desk=self.desk,
            clock=self._clock,
            problems=self.problems,
            monotonic_s=monotonic_s,
            on_frame=self._view.see_frame,
            on_field=self._view.see_field,
            on_analysed=self._see_analysed,
            on_engine_error=watch.note_engine_error,
        )
        orders = Orders(view=self._view, updates=lambda: self._updates, publish_health=self._publish_health)
        self._publishing = (
            publishing_by(
                outbox=outbox,
                settings=config.mqtt,
                site=config.site,
                station=config.station,
                birth=lambda: StateRecord(
                    site=config.site,
                    station=config.station,
                    boot=outbox.boot,
                    state="online",
                    software=SOFTWARE,
                    bundle=manifest.id,
                    engine=engine,
                    engine_choice=networks.choice.reason,
                ),
                obey=orders.obey,
                clock=self._clock,
            )
            if config.mqtt is not None
            else None
        )
        self._builds_engines = networks.choice.runtime == ONNX_RUNTIME
        self._engines = EngineBuilder(
            build=lambda cancelled: prepare_networks(
                networks.bundle,
                engines=config.engines_dir,
                precision=config.engine.precision,
                cancelled=cancelled,
            )
        )
        reports = RecordedReports(outbox=outbox, desk=self.desk)
        self._updates = (
            Updates(
                opening=opening,
                serving=room.serving,
                store=room.store,
                updater=room.updater(sink=reports),
                shadow=self._shadow,
                every_s=room.settings.every_s,
                watch=watch,
                check_golden=lambda: check_golden(
                    bundle=networks.bundle,
                    detector=networks.detector,
                    classifier=networks.classifier,
                    precision=networks.choice.precision,
                ),
                classifier=manifest.classifier,
                desk=self.desk,
                reports=reports,
                problems=self.problems,
                now=now,
                monotonic_s=monotonic_s,
            )
            if room is not None
            else None
        )
        self._page = (
            PageServer(
                view=self._view,
                host=config.page.host,
                port=config.page.port,
                names=config.page.names,
                remote_control=config.page.remote_control,
                monotonic_s=monotonic_s,
            )
            if config.page.enabled
            else None
        )
        parts = station_parts(
            capture=self._capture,
            observer=self._observer,
            publishing=self._publishing,
            page=self._page,
            clock=self._clock,
            stuck_after_s=config.supervision.stuck_after_s,
        )
        self._supervisor = supervise(
            parts, settings=config.supervision, problems=self.problems, monotonic_s=monotonic_s
        )
        self._health = Health(
            site=config.site,
            station=config.station,
            boot=lambda: outbox.boot,
            state_dir=config.state_dir,
            capture=self._capture,
            frames=self._frames,
            observer=self._observer,
            clock=self._clock,
            problems=self.problems,
            supervisor=self._supervisor,
            machine=machine,
            outbox=outbox.statistics,
            broker=self._broker_state,
            now=now,
            monotonic_s=monotonic_s,
            optics=optics.health,
        )
        serving = Serving.of(manifest, site=config.site, station=config.station, by=(SOFTWARE, engine))
        collector = StationCollector(serving=serving, health=self.health, totals=self._clock.totals)
        self._metrics = (
            MetricsServer(collector=collector, host=config.metrics.host, port=config.metrics.port)
            if config.metrics.enabled
            else None
        )

    @property
    def page_url(self) -> str | None:
        """Where the operator's page is; None where there is none."""
        return None if self._page is None else self._page.url

    @property
    def restart(self) -> str:
        """Why this run is to end and another to begin, with other networks; empty where it goes on."""
        if self._updates is not None and self._updates.restart:
            return self._updates.restart
        # A differential is that of one engine: an open slide with cells is ended first.
        if self._engines.built and not self.desk.counted_cells:
            return "engines were built for this machine"
        return ""

    @property
    def finished(self) -> bool:
        """Whether a replay is at its end and every frame of it was seen to."""
        return self._observer.finished.is_set()

    @property
    def failure(self) -> LeukoscopeError | None:
        """Why frames are not all seen to: a camera or a stage that was given up; None where all is well."""
        for part in (name for name in self._supervisor.degraded if name in COUNTING):
            return EngineError(
                f"The station went on without {part}: {self._supervisor.why_degraded(part)}.",
                remedy="Look into the log, and run it again.",
            )
        return self._capture.failure

    @property
    def saved_records(self) -> int:
        """How many records of this run are on the disk, or were."""
        return self._outbox.last_sequence

    @property
    def acknowledged_records(self) -> int:
        """How many of them the far end has committed."""
        return self._outbox.first_pending()[self._outbox.boot] - 1

    def __enter__(self) -> Self:
        """Start every part; the page first, so that a fault of the camera can be seen on it.

        Raises PageError when the page's port is taken, StorageError when no slide can be opened.
        """
        if self._updates is not None:
            self._updates.start()
        if self._outbox.report:
            self.problems.raise_("outbox", self._outbox.report)
        if self._page is not None:
            self._page.start()
            _log.info("page: %s", self._page.url)
        try:
            if self._metrics is not None:
                self._metrics.start()
            slides.begin_slide(self.desk, self._config.slide)
            if self._publishing is not None:
                self._publishing.start()
            self._observer.start()
            self._capture.start()
        except BaseException:
            self._stop()
            raise
        if self._builds_engines:
            self._engines.start()
        self._watchdog.ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every part, the source first, so that what was begun is finished and published."""
        if self.restart:
            self._watchdog.beginning_anew(within_s=_ANEW_S)
        else:
            self._watchdog.stopping()
        self._stop()

    def tick(self) -> None:
        """What is to be done about once a second: tell systemd, tell the fleet, age the outbox."""
        self._tell("camera", "" if self._capture.failure is None else str(self._capture.failure))
        if self._publishing is not None:
            self._tell("broker", self._publishing.status.problem)
        if self._updates is not None:
            self._updates.tick()
        self._supervisor.tick()
        if not self._supervisor.beyond_mending:
            self._watchdog.alive(self._status())
        if self._monotonic_s() < self._health_due_s:
            return
        self._health_due_s = self._monotonic_s() + HEALTH_EVERY_S
        try:
            self._outbox.enforce_limits()
        except StorageError as error:
            self.problems.raise_("outbox", str(error))
        self._publish_health()

    def health(self) -> HealthRecord:
        """How the station fares now."""
        return self._health.record()

    def close_slide(self) -> None:
        """Close the open slide, if one is; its record is then on the way."""
        if self.desk.is_open:
            self._view.close_slide()

    def wait_until_delivered(self, stopping: threading.Event, timeout_s: float) -> bool:
        """Wait until nothing is left in the outbox; whether that was reached."""
        deadline_s = self._monotonic_s() + timeout_s
        while self._outbox.statistics().records:
            if self._monotonic_s() > deadline_s or stopping.wait(0.05):
                return False
        return True

    def _see_analysed(self, frame: Frame, cells: Sequence[Cell], seconds: float) -> None:
        self._watch.note_field(seconds * 1000)
        if self._shadow is not None:
            self._shadow.see(frame, cells)

    def _stop(self) -> None:
        if not self._capture.stop(_STOP_S):
            _log.warning("the camera %s does not let go of its thread", self._capture.camera.name)
        if not self._observer.stop(_STOP_S):
            _log.warning("the analysis does not come to an end")
        self._sessions.close()
        if self._updates is not None:
            self._updates.stop(_STOP_S)
        self._engines.stop(_STOP_S)
        if self._publishing is not None:
            self._publishing.stop(_STOP_S)
        if self._page is not None:
            self._page.stop(_STOP_S)
        if self._metrics is not None:
            self._metrics.stop(_STOP_S)

    def _publish_health(self) -> None:
        if self._publishing is not None:
            self._publishing.publish_health(self.health())

    def _tell(self, subject: str, problem: str) -> None:
        if problem:
            self.problems.raise_(subject, problem)
        else:
            self.problems.clear(subject)

    def _status(self) -> str:
        health = self.health()
        without = "".join(f", without {part}" for part in self._supervisor.degraded)
        return f"camera {health.camera}, {health.fields} fields, {health.outbox_records} to deliver{without}"

    def _broker_state(self) -> BrokerState:
        return "off" if self._publishing is None else self._publishing.broker
