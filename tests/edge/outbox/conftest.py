from __future__ import annotations

import os
import queue
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.broker import Mosquitto
from edge.contract.message import Key, Stamp, topic
from edge.contract.orders import Ack, CommandAnswer
from edge.contract.records import DurableRecord, UpdateRecord
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox
from tests.edge.outbox.publishing import Start, Station

TIMEOUT_S = 15
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, not a place to guess names in


class FarEnd:
    """Whoever else is on the broker: hears everything of the station, acknowledges and commands."""

    def __init__(self, broker: Mosquitto, *, protocol: int = mqtt.MQTTv5) -> None:
        self._messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="far-end", protocol=protocol)
        ready: queue.Queue[str] = queue.Queue()
        self._paho.on_connect = lambda client, *_: client.subscribe("leukoscope/v1/ward/s1/#", 1)
        self._paho.on_subscribe = lambda *_: ready.put("subscribed")
        self._paho.on_message = lambda _client, _data, message: self._messages.put(message)
        self._paho.reconnect_delay_set(1, 1)
        self._paho.connect(broker.host, broker.port)
        self._paho.loop_start()
        ready.get(timeout=TIMEOUT_S)

    def next(self, leaf: str, *, retained: bool | None = None) -> mqtt.MQTTMessage:
        """The next message on ``leaf``; others before it are passed over."""
        while True:
            message = self._messages.get(timeout=TIMEOUT_S)
            if message.topic.endswith(f"/{leaf}") and retained in {None, message.retain}:
                return message

    def next_record(self) -> UpdateRecord:
        return UpdateRecord.model_validate_json(self.next("update").payload)

    def next_answer(self) -> CommandAnswer:
        return CommandAnswer.model_validate_json(self.next("answer").payload)

    def send(self, leaf: str, payload: bytes | str) -> None:
        self._paho.publish(topic("ward", "s1", leaf), payload, qos=1).wait_for_publish(TIMEOUT_S)

    def acknowledge(self, boot: int, sequence: int, station: str = "s1") -> None:
        ack = Ack(station=station, boot=boot, sequence=sequence)
        self.send("ack", ack.model_dump_json(by_alias=True))

    def close(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


@pytest.fixture
def far_end(mosquitto: Mosquitto) -> Iterator[FarEnd]:
    far_end = FarEnd(mosquitto)
    yield far_end
    far_end.close()


@pytest.fixture
def build() -> Callable[[Key], DurableRecord]:
    """Builds a small record."""

    def build(key: Key) -> DurableRecord:
        stamp = Stamp(site="ward", key=key, recorded_at=datetime.now(timezone.utc), software="1", bundle="b")
        return UpdateRecord(stamp=stamp, state="idle", candidate="c", release=1)

    return build


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(path=tmp_path / "outbox.sqlite3", site="ward", station="s1", software="1") as outbox:
        yield outbox


@pytest.fixture
def start(outbox: Outbox, request: pytest.FixtureRequest) -> Iterator[Start]:
    running: list[Station] = []

    def start(port: int | None = None, on_command: Any = None, **settings: Any) -> Station:
        if port is None:
            port = request.getfixturevalue("mosquitto").port
        quick = {"reconnect_min_s": 0.05, "reconnect_max_s": 0.1, "ack_timeout_s": 5} | settings
        station = Station(outbox, MqttSettings(host="127.0.0.1", port=port, **quick), on_command)
        station.publisher.start()
        running.append(station)
        return station

    yield start
    for station in running:
        station.publisher.stop(0)
        assert not station.publisher._thread.is_alive()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For the lock and the boot counter, which are none of SQLite's; in memory, where there is some."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as place:
        yield Path(place)
