"""The composition root: the only place that knows every part of a station."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from types import FrameType, TracebackType
from typing import Final

from typing_extensions import Self

from edge.analysis.gates import Gates
from edge.bundle import open_bundle, starter_bundle
from edge.camera.protocol import Camera
from edge.camera.reconnecting import Reconnecting
from edge.camera.settings import open_camera
from edge.config import StationConfig
from edge.contract.records import Command, HealthRecord, StateRecord
from edge.daemon.capture import CAPTURE, Capture
from edge.daemon.handover import Handover
from edge.daemon.health import BrokerState, Health, OutboxFigures
from edge.daemon.observer import STAGES, Observer
from edge.daemon.page_view import PageView
from edge.daemon.problems import Problems
from edge.daemon.slide_desk import Origin, SlideDesk, SlideError
from edge.daemon.timing import StageClock
from edge.errors import CameraError, StorageError
from edge.frame import Frame
from edge.networks import Networks, open_networks
from edge.outbox.publisher import Publisher
from edge.outbox.store import Outbox
from edge.update.trial import TrialWatch
from edge.watchdog import Watchdog
from edge.web.server import PageServer
from edge.web.view import BundleView

_log = logging.getLogger(__name__)

SOFTWARE: Final = f"leukoscope {version('leukoscope')}"
FRAMES_WAITING: Final = 2
"""Between camera and analysis: one to work on next, one in reserve; more would only grow stale."""
HEALTH_EVERY_S: Final = 10.0
STUCK_AFTER_S: Final = 30.0
"""A stage without progress for so long is stuck: the watchdog is no longer fed, and systemd restarts."""
_STOP_S: Final = 5.0
_DELIVERY_S: Final = 30.0
_TICK_S: Final = 1.0
_SWITCH_S: Final = 0.0005
"""How long a thread may keep Python's lock from one that waits for it. At Python's own 5 ms the networks'
thread, back from a run, would wait for records to be written and pictures to be compared."""


class Station:
    """A running station: every part, its threads, and the order in which they start and end."""

    def __init__(
        self,
        *,
        config: StationConfig,
        networks: Networks,
        outbox: Outbox,
        camera: Camera,
        watchdog: Watchdog,
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        watch = TrialWatch(monotonic_s=monotonic_s)
        self._config = config
        self._outbox = outbox
        self._camera = camera
        self._watchdog = watchdog
        self._monotonic_s = monotonic_s
        self._health_due_s = monotonic_s()
        manifest = networks.bundle.manifest
        engine = networks.detector.description

        self.problems = Problems()
        self._clock = StageClock(monotonic_s=monotonic_s)
        self._frames = Handover[Frame](capacity=FRAMES_WAITING, live=camera.live)
        self._capture = Capture(camera=camera, frames=self._frames, clock=self._clock)
        self.desk = SlideDesk(
            journal=outbox,
            origin=Origin(site=config.site, software=SOFTWARE, bundle=manifest.id),
            classifier=manifest.classifier,
            record_every_fields=config.slide.record_every_fields,
            now=now,
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
        )
        self._observer = Observer(
            frames=self._frames,
            gates=Gates(config.gates, still_images=config.camera.separate_images),
            analyzer=networks.analyzer,
            desk=self.desk,
            clock=self._clock,
            problems=self.problems,
            monotonic_s=monotonic_s,
            on_frame=self._view.see_frame,
            on_field=self._view.see_field,
            on_analysed=lambda seconds: watch.note_field(seconds * 1000),
            on_engine_error=watch.note_engine_error,
        )
        self._publisher = (
            Publisher(
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
                ),
                on_command=self.obey,
            )
            if config.mqtt is not None
            else None
        )
        self._health = Health(
            site=config.site,
            station=config.station,
            boot=lambda: outbox.boot,
            state_dir=config.state_dir,
            capture=self._capture,
            camera=camera,
            frames=self._frames,
            observer=self._observer,
            clock=self._clock,
            problems=self.problems,
            outbox=self._outbox_figures,
            broker=self._broker_state,
            now=now,
            monotonic_s=monotonic_s,
        )
        self._page = (
            PageServer(
                view=self._view,
                host=config.page.host,
                port=config.page.port,
                names=config.page.names,
                remote_control=config.page.remote_control,
            )
            if config.page.enabled
            else None
        )

    @property
    def page_url(self) -> str | None:
        """Where the operator's page is; None where there is none."""
        return None if self._page is None else self._page.url

    @property
    def finished(self) -> bool:
        """Whether a replay is at its end and every frame of it was seen to."""
        return self._observer.finished.is_set()

    @property
    def camera_failure(self) -> CameraError | None:
        """Why the camera gave up; None while it gives frames, is away, or has come to its end."""
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
        if self._outbox.report:
            self.problems.raise_("outbox", self._outbox.report)
        if self._page is not None:
            self._page.start()
            _log.info("page: %s", self._page.url)
        try:
            if self._config.slide.open_at_start:
                self.desk.open(None)
            if self._publisher is not None:
                self._publisher.start()
            self._observer.start()
            self._capture.start()
        except BaseException:
            self._stop()
            raise
        self._watchdog.ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every part, the source first, so that what was begun is finished and published."""
        self._watchdog.stopping()
        self._stop()

    def tick(self) -> None:
        """What is to be done about once a second: tell systemd, tell the fleet, age the outbox."""
        self._tell("camera", "" if self._capture.failure is None else str(self._capture.failure))
        if self._publisher is not None:
            ended = "" if self._publisher.running else "Publishing has ended by a fault: restart the station."
            self._tell("broker", ended or self._publisher.status.problem)
        if self._is_progressing():
            self._watchdog.alive(self._status())
        if self._monotonic_s() < self._health_due_s:
            return
        self._health_due_s = self._monotonic_s() + HEALTH_EVERY_S
        try:
            self._outbox.enforce_limits()
        except StorageError as error:
            self.problems.raise_("outbox", str(error))
        if self._publisher is not None:
            self._publisher.publish_health(self.health())

    def health(self) -> HealthRecord:
        """How the station fares now."""
        return self._health.record()

    def obey(self, command: Command) -> None:
        """Carry out a command from the fleet; one that does not fit the moment is logged and passed over."""
        try:
            if command.command == "open_slide":
                self._view.open_slide(command.slide)
            elif command.command == "close_slide":
                self._view.close_slide()
            elif self._publisher is not None:
                self._publisher.publish_health(self.health())
        except (SlideError, StorageError) as error:
            _log.warning("command %s (%s): %s", command.id, command.command, error)

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

    def _stop(self) -> None:
        if isinstance(self._camera, Reconnecting):
            self._camera.interrupt()
        if not self._capture.stop(_STOP_S):
            _log.warning("the camera %s does not let go of its thread", self._camera.name)
        if not self._observer.stop(_STOP_S):
            _log.warning("the analysis does not come to an end")
        if self._publisher is not None:
            self._publisher.stop(_STOP_S)
        if self._page is not None:
            self._page.stop(_STOP_S)

    def _tell(self, subject: str, problem: str) -> None:
        if problem:
            self.problems.raise_(subject, problem)
        else:
            self.problems.clear(subject)

    def _is_progressing(self) -> bool:
        silent_s = [self._clock.silent_s(stage) or 0.0 for stage in STAGES]
        if max(silent_s) > STUCK_AFTER_S and not self.finished:
            return False
        capture_s = self._clock.silent_s(CAPTURE)
        # A camera that is away makes no progress either, but a restart would not bring it back.
        stuck = capture_s is not None and capture_s > STUCK_AFTER_S and self._camera.live
        return not (stuck and self._health.camera_state == "streaming")

    def _status(self) -> str:
        health = self.health()
        return f"camera {health.camera}, {health.fields} fields, {health.outbox_records} records to deliver"

    def _outbox_figures(self) -> OutboxFigures:
        held = self._outbox.statistics()
        return OutboxFigures(records=held.records, size_bytes=held.size_bytes, discarded=held.discarded)

    def _broker_state(self) -> BrokerState:
        if self._publisher is None:
            return "off"
        return self._publisher.status.broker


@contextmanager
def open_station(config: StationConfig) -> Iterator[Station]:
    """The station that ``config`` describes, running until the block ends.

    Raises BundleError, EngineError, StorageError or PageError when it cannot start. A camera that is away
    is no reason not to.
    """
    with ExitStack() as stack:
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_S)
        bundle = open_bundle(config.bundle or starter_bundle())
        networks = stack.enter_context(
            open_networks(bundle, threads=config.engine.threads, precision=config.engine.precision)
        )
        try:
            config.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{config.state_dir} cannot be made: {error.strerror}.", remedy="Name another state_dir."
            ) from error
        outbox = stack.enter_context(
            Outbox(
                path=config.state_dir / "outbox.sqlite",
                site=config.site,
                station=config.station,
                software=SOFTWARE,
                limits=config.outbox,
            )
        )
        watchdog = stack.enter_context(Watchdog())
        yield stack.enter_context(
            Station(
                config=config,
                networks=networks,
                outbox=outbox,
                camera=open_camera(config.camera),
                watchdog=watchdog,
                now=lambda: datetime.now(timezone.utc),
                monotonic_s=time.monotonic,
            )
        )


def run_station(config: StationConfig, *, exit_when_finished: bool) -> None:
    """Run until a signal says stop, or, if asked, until a replay is finished and delivered.

    Raises what ``open_station`` raises and, where the end of the replay is waited for, the CameraError that
    ended it early.
    """
    with told_to_stop() as stopping, open_station(config) as station:
        while not stopping.wait(_TICK_S):
            station.tick()
            if exit_when_finished and station.finished:
                station.close_slide()
                if station.camera_failure is not None:
                    raise station.camera_failure
                if config.mqtt is not None and not station.wait_until_delivered(stopping, _DELIVERY_S):
                    _log.warning("not everything was delivered; it stays in the outbox for the next run")
                return


@contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stopping = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        _log.info("stopping (%s)", signal.Signals(number).name)
        stopping.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
