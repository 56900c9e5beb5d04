"""What faults cost: capture without a broker, a hung engine, idling, and ten minutes at full speed.

The frame interval is a ratio within one run: the same station on the same live camera, its broker there and
killed in turn, slice by slice, so that other programs of the machine bear upon both alike.

    python -m benchmarks.reliability [--soak-seconds N] [--slices N]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
from typing_extensions import Self

import edge.running
from benchmarks.scripted_station import Bench, Script, Smear, draw_pictures
from benchmarks.soak import soak
from edge.broker import Mosquitto
from edge.bundle import starter_bundle
from edge.camera.protocol import Camera
from edge.camera.settings import VirtualSlideSettings, open_camera
from edge.config import EngineSettings, PageSettings, StationConfig
from edge.frame import Frame
from edge.outbox.settings import MqttSettings

SLICE_S = 12.0
SETTLE_S = 2.0
IDLE_S = 20.0
FRAME_RATE_HZ = 10.0


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        there_ms, away_ms = _intervals(place, slices=options.slices)
        ratio = float(np.percentile(away_ms, 99) / np.percentile(there_ms, 99))
        print(f"{os.cpu_count()} processors, {FRAME_RATE_HZ:g} frames a second\n")
        print("| figure | value |\n|---|---|")
        print(f"| frame interval p99, broker there ({len(there_ms)} frames) | {_p99(there_ms):.1f} ms |")
        print(f"| frame interval p99, broker killed ({len(away_ms)} frames) | {_p99(away_ms):.1f} ms |")
        print(f"| their ratio | {ratio:.3f} |", flush=True)
        print(f"| a hung engine, until the next field is counted | {_hung(place):.1f} s |", flush=True)
        print(f"| processor share while no slide is open | {_idle(place):.1%} of one |", flush=True)
        if options.soak_seconds:
            with Mosquitto() as broker:
                (place / "soak").mkdir()
                soaked = soak(place / "soak", starter_bundle(), broker, seconds=options.soak_seconds)
            print(f"| soak | {soaked} |")
            print(f"| held to its criterion | {'; '.join(soaked.faults) or 'yes'} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--soak-seconds", type=float, default=600.0, help="0 leaves the soak out")
    parser.add_argument("--slices", type=int, default=4, help="pairs of slices with the broker and without")
    return parser.parse_args()


def _p99(values: list[float]) -> float:
    return float(np.percentile(values, 99))


class Timed:
    """A camera that notes when each of its frames was read."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self.name, self.live = camera.name, camera.live
        self.read_s: list[float] = []

    def __enter__(self) -> Self:
        self._camera.__enter__()
        return self

    def __exit__(self, *fault: object) -> None:
        self._camera.__exit__(None, None, None)

    def read(self) -> Frame | None:
        """The next frame, its time noted."""
        frame = self._camera.read()
        self.read_s.append(time.monotonic())
        return frame


def _intervals(place: Path, *, slices: int) -> tuple[list[float], list[float]]:
    """Milliseconds between frames while the broker is there, and while it is away."""
    made: list[Timed] = []

    def timed(settings: VirtualSlideSettings) -> Timed:
        made.append(Timed(open_camera(settings)))
        return made[-1]

    there: list[float] = []
    away: list[float] = []
    with Mosquitto() as broker, mock.patch.object(edge.running, "open_camera", timed):
        config = _config(place / "intervals", MqttSettings(host=broker.host, port=broker.port, ack="broker"))
        with edge.running.open_station(config) as station, _ticking(station.tick):
            for number in range(2 * slices):
                if number % 2:
                    broker.kill()
                elif number:
                    broker.start()
                time.sleep(SETTLE_S)
                begun = len(made[0].read_s)
                time.sleep(SLICE_S)
                gaps_ms = np.diff(made[0].read_s[begun:]) * 1000
                (away if number % 2 else there).extend(gaps_ms.tolist())
            broker.start()
    return there, away


def _config(state: Path, mqtt: MqttSettings | None) -> StationConfig:
    return StationConfig(
        site="bench",
        station="bench",
        state_dir=state,
        camera=VirtualSlideSettings(kind="virtual_slide", frame_rate_hz=FRAME_RATE_HZ),
        engine=EngineSettings(threads=1),
        mqtt=mqtt,
        page=PageSettings(port=0),
    )


@contextlib.contextmanager
def _ticking(tick: Callable[[], None]) -> Iterator[None]:
    """The daemon's own rhythm, beside the measuring."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(1.0):
            tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _hung(place: Path) -> float:
    """Seconds from an engine's hanging to the next counted field, at the limits as they are shipped."""
    (place / "hung").mkdir()
    Smear.pictures = draw_pictures()
    script = Script("good", "good", "hangs", "good")
    station = Bench(place / "hung", script, Smear, stuck_after_s=10.0)
    with station.stack:
        while not script.hanging.acquire(timeout=0.05):
            station.station.tick()
        begun_s, fields = time.monotonic(), station.health.fields
        while station.health.fields <= fields:
            station.station.tick()
            time.sleep(1.0)
        return time.monotonic() - begun_s


def _idle(place: Path) -> float:
    """The share of one processor that a station needs to watch a camera while no slide is open."""
    state = place / "idle"
    state.mkdir()
    config = state / "station.toml"
    config.write_text(
        f'site = "bench"\nstation = "bench"\nstate_dir = "var"\n'
        f'[camera]\nkind = "virtual_slide"\nframe_rate_hz = {FRAME_RATE_HZ}\n'
        "[slide]\nopen_at_start = false\n[page]\nport = 0\n[engine]\nthreads = 1\n"
    )
    command = [sys.executable, "-m", "edge.cli", "run", "--config", str(config)]
    child = psutil.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        next(line for line in child.stderr if "the page is at" in line)
        time.sleep(SETTLE_S)
        before = child.cpu_times()
        time.sleep(IDLE_S)
        after = child.cpu_times()
    finally:
        child.terminate()
        child.communicate()
    return sum(getattr(after, each) - getattr(before, each) for each in ("user", "system")) / IDLE_S


if __name__ == "__main__":
    main()
