"""The whole loop on one machine: a generated smear, the station, its page, a broker, a collector."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.broker import Broker, find_or_embed
from edge.camera.settings import FolderSettings, VirtualSlideSettings
from edge.config import PageSettings, StationConfig
from edge.errors import LeukoscopeError
from edge.outbox.settings import MqttSettings
from edge.running import open_station, told_to_stop
from edge.station import Station

_TICK_S: Final = 1.0
_STOP_S: Final = 10.0
_RESEND_S: Final = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What a person may choose of the demo; ``seconds`` None: until stopped."""

    bundle: Path | None
    images: Path | None
    seed: int
    port: int
    browser: bool
    directory: Path | None
    seconds: float | None


def run_demo(options: DemoOptions) -> None:
    """Show the loop until a signal says stop, or for so many seconds. Raises what a station raises."""
    with ExitStack() as stack:
        stopping = stack.enter_context(told_to_stop())
        directory = options.directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="leukoscope-demo-"))
        )
        directory.mkdir(parents=True, exist_ok=True)
        broker = stack.enter_context(find_or_embed())
        database = directory / "fleet.sqlite"
        stack.enter_context(_collector(broker, database))
        station = stack.enter_context(open_station(_config(options, directory, broker)))
        _introduce(station, broker, database, browser=options.browser)
        begun_s = time.monotonic()
        while not stopping.wait(_TICK_S):
            station.tick()
            _show_progress(station)
            if options.seconds is not None and time.monotonic() - begun_s >= options.seconds:
                break
        station.close_slide()
        delivered = station.wait_until_delivered(stopping, _STOP_S)
        _sum_up(station, delivered=delivered)


def _config(options: DemoOptions, directory: Path, broker: Broker) -> StationConfig:
    camera = (
        VirtualSlideSettings(kind="virtual_slide", seed=options.seed)
        if options.images is None
        else FolderSettings(kind="folder", path=options.images, recursive=True)
    )
    return StationConfig(
        site="demo",
        station="microscope-1",
        state_dir=directory,
        bundle=options.bundle,
        camera=camera,
        mqtt=MqttSettings(
            host=broker.host,
            port=broker.port,
            protocol=broker.protocol,
            # The collector starts beside the station: what is sent before it listens is sent again soon.
            ack_timeout_s=_RESEND_S,
            ack_timeout_max_s=_RESEND_S,
        ),
        page=PageSettings(port=options.port),
    )


@contextmanager
def _collector(broker: Broker, database: Path) -> Iterator[None]:
    """The collector as a process of its own, as a fleet would run it; the station knows it by MQTT alone."""
    command = [sys.executable, "-m", "fleet.cli", "collect", "--broker", f"{broker.host}:{broker.port}"]
    command += ["--protocol", broker.protocol, "--database", str(database)]
    # Its own session: a Ctrl-C in the terminal is the demo's, which stops the collector last.
    child = subprocess.Popen(command, start_new_session=True)  # noqa: S603
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _introduce(station: Station, broker: Broker, database: Path, *, browser: bool) -> None:
    url = station.page_url
    if url is None:
        raise LeukoscopeError("The demo has no page to show.")
    _say(f"page        {url}")
    _say(f"broker      {broker.host}:{broker.port} (MQTT {broker.protocol})")
    _say(f"collector   {database}")
    _say("Not for diagnosis. Ctrl-C ends it.")
    if browser and not webbrowser.open(url):
        _say("No browser was found: open the page's address yourself.")


def _show_progress(station: Station) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{_progress(station)}\x1b[K")
        sys.stdout.flush()


def _sum_up(station: Station, *, delivered: bool) -> None:
    if sys.stdout.isatty():
        sys.stdout.write("\n")
    _say(_progress(station))
    if not delivered:
        _say("Some records had not yet reached the collector.")


def _progress(station: Station) -> str:
    health, slide = station.health(), station.desk.latest
    named = 0 if slide is None else slide.named_cells
    return (
        f"{health.frames} frames, {health.fields} fields, {named} cells named; "
        f"{station.saved_records} records saved, {station.acknowledged_records} committed by the collector"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
