"""The figures as Prometheus reads them: parsed by its own client's parser, fetched over HTTP."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from edge.contract.status import HealthRecord, OpticsHealth, StageLatency
from edge.errors import MetricsError
from edge.health.metrics import Serving, StationCollector
from edge.health.metrics_server import MetricsServer

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
DEADLINE_S = 20
SERVING = Serving(
    site="lab",
    station="s1",
    software="leukoscope 1",
    bundle="0" * 64,
    bundle_name="starter",
    release=3,
    engine="onnxruntime cpu int8",
)


def health(**changes):
    return HealthRecord(
        site="lab",
        station="s1",
        boot=2,
        recorded_at=datetime(2026, 3, 1, tzinfo=timezone.utc),
        uptime_s=61.5,
        camera="lost",
        frames=100,
        frames_dropped=4,
        fields=20,
        refusals={"moving": 70, "out_of_focus": 6},
        latencies={"analysis": StageLatency(p50_ms=40.0, p99_ms=95.5)},
        queues={"gates": 0, "analysis": 2, "saving": 1},
        outbox_records=12,
        outbox_bytes=34_000,
        discarded=1,
        disk_free_bytes=10**10,
        memory_bytes=3 * 10**8,
        broker="connected",
        problems=("The camera is away.",),
        outbox_oldest_s=3.5,
        temperature_c=64.2,
        throttled=True,
        clock="unsynchronised",
        open_files=40,
        threads=14,
        restarts={"analysis": 2},
        degraded=("page",),
        optics=OpticsHealth(
            objective="100x",
            calibration="c" * 64,
            vignetting_drift_percent=6.5,
            colour_drift_percent=(1.5, -0.5, -1.0),
            fields=40,
        ),
    ).model_copy(update=changes)


def collector(**changes):
    return StationCollector(
        serving=SERVING, health=lambda: health(**changes), totals=lambda: {"analysis": (20, 0.9)}
    )


def parsed(text):
    """Every sample by its name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exposed(**changes):
    registry = CollectorRegistry()
    registry.register(collector(**changes))
    return generate_latest(registry).decode()


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        (("leukoscope_frames_total",), 100),
        (("leukoscope_frames_dropped_total",), 4),
        (("leukoscope_fields_total",), 20),
        (("leukoscope_refusals_total", ("reason", "moving")), 70),
        (("leukoscope_stage_latency_seconds", ("quantile", "0.5"), ("stage", "analysis")), 0.04),
        (("leukoscope_stage_latency_seconds", ("quantile", "0.99"), ("stage", "analysis")), 0.0955),
        (("leukoscope_stage_latency_seconds_sum", ("stage", "analysis")), 0.9),
        (("leukoscope_stage_latency_seconds_count", ("stage", "analysis")), 20),
        (("leukoscope_queue_items", ("stage", "analysis")), 2),
        (("leukoscope_outbox_records",), 12),
        (("leukoscope_outbox_bytes",), 34_000),
        (("leukoscope_outbox_oldest_seconds",), 3.5),
        (("leukoscope_outbox_discarded_total",), 1),
        (("leukoscope_camera", ("leukoscope_camera", "lost")), 1),
        (("leukoscope_camera", ("leukoscope_camera", "streaming")), 0),
        (("leukoscope_broker", ("leukoscope_broker", "connected")), 1),
        (("leukoscope_clock", ("leukoscope_clock", "unsynchronised")), 1),
        (("leukoscope_restarts_total", ("part", "analysis")), 2),
        (("leukoscope_degraded", ("part", "page")), 1),
        (("leukoscope_temperature_celsius",), 64.2),
        (("leukoscope_throttled",), 1),
        (("leukoscope_disk_free_bytes",), 10**10),
        (("leukoscope_memory_bytes",), 3 * 10**8),
        (("leukoscope_open_files",), 40),
        (("leukoscope_threads",), 14),
        (("leukoscope_vignetting_drift_ratio",), 0.065),
        (("leukoscope_colour_drift_ratio", ("channel", "green")), -0.005),
        (("leukoscope_problems",), 1),
        (("leukoscope_uptime_seconds",), 61.5),
    ],
)
def test_every_figure_is_exposed_in_its_unit(sample, value):
    assert parsed(exposed())[sample] == pytest.approx(value)


def test_what_serves_is_told_once():
    (family,) = [each for each in text_string_to_metric_families(exposed()) if "serving" in each.name]
    (sample,) = family.samples
    assert sample.value == 1
    assert sample.labels["bundle"] == "0" * 64
    assert sample.labels["engine"] == "onnxruntime cpu int8"


def test_what_the_machine_does_not_tell_is_absent_and_not_nought():
    found = parsed(exposed(temperature_c=None, throttled=None, outbox_oldest_s=None, optics=None))
    absent = {"leukoscope_temperature_celsius", "leukoscope_throttled", "leukoscope_outbox_oldest_seconds"}
    absent |= {"leukoscope_vignetting_drift_ratio", "leukoscope_colour_drift_ratio"}
    assert not absent & {name for name, *_ in found}


def test_every_figure_stands_in_the_document():
    documented = DOCUMENT.read_text()
    names = {family.name for family in text_string_to_metric_families(exposed())}
    assert {name for name in names if f"`{name}" not in documented} == set()


def test_the_figures_are_served_on_loopback_and_the_port_is_given_back():
    with MetricsServer(collector=collector(), host="127.0.0.1", port=0) as server:
        url = server.url
        answer = httpx.get(url, timeout=20)
        assert answer.headers["content-type"].startswith("text/plain")
        assert parsed(answer.text)[("leukoscope_frames_total",)] == 100
    port = int(url.split(":")[2].partition("/")[0])
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_a_taken_port_is_named_with_the_remedy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = MetricsServer(collector=collector(), host="127.0.0.1", port=port)
        with pytest.raises(MetricsError, match=f"port {port} on 127.0.0.1 .* is taken.*metrics.port"):
            server.start()
        server.stop()


def test_who_comes_while_no_descriptor_is_free_is_served_when_one_is(monkeypatch):
    paused, go_on = threading.Event(), threading.Event()

    def pause(_seconds):
        paused.set()
        assert go_on.wait(DEADLINE_S)

    monkeypatch.setattr("edge.health.metrics_server.time.sleep", pause)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        MetricsServer(collector=collector(), host="127.0.0.1", port=0) as server,
        contextlib.closing(socket.socket()) as visitor,
    ):
        lowest_free = os.open(os.devnull, os.O_RDONLY)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            visitor.settimeout(DEADLINE_S)
            visitor.connect(("127.0.0.1", urlsplit(server.url).port))
            visitor.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert paused.wait(DEADLINE_S), "the door was opened in vain over and over"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            go_on.set()
        assert visitor.recv(15).endswith(b"200 OK")
