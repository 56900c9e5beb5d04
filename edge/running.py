"""A station's runs: its parts opened in order, one bundle a run, until somebody says stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timezone
from types import FrameType
from typing import Final

from edge.bundle import open_bundle, starter_bundle
from edge.camera.settings import open_camera
from edge.config import StationConfig
from edge.daemon.precedence import networks_first
from edge.engine.choice import PrecisionChoice
from edge.errors import EngineError, StorageError
from edge.health.board import find_board
from edge.health.clock import clock_state
from edge.health.machine import Machine
from edge.networks import Networks, open_networks
from edge.outbox.store import Outbox
from edge.station import SOFTWARE, Station
from edge.update.serving import Opening
from edge.update.trial import Figures
from edge.updating import UpdateRoom, update_room
from edge.watchdog import Watchdog

_log = logging.getLogger(__name__)

_DELIVERY_S: Final = 30.0
_TICK_S: Final = 1.0


@contextmanager
def open_station(config: StationConfig) -> Iterator[Station]:
    """The station that ``config`` describes, running until the block ends.

    Where it takes updates, these choose the bundle. Raises BundleError, EngineError, StorageError or
    PageError when it cannot start. A camera that is away is no reason not to.
    """
    with ExitStack() as stack:
        stack.enter_context(networks_first())
        room = update_room(config)
        try:
            config.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{config.state_dir} cannot be made: {error.strerror}.", remedy="Name another state_dir."
            ) from error
        opening, networks = _open_networks(config, room, stack)
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
                opening=opening,
                room=room,
                outbox=outbox,
                open_camera=lambda: open_camera(config.camera),
                open_networks_anew=lambda: _networks(config, opening, networks.choice.precision),
                machine=Machine(board=find_board(), clock=clock_state, monotonic_s=time.monotonic),
                watchdog=watchdog,
                now=lambda: datetime.now(timezone.utc),
                monotonic_s=time.monotonic,
            )
        )


def _open_networks(
    config: StationConfig, room: UpdateRoom | None, stack: ExitStack
) -> tuple[Opening, Networks]:
    """The bundle that this run is to have, its engines loaded.

    One on trial whose engines cannot be loaded goes back at once: no restart would mend it.
    """
    if room is None:
        opening = Opening(bundle=open_bundle(config.bundle or starter_bundle()))
        return opening, stack.enter_context(_networks(config, opening, config.engine.precision))
    while True:
        opening = room.serving.recover()
        try:
            return opening, stack.enter_context(_networks(config, opening, config.engine.precision))
        except EngineError as error:
            if opening.on_trial is None:
                raise
            _log.error("the bundle on trial goes back: %s", error)
            room.serving.observe(Figures.failed(str(error)))


def _networks(
    config: StationConfig, opening: Opening, precision: PrecisionChoice
) -> AbstractContextManager[Networks]:
    return open_networks(
        opening.bundle,
        threads=config.engine.threads,
        precision=precision,
        engines=config.engines_dir,
    )


def run_station(config: StationConfig, *, exit_when_finished: bool) -> None:
    """Run until a signal says stop, or, if asked, until a replay is finished and delivered.

    Where an update has another bundle opened, the station begins anew in this process.

    Raises what ``open_station`` raises and, where the end of the replay is waited for, the error that ended
    it early.
    """
    with told_to_stop() as stopping:
        while not stopping.is_set():
            reason = _run_once(config, stopping, exit_when_finished=exit_when_finished)
            if not reason:
                return
            _log.info("beginning anew: %s", reason)


def _run_once(config: StationConfig, stopping: threading.Event, *, exit_when_finished: bool) -> str:
    """Run with one bundle; why to begin anew with another, empty where the station is to end."""
    with open_station(config) as station:
        while not stopping.wait(_TICK_S):
            station.tick()
            if station.restart:
                return station.restart
            if exit_when_finished and station.finished:
                station.close_slide()
                if station.failure is not None:
                    raise station.failure
                if config.mqtt is not None and not station.wait_until_delivered(stopping, _DELIVERY_S):
                    _log.warning("not everything was delivered; it stays in the outbox for the next run")
                return ""
    return ""


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
