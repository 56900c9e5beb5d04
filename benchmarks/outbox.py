"""What a backlog costs: an append beside it, and how fast it goes out when the broker is back.

Appends to an outbox with a small backlog and to one with a large backlog are timed in turn, one here, one
there, on the same disk, so that whatever else the disk has to do bears upon both alike. A backlog is drained
over a real mosquitto by a real collector in a process of its own; beside that stands the same broker taking
the same messages from a bare MQTT client with as many under way.

    python -m benchmarks.outbox [--small N] [--large N] [--appends N] [--rounds N] [--drained N]
                                [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.broker import Mosquitto
from edge.contract.message import Key, Stamp
from edge.contract.records import CellResult, DurableRecord, FieldRecord
from edge.contract.status import StateRecord
from edge.contract.taxonomy import ObjectKind
from edge.outbox.discard import Row
from edge.outbox.position import Position
from edge.outbox.publisher import Publisher
from edge.outbox.settings import MqttSettings, OutboxLimits
from edge.outbox.store import Outbox

_GIB: Final = 1024**3
_CELLS: Final = 20
_WARMING: Final = 20
_BATCH: Final = 20_000
_IN_FLIGHT: Final = 64


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as place, ExitStack() as stack:
        folder = Path(place)
        outboxes = {
            size: stack.enter_context(_filled(folder / f"{size}.sqlite3", size))
            for size in (options.small, options.large)
        }
        os.sync()  # what the filling left to write is none of the appends'
        _print_appends(outboxes, options)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        _print_drain(Path(place), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=1_000, help="records of the small backlog")
    parser.add_argument("--large", type=int, default=1_000_000, help="records of the large backlog")
    parser.add_argument("--appends", type=int, default=3_000, help="timed appends to each")
    parser.add_argument("--rounds", type=int, default=3, help="of the timed appends")
    parser.add_argument("--drained", type=int, default=3_000, help="records of the backlog that is drained")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; default: the system's")
    return parser.parse_args()


def _build(key: Key) -> DurableRecord:
    """A field of some cells, as a station records it."""
    now = datetime.now(timezone.utc)
    cell = CellResult(
        box_px=(100.0, 100.0, 180.5, 181.5),
        object=ObjectKind.WBC,
        score=0.98,
        cell_class="lymphocyte",
        probability=0.91,
        distance=3.2,
    )
    return FieldRecord(
        stamp=Stamp(site="ward", key=key, recorded_at=now, software="benchmark", bundle="b" * 64),
        slide="A-17",
        field=key.sequence,
        source="camera",
        captured_at=now,
        width_px=1920,
        height_px=1200,
        focus=1.0,
        cells=(cell,) * _CELLS,
        analysis_ms=50.0,
    )


def _outbox(path: Path) -> Outbox:
    limits = OutboxLimits(max_bytes=64 * _GIB)
    return Outbox(path=path, site="ward", station="s1", software="benchmark", limits=limits)


@contextmanager
def _filled(path: Path, records: int) -> Iterator[Outbox]:
    """An open outbox with small records of the boot before, written past ``append`` for time's sake."""
    with _outbox(path) as outbox:
        table = outbox._file._table  # noqa: SLF001 - the quick way to a large backlog
        if table is None:
            raise RuntimeError("an entered outbox has a table")
        now_s = time.time()
        body = b'{"filled": "' + b"x" * 500 + b'"}'
        crc32 = zlib.crc32(body)
        for first in range(1, records + 1, _BATCH):
            with table.transaction():
                for sequence in range(first, min(first + _BATCH, records + 1)):
                    table.insert(
                        Row(
                            position=Position(outbox.boot, sequence),
                            schema="leukoscope/field/1",
                            appended_s=now_s,
                            body=body,
                            crc32=crc32,
                        )
                    )
    with _outbox(path) as outbox:
        yield outbox


def _print_appends(outboxes: dict[int, Outbox], options: argparse.Namespace) -> None:
    key = Key(station="s1", boot=1, sequence=1)
    size_bytes = len(_build(key).model_dump_json(by_alias=True))
    rounds = [_append_in_turn(outboxes, options.appends) for _ in range(options.rounds)]
    print(
        f"Appending a record of {size_bytes} bytes, {options.appends} times to each, in turn; medians of "
        f"{options.rounds} rounds (least to most):\n"
    )
    print(f"| | {options.small} records of backlog | {options.large} | ratio |\n|---|---|---|---|")
    for name, quantile in (("p50", 0.5), ("p99", 0.99)):
        least = [_quantile(each[options.small], quantile) for each in rounds]
        most = [_quantile(each[options.large], quantile) for each in rounds]
        ratios = [after / before for before, after in zip(least, most, strict=True)]
        print(
            f"| {name} | {statistics.median(least) * 1000:.2f} ms | {statistics.median(most) * 1000:.2f} ms "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


def _append_in_turn(outboxes: dict[int, Outbox], appends: int) -> dict[int, list[float]]:
    seconds: dict[int, list[float]] = {size: [] for size in outboxes}
    for turn in range(appends + _WARMING):
        order = list(outboxes.items())
        for size, outbox in order if turn % 2 else reversed(order):
            began_s = time.perf_counter()
            outbox.append(_build)
            if turn >= _WARMING:
                seconds[size].append(time.perf_counter() - began_s)
    return {size: sorted(taken) for size, taken in seconds.items()}


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _print_drain(folder: Path, options: argparse.Namespace) -> None:
    with Mosquitto() as broker:
        bodies = _backlog(folder / "collector.sqlite3", options.drained)
        _backlog(folder / "broker.sqlite3", options.drained)
        _backlog(folder / "paced.sqlite3", options.drained)
        bare_s = _bare(broker, bodies)
        with _collecting(broker, folder / "fleet.sqlite3"):
            collector_s = _drain(folder / "collector.sqlite3", broker, backlog_per_s=1e5)
            paced_s = _drain(folder / "paced.sqlite3", broker)
        broker_s = _drain(folder / "broker.sqlite3", broker, backlog_per_s=1e5, ack="broker")
    bare = options.drained / bare_s
    print(f"\nDraining {options.drained} records, at most {_IN_FLIGHT} under way:\n")
    print("| | records/s | of the bare client |\n|---|---|---|")
    print(f"| bare MQTT client, QoS 1 | {bare:.0f} | 1 |")
    for name, took_s in (
        ("outbox, until the broker has them", broker_s),
        ("outbox, until the collector has committed them", collector_s),
        (f"the same at the rate set by default ({MqttSettings(host='x').backlog_per_s:g}/s)", paced_s),
    ):
        print(f"| {name} | {options.drained / took_s:.0f} | {options.drained / took_s / bare:.2f} |")


def _backlog(path: Path, records: int) -> list[bytes]:
    with _outbox(path) as outbox:
        for _ in range(records):
            outbox.append(_build)
        return [each.body for each in outbox.pending(limit=records)]


def _bare(broker: Mosquitto, bodies: Sequence[bytes]) -> float:
    """Seconds for a client that has nothing but these messages and knows nothing of durability."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=mqtt.MQTTv5)
    connected, room = threading.Event(), threading.Semaphore(_IN_FLIGHT)
    client.max_inflight_messages = 0
    client.on_connect = lambda *_: connected.set()
    client.on_publish = lambda *_: room.release()
    client.connect(broker.host, broker.port)
    client.loop_start()
    connected.wait()
    began_s = time.perf_counter()
    for body in bodies:
        room.acquire()
        client.publish("leukoscope/v1/ward/s1/field", body, qos=1)
    for _ in range(_IN_FLIGHT):
        room.acquire()
    took_s = time.perf_counter() - began_s
    client.disconnect()
    client.loop_stop()
    return took_s


@contextmanager
def _collecting(broker: Mosquitto, database: Path) -> Iterator[None]:
    command = ["collect", "--broker", f"{broker.host}:{broker.port}", "--database", str(database)]
    program = [sys.executable, "-c", "from fleet.cli import main; main()", *command]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as collector:  # noqa: S603 - our own program
        try:
            yield
        finally:
            collector.terminate()


def _drain(path: Path, broker: Mosquitto, **settings: Any) -> float:  # noqa: ANN401 - any setting
    """Seconds until all is gone, from the first acknowledgement on."""
    with _outbox(path) as outbox:
        publisher = Publisher(
            outbox=outbox,
            settings=MqttSettings(host=broker.host, port=broker.port, in_flight=_IN_FLIGHT, **settings),
            site="ward",
            station="s1",
            birth=lambda: StateRecord(
                site="ward", station="s1", boot=1, state="online", software="1", bundle="b", engine="e"
            ),
            on_command=lambda _command: None,
        )
        waiting = outbox.statistics().records
        publisher.start()
        while outbox.statistics().records == waiting:
            time.sleep(0.001)
        began_s = time.perf_counter()
        while outbox.statistics().records:
            time.sleep(0.005)
        took_s = time.perf_counter() - began_s
        publisher.stop(5)
    return took_s


if __name__ == "__main__":
    main()
