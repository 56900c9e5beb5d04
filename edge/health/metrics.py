"""The station's health as Prometheus has it: names, units and labels, and nothing of how it is served.

Counters begin at 0 with every start of the station, as Prometheus expects them to. ``docs/reliability.md``
lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector
from typing_extensions import Self

from edge.contract.manifest import Manifest
from edge.contract.message import ClockState
from edge.contract.status import HealthRecord, OpticsHealth

PREFIX: Final = "leukoscope_"
QUANTILES: Final = ("0.5", "0.99")


Totals = Mapping[str, tuple[int, float]]
"""By stage: how often it was measured since the start, and how many seconds that took in all."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What runs: constant for the life of the process's run."""

    site: str
    station: str
    software: str
    bundle: str
    bundle_name: str
    release: int
    engine: str

    @classmethod
    def of(cls, manifest: Manifest, *, site: str, station: str, by: tuple[str, str]) -> Self:
        """Told of a bundle on a station, run ``by`` a software on an engine."""
        software, engine = by
        return cls(
            site=site,
            station=station,
            software=software,
            bundle=manifest.id,
            bundle_name=manifest.name,
            release=manifest.release,
            engine=engine,
        )


class StationCollector(Collector):
    """Asks the station at every scrape."""

    def __init__(
        self,
        *,
        serving: Serving,
        health: Callable[[], HealthRecord],
        totals: Callable[[], Totals],
    ) -> None:
        self._serving = serving
        self._health = health
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Every figure of the moment."""
        yield _info(self._serving)
        health = self._health()
        yield from _counters(health)
        yield from _gauges(health)
        yield from _states(health)
        yield _latencies(health, self._totals())


def _info(serving: Serving) -> Metric:
    values = {
        "site": serving.site,
        "station": serving.station,
        "software": serving.software,
        "bundle": serving.bundle,
        "bundle_name": serving.bundle_name,
        "release": str(serving.release),
        "engine": serving.engine,
    }
    return InfoMetricFamily(PREFIX + "serving", "What runs on this station.", value=values)


def _counters(health: HealthRecord) -> Iterator[Metric]:
    yield _counter("frames", "Frames that the camera gave.", health.frames)
    yield _counter(
        "frames_dropped", "Frames that went stale before they were looked at.", health.frames_dropped
    )
    yield _counter("fields", "Frames that became counted fields.", health.fields)
    yield _counter("refusals", "Frames that did not, by reason.", health.refusals, label="reason")
    yield _counter("outbox_discarded", "Records given up for want of room, ever.", health.discarded)
    yield _counter("restarts", "How often a stuck part was begun anew.", health.restarts, label="part")


def _gauges(health: HealthRecord) -> Iterator[Metric]:
    yield _gauge("uptime_seconds", "Since the start of this run.", health.uptime_s)
    yield _gauge("queue_items", "Items that wait before a stage.", health.queues, label="stage")
    yield _gauge("outbox_records", "Records that nobody has taken yet.", health.outbox_records)
    yield _gauge("outbox_bytes", "Size of these records.", health.outbox_bytes)
    yield _gauge(
        "outbox_oldest_seconds",
        "Age of the oldest of them; absent where there is none.",
        health.outbox_oldest_s,
    )
    yield _gauge("disk_free_bytes", "Free space where the outbox lives.", health.disk_free_bytes)
    yield _gauge("memory_bytes", "Resident memory of the daemon.", health.memory_bytes)
    yield _gauge("open_files", "File descriptors that the daemon has open.", health.open_files)
    yield _gauge("threads", "Threads of the daemon.", health.threads)
    yield _gauge("temperature_celsius", "The machine's hottest sensor.", health.temperature_c)
    throttled = None if health.throttled is None else int(health.throttled)
    yield _gauge("throttled", "1 while the machine slows itself down.", throttled)
    yield from _optics(health.optics)
    yield _gauge("problems", "Standing problems, as the page shows them.", len(health.problems))
    yield _gauge(
        "degraded",
        "1 for a part that the station goes on without.",
        dict.fromkeys(health.degraded, 1),
        label="part",
    )


def _optics(optics: OpticsHealth | None) -> Iterator[Metric]:
    """The light's drift since the objective was calibrated; absent while that cannot be told."""
    vignetting = None if optics is None else optics.vignetting_drift_percent
    colours = None if optics is None else optics.colour_drift_percent
    yield _gauge(
        "vignetting_drift_ratio",
        "Share of light that the darkest part of a corrected picture lacks.",
        None if vignetting is None else vignetting / 100,
    )
    yield _gauge(
        "colour_drift_ratio",
        "How far a colour of the corrected background is off.",
        {name: value / 100 for name, value in zip(("red", "green", "blue"), colours or (), strict=False)},
        label="channel",
    )


def _states(health: HealthRecord) -> Iterator[Metric]:
    cameras: Sequence[str] = get_args(HealthRecord.model_fields["camera"].annotation)
    brokers: Sequence[str] = get_args(HealthRecord.model_fields["broker"].annotation)
    yield _state("camera", "What the camera does.", health.camera, cameras)
    yield _state("broker", "Whether the broker is connected.", health.broker, brokers)
    yield _state("clock", "What the wall clock is worth.", health.clock, get_args(ClockState))


def _latencies(health: HealthRecord, totals: Totals) -> Metric:
    """A summary: quantiles over the last passes, sum and count since the start."""
    name = PREFIX + "stage_latency_seconds"
    family = Metric(name, "How long a stage takes for one item; frame_to_record is the whole way.", "summary")
    for stage, latency in health.latencies.items():
        for quantile, value_ms in zip(QUANTILES, (latency.p50_ms, latency.p99_ms), strict=True):
            family.add_sample(name, {"stage": stage, "quantile": quantile}, value_ms / 1000)
        if stage in totals:
            passes, seconds = totals[stage]
            family.add_sample(f"{name}_sum", {"stage": stage}, seconds)
            family.add_sample(f"{name}_count", {"stage": stage}, passes)
    return family


def _counter(name: str, text: str, value: int | Mapping[str, int], *, label: str = "") -> Metric:
    if not isinstance(value, Mapping):
        return CounterMetricFamily(PREFIX + name, text, value=value)
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for key, number in sorted(value.items()):
        family.add_metric([key], number)
    return family


def _gauge(name: str, text: str, value: float | Mapping[str, float] | None, *, label: str = "") -> Metric:
    """A figure; without a sample where it is None, which is not the same as 0."""
    if value is not None and not isinstance(value, Mapping):
        return GaugeMetricFamily(PREFIX + name, text, value=value)
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label] if label else [])
    for key, number in sorted((value or {}).items()):
        family.add_metric([key], number)
    return family


def _state(name: str, text: str, now: str, states: Sequence[str]) -> Metric:
    return StateSetMetricFamily(PREFIX + name, text, value={state: state == now for state in states})
