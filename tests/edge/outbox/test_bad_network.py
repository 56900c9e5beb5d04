"""The broker and the network fail in every way; each record comes to the collector's database, once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.broker import Mosquitto, find_mosquitto, free_port
from edge.contract.message import Key, Stamp
from edge.contract.records import DurableRecord, UpdateRecord
from edge.outbox.publisher import Publisher
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox
from fleet.collector import Collector
from fleet.queries import open_queries
from fleet.settings import BrokerAccess
from fleet.store import FleetStore
from tests.edge.outbox.bad_network import BadNetwork
from tests.edge.outbox.publishing import birth, eventually

pytestmark = pytest.mark.broker
TIMEOUT_S = 40
RECORD_BYTES = 3000


def build(key: Key) -> DurableRecord:
    stamp = Stamp(site="ward", key=key, recorded_at=datetime.now(timezone.utc), software="1", bundle="b")
    return UpdateRecord(stamp=stamp, state="idle", candidate="c", release=1, detail="x" * RECORD_BYTES)


class Bench:
    """A station's outbox and publisher, and a collector with its database."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._database = folder / "fleet.sqlite3"
        self._stack = stack
        self.outbox = stack.enter_context(
            Outbox(path=folder / "outbox.sqlite3", site="ward", station="s1", software="1")
        )
        self.publisher: Publisher

    def publish(self, port: int, host: str = "127.0.0.1", **settings: Any) -> None:
        quick = {"reconnect_min_s": 0.05, "reconnect_max_s": 0.2, "ack_timeout_s": 1.0}
        self.publisher = Publisher(
            outbox=self.outbox,
            settings=MqttSettings(host=host, port=port, **quick | {"backlog_per_s": 5000} | settings),
            site="ward",
            station="s1",
            birth=birth,
            on_command=lambda _command: None,
        )
        self.publisher.start()
        self._stack.callback(self.publisher.stop, 0)

    @contextmanager
    def collecting(self, port: int, host: str = "127.0.0.1") -> Iterator[None]:
        with FleetStore(self._database) as store:
            collector = Collector(access=BrokerAccess(host=host, port=port), store=store)
            collector.start()
            assert collector.wait_until_subscribed(TIMEOUT_S)
            yield
            collector.stop()

    def append(self, records: int) -> None:
        for _ in range(records):
            self.outbox.append(build)

    def all_left(self) -> bool:
        return self.outbox.statistics().records == 0

    def check(self) -> None:
        """Everything that was ever appended is in the database, once, and nothing else."""
        eventually(self.all_left)
        with open_queries(self._database) as queries:
            keys = [(key.boot, key.sequence) for key in queries.keys()]  # noqa: SIM118 - not a mapping
            (station,) = queries.stations()
        assert keys == [(1, number) for number in range(1, self.outbox.last_sequence + 1)]
        assert (station.conflicts, station.missing, station.discarded) == (0, 0, 0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def test_a_half_open_connection_is_noticed_and_made_anew(bench: Bench, mosquitto: Mosquitto) -> None:
    with BadNetwork(port=mosquitto.port) as network, bench.collecting(mosquitto.port):
        bench.publish(network.port, keepalive_s=3600, answer_timeout_s=1.0, ack_timeout_s=60)
        bench.append(5)
        eventually(bench.all_left)
        network.swallow()
        bench.append(5)
        eventually(lambda: "has not answered for 1 s" in bench.publisher.status.problem)
        bench.check()
        assert bench.publisher.status.connections == 2


@pytest.mark.nightly  # The shortest time that may be set is two times five seconds.
def test_a_connection_that_dies_while_nothing_is_said_is_noticed_by_its_keepalive(
    bench: Bench, mosquitto: Mosquitto
) -> None:
    with BadNetwork(port=mosquitto.port) as network, bench.collecting(mosquitto.port):
        bench.publish(network.port, keepalive_s=5)
        eventually(lambda: bench.publisher.status.broker == "connected")
        network.swallow()
        began_s = time.monotonic()
        eventually(lambda: bench.publisher.status.connections == 2)
        assert time.monotonic() - began_s < 2 * 5 + 2
        bench.append(3)
        bench.check()


def test_a_broker_that_says_nothing_at_all_is_not_connected(bench: Bench, mosquitto: Mosquitto) -> None:
    with BadNetwork(port=mosquitto.port) as network, bench.collecting(mosquitto.port):
        network.swallows_new_ones = True
        bench.publish(network.port, connect_timeout_s=0.3)
        bench.append(3)
        eventually(lambda: "no answer within 0.3 s" in bench.publisher.status.problem)
        assert (bench.publisher.status.broker, bench.publisher.status.connections) == ("disconnected", 0)
        network.swallows_new_ones = False
        bench.check()


def test_a_slow_network_is_not_taken_for_a_dead_one(bench: Bench, mosquitto: Mosquitto) -> None:
    bench.append(30)
    with (
        BadNetwork(port=mosquitto.port, bytes_per_s=30_000) as network,
        bench.collecting(mosquitto.port),
    ):
        began_s = time.monotonic()
        bench.publish(network.port, answer_timeout_s=1.5, ack_timeout_s=30)
        bench.check()
        took_s = time.monotonic() - began_s
    assert took_s > 2 * 1.5, "the network was not slow"
    assert (bench.publisher.status.connections, bench.publisher.status.sent) == (1, 30)


@pytest.mark.parametrize("how", ["stopped", "killed", "without its state"])
def test_a_broker_that_goes_and_comes_back(bench: Bench, mosquitto: Mosquitto, how: str) -> None:
    with bench.collecting(mosquitto.port):
        bench.publish(mosquitto.port)
        bench.append(10)
        eventually(lambda: bench.publisher.status.acknowledged > 0)
        bench.append(10)
        (mosquitto.kill if how == "killed" else mosquitto.stop)()
        eventually(lambda: bench.publisher.status.broker == "disconnected")
        bench.append(10)
        if how == "without its state":
            (mosquitto.directory / "mosquitto.db").unlink()
        mosquitto.start()
        bench.append(10)
        bench.check()


def test_what_a_full_broker_throws_away_is_sent_again(bench: Bench) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (Debian, Ubuntu: apt install mosquitto)")
    with Mosquitto(extra=["max_queued_messages 5", "max_inflight_messages 5"]) as broker:
        with bench.collecting(broker.port):
            pass  # the broker now keeps five messages for it, and throws away the rest
        bench.publish(broker.port, in_flight=64)
        bench.append(60)
        eventually(lambda: bench.publisher.status.sent >= 60)
        assert bench.outbox.statistics().records == 60
        with bench.collecting(broker.port):
            bench.check()
    assert bench.publisher.status.resends > 0


def test_a_record_beyond_the_brokers_measure_waits_and_is_told(bench: Bench) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (Debian, Ubuntu: apt install mosquitto)")
    with Mosquitto(extra=["max_packet_size 2000"]) as broker:
        with bench.collecting(broker.port):
            bench.publish(broker.port)
            bench.append(2)
            eventually(lambda: "raise max_packet_size" in bench.publisher.status.problem)
            told = bench.publisher.status
            assert "Record 1/1 needs a packet of" in told.problem
            assert (told.broker, told.connections, told.sent) == ("connected", 1, 0)
        broker.stop()
        broker._extra = ()
        broker.start()
        with bench.collecting(broker.port):
            bench.check()
        assert bench.publisher.status.problem == ""


@contextmanager
def namespace() -> Iterator[tuple[str, str, str]]:
    """A network of its own: its name, our end of the cable to it, and its address at the other end."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace can be made by root alone, with iproute2")
    name, ours = f"leuko{os.getpid() % 100_000}", f"lk{os.getpid() % 100_000}a"
    third = os.getpid() % 250 + 1
    with ExitStack() as stack:

        def ip(*words: str) -> None:
            done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"this machine makes no network namespace: {done.stderr.strip()}")

        ip("netns", "add", name)
        stack.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
        ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"10.213.{third}.1/24", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", f"10.213.{third}.2/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        yield name, ours, f"10.213.{third}.2"


@contextmanager
def mosquitto_in(name: str, host: str, folder: Path) -> Iterator[int]:
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed (Debian, Ubuntu: apt install mosquitto)")
    port, configuration = free_port(), folder / "mosquitto.conf"
    configuration.write_text(f"listener {port} {host}\nallow_anonymous true\nuser root\n")
    daemon = subprocess.Popen(
        ["ip", "netns", "exec", name, program, "-c", str(configuration)], stderr=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        daemon.terminate()
        daemon.wait()


def test_a_network_that_is_cut_and_comes_back(bench: Bench, tmp_path: Path) -> None:
    def cable(state: str) -> None:
        subprocess.run(["ip", "link", "set", ours, state], check=True)

    with namespace() as (name, ours, host), mosquitto_in(name, host, tmp_path) as port:
        bench.publish(port, host, answer_timeout_s=1.0, connect_timeout_s=1.0)
        eventually(lambda: bench.publisher.status.broker == "connected")
        with bench.collecting(port, host):
            bench.append(10)
            eventually(bench.all_left)
            cable("down")
            longest_s = 0.0
            for _ in range(20):
                began_s = time.monotonic()
                bench.append(1)
                longest_s = max(longest_s, time.monotonic() - began_s)
            eventually(lambda: bench.publisher.status.broker == "disconnected")
            assert bench.outbox.statistics().records == 20
            cable("up")
            bench.check()
    assert longest_s < 1.0, "an append waited for the network"
