"""A station at full speed for as long as one likes, beside a real broker and collector, and what it grows by.

The criterion, on samples taken every second after a warm-up of a quarter of the time:

- *Memory.* The Theil-Sen slope of resident memory (the median of the slopes of all pairs of samples, which a
  few steps do not sway; Sen 1968). Its growth over the sampled time may be a share of the median at most.
  Samples a second apart depend on one another, so that the usual interval of the slope would be too narrow;
  the slopes of eight blocks of the time are given beside it, and a leak shows in most of them.
- *File descriptors and threads.* The largest number in the last third of the samples is at most the largest
  in the two thirds before it.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import theilslopes
from typing_extensions import Self

from edge.broker import Mosquitto
from edge.contract.message import topic

EVERY_S = 1.0
WARM_UP_SHARE = 0.25
MEMORY_SHARE = 0.05
"""Of its memory, that the station may grow by over ten minutes or more."""
YOUNG_MEMORY_SHARE = 0.15
"""In the first half minute caches still fill: only a gross leak is told from that."""
BLOCKS = 8
SLIDE_EVERY_S = 20.0
WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The station's own figures at one moment, as it serves them to Prometheus."""

    at_s: float
    memory_bytes: float
    open_files: float
    threads: float
    fields: float
    restarts: float
    degraded: float


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """What a soak has shown; ``faults`` is empty where it passed."""

    samples: tuple[Sample, ...]
    collected: int
    slides: int
    growth_share: float
    slope_mb_per_h: float
    block_slopes_mb_per_h: tuple[float, ...]
    faults: tuple[str, ...]

    def __str__(self) -> str:
        """A line for the log of the run."""
        first, last = self.samples[0], self.samples[-1]
        blocks = ", ".join(f"{slope:+.1f}" for slope in self.block_slopes_mb_per_h)
        span_s = last.at_s - first.at_s
        usual_mb = np.median([each.memory_bytes for each in self.samples]) / 1e6
        return (
            f"{last.at_s:.0f} s, {last.fields:.0f} fields, {self.slides} slides, "
            f"{self.collected} records in the collector; memory {usual_mb:.0f} MB, slope "
            f"{self.slope_mb_per_h:+.1f} MB/h ({self.growth_share:+.2%} in {span_s:.0f} s; blocks {blocks}); "
            f"files {first.open_files:.0f} to {last.open_files:.0f}, threads {first.threads:.0f} to "
            f"{last.threads:.0f}; restarts {last.restarts:.0f}"
        )


def soak(
    place: Path, bundle: Path, broker: Mosquitto, *, seconds: float, memory_share: float = MEMORY_SHARE
) -> Soaked:
    """Run a station so long, watched by a page, with a new slide now and then, and judge it."""
    config = place / "station.toml"
    config.write_text(
        f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "{bundle}"\n'
        '[camera]\nkind = "virtual_slide"\nlive = false\n[gates]\nmin_focus = 0.0\n'
        "[engine]\nthreads = 1\n[page]\nport = 0\n[metrics]\nenabled = true\nport = 0\n"
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
    )
    database = place / "fleet.sqlite"
    with ExitStack() as stack:
        arguments = (
            "fleet.cli",
            "collect",
            "--broker",
            f"{broker.host}:{broker.port}",
            "--database",
            database,
        )
        stack.enter_context(_process(place / "collector.log", *arguments))
        log = place / "station.log"
        station = stack.enter_context(_process(log, "edge.cli", "run", "--config", config))
        metrics = _announced(log, "the figures are at ", station)
        page = _announced(log, "the page is at ", station)
        fleet = stack.enter_context(_Fleet(broker))
        stack.enter_context(_watching(page))
        samples, slides = [], 0
        begun_s = time.monotonic()
        pause = threading.Event()
        while (now_s := time.monotonic() - begun_s) < seconds:
            if now_s >= slides * SLIDE_EVERY_S:
                slides += 1
                fleet.open_slide(f"soak {slides}", number=slides)
            samples.append(_sample(metrics, at_s=now_s))
            pause.wait(EVERY_S)
    return judged(samples, collected=_collected(database), slides=slides, memory_share=memory_share)


def judged(
    samples: Sequence[Sample], *, collected: int, slides: int, memory_share: float = MEMORY_SHARE
) -> Soaked:
    """Hold the samples to the criterion above."""
    settled = [each for each in samples if each.at_s >= samples[-1].at_s * WARM_UP_SHARE]
    slope = _slope(settled)
    usual = float(np.median([each.memory_bytes for each in settled]))
    growth = slope * (settled[-1].at_s - settled[0].at_s) / usual
    blocks = tuple(
        _slope([settled[at] for at in block]) * 3600 / 1e6
        for block in np.array_split(np.arange(len(settled)), BLOCKS)
        if len(block) > 1
    )
    return Soaked(
        samples=tuple(settled),
        collected=collected,
        slides=slides,
        growth_share=growth,
        slope_mb_per_h=slope * 3600 / 1e6,
        block_slopes_mb_per_h=blocks,
        faults=tuple(_faults(settled, excess=growth - memory_share, collected=collected)),
    )


def _faults(settled: Sequence[Sample], *, excess: float, collected: int) -> Iterator[str]:
    if excess > 0:
        yield f"memory grew by {excess:.1%} more than it may"
    begin = len(settled) * 2 // 3
    figures: dict[str, Callable[[Sample], float]] = {
        "open files": lambda each: each.open_files,
        "threads": lambda each: each.threads,
    }
    for name, figure in figures.items():
        before, after = max(map(figure, settled[:begin])), max(map(figure, settled[begin:]))
        if after > before:
            yield f"{name} rose from {before:.0f} to {after:.0f}"
    last = settled[-1]
    if last.restarts or last.degraded:
        yield f"{last.restarts:.0f} restarts, {last.degraded:.0f} parts given up"
    if last.fields <= settled[0].fields:
        yield "no field was counted"
    if not collected:
        yield "nothing came to the collector"


def _slope(samples: Sequence[Sample]) -> float:
    """Bytes a second."""
    return float(theilslopes([each.memory_bytes for each in samples], [each.at_s for each in samples])[0])


def _sample(url: str, *, at_s: float) -> Sample:
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(httpx.get(url, timeout=WAIT_S).text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return Sample(
        at_s=at_s,
        memory_bytes=sums["leukoscope_memory_bytes"],
        open_files=sums["leukoscope_open_files"],
        threads=sums["leukoscope_threads"],
        fields=sums["leukoscope_fields_total"],
        restarts=sums.get("leukoscope_restarts_total", 0.0),
        degraded=sums.get("leukoscope_degraded", 0.0),
    )


class _Fleet:
    """Sends orders as a fleet does."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)

    def __enter__(self) -> Self:
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def open_slide(self, slide: str, *, number: int) -> None:
        order = {
            "id": f"soak-{number:08d}",
            "command": "open_slide",
            "slide": slide,
            "expires_at": (datetime.now(timezone.utc) + timedelta(minutes=1)).isoformat(),
        }
        self._client.publish(topic("lab", "s1", "command"), json.dumps(order), qos=1).wait_for_publish(WAIT_S)


@contextmanager
def _process(log: Path, module: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - the station's and the collector's own commands
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=out,
            stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_S)


@contextmanager
def _watching(page: str) -> Iterator[None]:
    """A page that stays open, as beside a microscope."""
    done = threading.Event()

    def read() -> None:
        with httpx.stream("GET", page + "api/events", timeout=WAIT_S) as stream:
            for _ in stream.iter_lines():
                if done.is_set():
                    return

    thread = threading.Thread(target=read, name="a page", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(WAIT_S)


def _announced(log: Path, words: str, process: subprocess.Popen[bytes]) -> str:
    """The address that the station's log tells after these words."""
    deadline_s, pause = time.monotonic() + WAIT_S, threading.Event()
    while True:
        said = log.read_text()
        if words in said:
            return said.split(words)[1].split()[0]
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"the station did not come: {said}")
        pause.wait(0.1)


def _collected(database: Path) -> int:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
    finally:
        connection.close()
