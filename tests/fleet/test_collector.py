from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.broker import Broker, EmbeddedBroker, Mosquitto, find_mosquitto
from edge.contract.message import topic
from edge.contract.orders import Ack
from edge.errors import BrokerError
from fleet.collector import Collector, Message, Writer
from fleet.queries import FleetQueries, open_queries
from fleet.settings import BrokerAccess
from fleet.store import FleetStore, Receipt

TIMEOUT_S = 15


class FakeStation:
    """Publishes what the test gives it and hears what it is told."""

    def __init__(self, broker: Broker, name: str = "s1") -> None:
        self.acks: queue.Queue[Ack] = queue.Queue()
        self._name = name
        ready: queue.Queue[str] = queue.Queue()
        self._paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv311)
        self._paho.on_connect = lambda client, *_: client.subscribe(topic("ward", name, "ack"), 1)
        self._paho.on_subscribe = lambda *_: ready.put("subscribed")
        self._paho.on_message = lambda _client, _data, message: self.acks.put(
            Ack.model_validate_json(message.payload)
        )
        self._paho.connect(broker.host, broker.port)
        self._paho.loop_start()
        ready.get(timeout=TIMEOUT_S)

    def publish(self, leaf: str, body: bytes, *, site: str = "ward", station: str | None = None) -> None:
        where = topic(site, station or self._name, leaf)
        self._paho.publish(where, body, qos=1).wait_for_publish(TIMEOUT_S)

    def wait_for_ack(self, boot: int, sequence: int) -> None:
        while True:
            ack = self.acks.get(timeout=TIMEOUT_S)
            assert ack.sequence <= sequence
            if (ack.boot, ack.sequence) == (boot, sequence):
                return

    def close(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


@pytest.fixture(params=[pytest.param(Mosquitto, marks=pytest.mark.broker), EmbeddedBroker])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param is Mosquitto and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    with request.param() as broker:
        yield broker


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "fleet.sqlite3"


@pytest.fixture
def collector(broker: Broker, database: Path) -> Iterator[Collector]:
    with FleetStore(database) as store:
        access = BrokerAccess(host=broker.host, port=broker.port, protocol=broker.protocol)
        collector = Collector(access=access, store=store)
        collector.start()
        assert collector.wait_until_subscribed(TIMEOUT_S)
        yield collector
        collector.stop()


@pytest.fixture
def station(broker: Broker) -> Iterator[FakeStation]:
    station = FakeStation(broker)
    yield station
    station.close()


def ask(database: Path, question: Callable[[FleetQueries], Any]) -> Any:
    with open_queries(database) as queries:
        return question(queries)


def test_records_are_kept_and_acknowledged(
    collector: Collector, station: FakeStation, records: Any, database: Path
) -> None:
    for number in range(1, 31):
        station.publish("field", records.body(records.field(number)))
    station.wait_for_ack(1, 30)
    keys = ask(database, FleetQueries.keys)
    assert [(key.station, key.boot, key.sequence) for key in keys] == [("s1", 1, n) for n in range(1, 31)]


def test_rubbish_and_spoofing_are_rejected_and_stop_nothing(
    collector: Collector, station: FakeStation, records: Any, database: Path
) -> None:
    station.publish("field", b"\xff\xfe rubbish")
    station.publish("update", records.body(records.update(1, station="s2")))
    station.publish("update", records.body(records.update(1)), station="s2")
    station.publish("update", records.body(records.update(1)))
    station.wait_for_ack(1, 1)
    reasons = [row.reason for row in ask(database, FleetQueries.rejected)]
    assert len(reasons) == 3
    assert "speaks for ward/s2 on the topic of ward/s1" in reasons[1]
    assert [key.station for key in ask(database, FleetQueries.keys)] == ["s1"]


def test_only_the_station_itself_is_told(
    collector: Collector, station: FakeStation, broker: Broker, records: Any
) -> None:
    other = FakeStation(broker, "s2")
    other.publish("update", records.body(records.update(1, station="s2")))
    other.wait_for_ack(1, 1)
    station.publish("update", records.body(records.update(1)))
    station.wait_for_ack(1, 1)
    assert station.acks.empty()
    other.close()


@pytest.mark.broker
def test_what_came_while_the_collector_was_away_is_waiting(
    mosquitto: Mosquitto, database: Path, records: Any
) -> None:
    """A station may rely on the broker's acknowledgement alone, so nothing that it took may be lost."""
    access = BrokerAccess(host=mosquitto.host, port=mosquitto.port)
    station = FakeStation(mosquitto)
    for first in (1, 6):
        with FleetStore(database) as store:
            collector = Collector(access=access, store=store)
            collector.start()
            assert collector.wait_until_subscribed(TIMEOUT_S)
            if first > 1:
                station.wait_for_ack(1, first - 1)
            collector.stop()
        for number in range(first, first + 5):
            station.publish("update", records.body(records.update(number)))
    station.close()


@pytest.mark.broker
def test_a_broker_that_comes_later_is_waited_for(mosquitto: Mosquitto, database: Path, records: Any) -> None:
    mosquitto.stop()
    with FleetStore(database) as store:
        collector = Collector(access=BrokerAccess(host=mosquitto.host, port=mosquitto.port), store=store)
        collector.start()
        assert not collector.wait_until_subscribed(0)
        mosquitto.start()
        assert collector.wait_until_subscribed(TIMEOUT_S)
        collector.stop()


def test_wrong_files_are_told_at_the_start(tmp_path: Path) -> None:
    with FleetStore(tmp_path / "fleet.sqlite3") as store:
        for access in (
            BrokerAccess(host="h", tls=True, ca_file=tmp_path / "absent.pem"),
            BrokerAccess(host="h", username="u", password_file=tmp_path / "absent"),
        ):
            with pytest.raises(BrokerError):
                Collector(access=access, store=store).start()


class FarSide:
    """Notes in which order it is told what."""

    def __init__(self, database: Path) -> None:
        self.told: queue.Queue[tuple[str, int, int]] = queue.Queue()
        self._database = database

    def acknowledge(self, receipts: Any) -> None:
        for receipt in receipts:
            assert isinstance(receipt, Receipt)
            self.told.put(("station", receipt.sequence, len(ask(self._database, FleetQueries.keys))))

    def settle(self, messages: Any) -> None:
        self.told.put(("broker", len(messages), len(ask(self._database, FleetQueries.keys))))


def test_nobody_is_told_before_the_commit_and_a_full_disk_is_waited_out(
    database: Path, records: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with FleetStore(database) as store:
        far_side = FarSide(database)
        writer = Writer(
            store=store, far_side=far_side, utc_now=lambda: datetime.now(timezone.utc), retry_s=0.02
        )
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        body = records.body(records.update(1, detail="x" * 50_000))
        writer.put(Message(topic="leukoscope/v1/ward/s1/update", payload=body, number=1, qos=1, connection=1))
        writer.start()
        deadline = time.monotonic() + TIMEOUT_S
        while caplog.text.count("1 messages wait") < 2:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        assert far_side.told.empty()
        store._connection.execute("PRAGMA max_page_count = 100000")
        assert far_side.told.get(timeout=TIMEOUT_S) == ("station", 1, 1)
        assert far_side.told.get(timeout=TIMEOUT_S) == ("broker", 1, 1)
        writer.stop()


def test_a_writer_that_is_stopped_commits_what_it_took(database: Path, records: Any) -> None:
    with FleetStore(database) as store:
        writer = Writer(store=store, far_side=FarSide(database), utc_now=lambda: datetime.now(timezone.utc))
        for number in range(1, 4):
            writer.put(
                Message(
                    topic="leukoscope/v1/ward/s1/update",
                    payload=records.body(records.update(number)),
                    number=number,
                    qos=1,
                    connection=1,
                )
            )
        writer.start()
        writer.stop()
        assert len(ask(database, FleetQueries.keys)) == 3
