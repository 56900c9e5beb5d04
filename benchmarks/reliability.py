"""What faults cost: capture without a broker, a hung engine, idling, and ten minutes at full speed.

The frame interval is a ratio within one run: the same station on the same live camera, its broker there and
killed in turn, slice by slice, so that other programs of the machine bear upon both alike.

    python -m benchmarks.reliability [--soak-seconds N] [--slices N]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

import httpx
import numpy as np
from typing_extensions import Self

import edge.running
from benchmarks.scripted_station import Bench, Script, Smear, draw_pictures
from benchmarks.soak import soak
from edge.broker import Mosquitto
from edge.bundle import starter_bundle
from edge.camera.settings import VirtualSlideSettings
from edge.camera.virtual_slide import VirtualSlide
from edge.config import EngineSettings, PageSettings, SlideSettings, StationConfig
from edge.frame import Frame
from edge.outbox.settings import MqttSettings

SLICE_S = 12.0
SETTLE_S = 2.0
IDLE_S = 20.0
FRAME_RATE_HZ = 20.0


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        frames = _rehearsed()
        there_ms, away_ms = _intervals(place, frames, slices=options.slices)
        ratio = float(np.percentile(away_ms, 99) / np.percentile(there_ms, 99))
        print(f"{os.cpu_count()} processors, {FRAME_RATE_HZ:g} frames a second\n")
        print("| figure | value |\n|---|---|")
        print(f"| frame interval p99, broker there ({len(there_ms)} frames) | {_p99(there_ms):.1f} ms |")
        print(f"| frame interval p99, broker killed ({len(away_ms)} frames) | {_p99(away_ms):.1f} ms |")
        print(f"| their ratio | {ratio:.3f} |", flush=True)
        print(f"| a hung engine, until the next field is counted | {_hung(place):.1f} s |", flush=True)
        print(f"| processor share while no slide is open | {_idle(place, frames):.1%} of one |", flush=True)
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


class RehearsedSlide:
    """A live camera whose frames were drawn beforehand: what holds one up is the station, not the drawing.

    Given again from the first one after the last. ``read_s`` notes when each was read.
    """

    name, live = "rehearsed slide", True

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames
        self._next = 0
        self._opened_s = 0.0
        self.read_s: list[float] = []

    def __enter__(self) -> Self:
        self._opened_s, self._next = time.monotonic(), 0
        return self

    def __exit__(self, *fault: object) -> None:
        pass

    def read(self) -> Frame | None:
        """The next frame when it is due; those that nobody came for in time are gone, as with any camera."""
        late_s = time.monotonic() - (self._opened_s + self._next / FRAME_RATE_HZ)
        if late_s < 0:
            time.sleep(-late_s)
        else:
            self._next += int(late_s * FRAME_RATE_HZ)
        index, self._next = self._next, self._next + 1
        self.read_s.append(time.monotonic())
        return replace(
            self._frames[index % len(self._frames)],
            index=index,
            captured_at=datetime.now(timezone.utc),
            monotonic_s=self.read_s[-1],
        )


def _rehearsed() -> list[Frame]:
    """The frames of one slice."""
    with VirtualSlide(seed=1, live=False, frame_rate_hz=FRAME_RATE_HZ) as camera:
        frames = [camera.read() for _ in range(round((SETTLE_S + SLICE_S) * FRAME_RATE_HZ))]
    return [frame for frame in frames if frame is not None]


def _intervals(place: Path, frames: Sequence[Frame], *, slices: int) -> tuple[list[float], list[float]]:
    """Milliseconds between frames while the broker is there, and while it is away; a slide each slice."""
    camera = RehearsedSlide(frames)
    there: list[float] = []
    away: list[float] = []
    with Mosquitto() as broker, mock.patch.object(edge.running, "open_camera", return_value=camera):
        config = _config(place / "intervals", MqttSettings(host=broker.host, port=broker.port, ack="broker"))
        with edge.running.open_station(config) as station, _ticking(station.tick):
            for number in range(2 * slices):
                if number % 2:
                    broker.kill()
                elif number:
                    broker.start()
                # The ground comes again with every slice: on another slide it is new.
                httpx.post(
                    f"{station.page_url}api/slide/open",
                    json={"slide": f"slice {number}"},
                    headers={"X-Leukoscope-Page": "1"},
                ).raise_for_status()
                time.sleep(SETTLE_S)
                begun, saved = len(camera.read_s), station.saved_records
                time.sleep(SLICE_S)
                gaps_ms = np.diff(camera.read_s[begun:]) * 1000
                (away if number % 2 else there).extend(gaps_ms.tolist())
                if station.saved_records <= saved:
                    raise RuntimeError(f"nothing was counted in slice {number}")
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


def _idle(place: Path, frames: Sequence[Frame]) -> float:
    """The share of one processor that a station needs to watch a camera while no slide is open."""
    camera = RehearsedSlide(frames)
    config = _config(place / "idle", None).model_copy(update={"slide": SlideSettings(open_at_start=False)})
    with (
        mock.patch.object(edge.running, "open_camera", return_value=camera),
        edge.running.open_station(config) as station,
        _ticking(station.tick),
    ):
        time.sleep(SETTLE_S)
        begun_s = time.process_time()
        time.sleep(IDLE_S)
        return (time.process_time() - begun_s) / IDLE_S


if __name__ == "__main__":
    main()
