"""The station's publisher and the collector, over a real broker."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.broker import Broker, EmbeddedBroker, Mosquitto
from edge.contract.message import Key
from edge.contract.status import StateRecord
from edge.outbox.publisher import Publisher
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox
from fleet.collector import Collector
from fleet.queries import StationRow, open_queries
from fleet.settings import BrokerAccess
from fleet.store import FleetStore

pytestmark = pytest.mark.broker
TIMEOUT_S = 20


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.01)


@contextmanager
def collecting(broker: Broker, database: Path) -> Iterator[None]:
    access = BrokerAccess(host=broker.host, port=broker.port, protocol=broker.protocol)
    with FleetStore(database) as store:
        collector = Collector(access=access, store=store)
        collector.start()
        assert collector.wait_until_subscribed(TIMEOUT_S)
        yield
        collector.stop()


@contextmanager
def publishing(broker: Broker, outbox: Outbox, **settings: Any) -> Iterator[Publisher]:
    publisher = Publisher(
        outbox=outbox,
        settings=MqttSettings(
            host=broker.host,
            port=broker.port,
            protocol=broker.protocol,
            **{"ack_timeout_s": 0.3} | settings,
        ),
        site="ward",
        station="s1",
        birth=lambda: StateRecord(
            site="ward", station="s1", boot=1, state="online", software="1", bundle="b", engine="e"
        ),
        on_command=lambda _command: None,
    )
    publisher.start()
    yield publisher
    publisher.stop(TIMEOUT_S)
    assert not publisher.running


def station_row(database: Path) -> StationRow:
    with open_queries(database) as queries:
        (row,) = queries.stations()
        return row


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(path=tmp_path / "outbox.sqlite3", site="ward", station="s1", software="1") as outbox:
        yield outbox


def append(outbox: Outbox, records: Any, count: int, *, detail: str = "") -> None:
    def build(key: Key) -> Any:
        return records.update(key.sequence, boot=key.boot, detail=detail)

    for _ in range(count):
        outbox.append(build)


def test_a_new_database_does_not_wait_for_what_the_old_one_took(
    mosquitto: Mosquitto, outbox: Outbox, records: Any, tmp_path: Path
) -> None:
    with publishing(mosquitto, outbox):
        with collecting(mosquitto, tmp_path / "old.sqlite3"):
            append(outbox, records, 20)
            eventually(lambda: outbox.statistics().records == 0)
        append(outbox, records, 5)
        with collecting(mosquitto, tmp_path / "new.sqlite3"):
            eventually(lambda: outbox.statistics().records == 0)
            row = station_row(tmp_path / "new.sqlite3")
            assert (row.records, row.missing) == (5, 20)


def test_a_wiped_outbox_is_noticed_and_its_records_are_kept(
    mosquitto: Mosquitto, records: Any, tmp_path: Path
) -> None:
    database = tmp_path / "fleet.sqlite3"
    with collecting(mosquitto, database):
        for life in ("first", "second"):
            path = tmp_path / life / "outbox.sqlite3"
            with (
                Outbox(path=path, site="ward", station="s1", software="1") as outbox,
                publishing(mosquitto, outbox),
            ):
                append(outbox, records, 10, detail=life)
                eventually(lambda outbox=outbox: outbox.statistics().records == 0)
        row = station_row(database)
    assert (row.records, row.conflicts) == (10, 10)


def test_the_station_is_seen_to_come_and_go(mosquitto: Mosquitto, outbox: Outbox, tmp_path: Path) -> None:
    database = tmp_path / "fleet.sqlite3"

    def state() -> str | None:
        with open_queries(database) as queries:
            rows = queries.stations()
        return rows[0].state.state if rows and rows[0].state else None

    with collecting(mosquitto, database):
        with publishing(mosquitto, outbox):
            eventually(lambda: state() == "online")
        eventually(lambda: state() == "offline")


# The library of that broker leaves a socket to be closed by the collector of garbage.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_demos_embedded_broker_carries_it_too(outbox: Outbox, records: Any, tmp_path: Path) -> None:
    database = tmp_path / "fleet.sqlite3"
    with EmbeddedBroker() as broker, collecting(broker, database), publishing(broker, outbox):
        append(outbox, records, 100)
        eventually(lambda: outbox.statistics().records == 0)
    assert station_row(database).records == 100
    gc.collect()  # here, and not in whatever test comes next
