"""Real processes, killed with SIGKILL at random moments: station, broker and collector.

Afterwards the collector's database holds every record whose append had returned, none twice, and every
boot's sequence without a gap.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from edge.broker import Mosquitto
from fleet.queries import open_queries

pytestmark = [pytest.mark.crash, pytest.mark.broker]
TIMEOUT_S = 60
DRIVER = Path(__file__).with_name("driver.py")
COLLECT = "from fleet.cli import main; main()"


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.02)


class Chain:
    """The three processes and what they leave behind."""

    def __init__(self, *, folder: Path, broker: Mosquitto, stack: ExitStack) -> None:
        self.broker = broker
        self._database = folder / "fleet.sqlite3"
        self._log = folder / "appended"
        self._stack = stack
        self._collector: subprocess.Popen[bytes] | None = None
        self._driver = stack.enter_context(
            subprocess.Popen(
                [
                    sys.executable,
                    str(DRIVER),
                    str(folder / "outbox.sqlite3"),
                    str(self._log),
                    str(broker.port),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(self._driver.kill)
        self._station = 0

    def start_collector(self) -> None:
        address = f"{self.broker.host}:{self.broker.port}"
        arguments = ["collect", "--broker", address, "--database", str(self._database)]
        self._collector = self._stack.enter_context(
            subprocess.Popen([sys.executable, "-c", COLLECT, *arguments], stderr=subprocess.DEVNULL)
        )
        self._stack.callback(self._collector.kill)

    def kill_collector(self) -> None:
        assert self._collector is not None
        self._collector.kill()
        self._collector.wait()

    def start_station(self, order: str = "fill") -> None:
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(order + "\n")
        self._driver.stdin.flush()
        self._station = int(self._driver.stdout.readline())

    def station_status(self) -> int:
        assert self._driver.stdout is not None
        return int(self._driver.stdout.readline())

    def kill_station(self) -> None:
        os.kill(self._station, signal.SIGKILL)
        assert self.station_status() == signal.SIGKILL

    def drain(self) -> None:
        """Let a last station send all that the killed ones left."""
        self.start_station("drain")
        assert self.station_status() == 0

    def appended(self) -> list[tuple[int, int]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(int(boot), int(sequence)) for boot, sequence in map(str.split, lines)]

    def appended_count(self) -> int:
        """Cheap, so that waiting for it does not keep the processes from their work."""
        return self._log.read_bytes().count(b"\n") if self._log.exists() else 0

    def collected_count(self) -> int:
        if not self._database.exists():
            return 0
        with closing(sqlite3.connect(self._database, timeout=TIMEOUT_S)) as database:
            made = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'records'").fetchone()
            return int(database.execute("SELECT COUNT(*) FROM records").fetchone()[0]) if made else 0

    def collected(self) -> list[tuple[int, int]]:
        with open_queries(self._database) as queries:
            return [(key.boot, key.sequence) for key in queries.keys()]  # noqa: SIM118 - not a mapping

    def check(self) -> None:
        appended, collected = self.appended(), self.collected()
        assert len(set(appended)) == len(appended), "a key was given twice"
        assert set(appended) <= set(collected), "an appended record is lost"
        boots: dict[int, list[int]] = defaultdict(list)
        for boot, sequence in collected:
            boots[boot].append(sequence)
        for boot, sequences in boots.items():
            assert sequences == list(range(1, len(sequences) + 1)), f"boot {boot} has a gap"
        with open_queries(self._database) as queries:
            (station,) = queries.stations()
            assert (station.conflicts, station.missing, station.discarded) == (0, 0, 0)
            assert queries.rejected() == ()


@pytest.fixture
def chain(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Chain]:
    with ExitStack() as stack:
        yield Chain(folder=tmp_path, broker=mosquitto, stack=stack)


def wait_a_random_moment(chance: random.Random, *, longest_s: float) -> None:
    threading.Event().wait(chance.uniform(0, longest_s))


def kill_stations(chain: Chain, *, times: int, chance: random.Random) -> None:
    for number in range(times):
        before = chain.appended_count()
        chain.start_station()
        # Every third one may die at any moment, also while it opens its outbox.
        if number % 3:
            eventually(lambda before=before: chain.appended_count() > before)
        wait_a_random_moment(chance, longest_s=0.25)
        chain.kill_station()


def test_a_station_killed_again_and_again_loses_nothing(chain: Chain) -> None:
    chain.start_collector()
    kill_stations(chain, times=30, chance=random.Random(1))
    chain.drain()
    assert len(chain.appended()) > 100
    chain.check()


def test_a_broker_killed_in_mid_run_loses_nothing(chain: Chain) -> None:
    chance = random.Random(2)
    chain.start_collector()
    chain.start_station()
    for _ in range(3):
        before = chain.collected_count()
        eventually(lambda before=before: chain.collected_count() > before + 20)
        wait_a_random_moment(chance, longest_s=0.2)
        chain.broker.kill()
        before = chain.appended_count()
        eventually(lambda before=before: chain.appended_count() > before + 20)
        chain.broker.start()
    chain.kill_station()
    chain.drain()
    chain.check()


def test_a_collector_killed_in_mid_run_loses_nothing(chain: Chain) -> None:
    chance = random.Random(3)
    chain.start_station()
    for _ in range(3):
        chain.start_collector()
        before = chain.collected_count()
        eventually(lambda before=before: chain.collected_count() > before + 20)
        wait_a_random_moment(chance, longest_s=0.2)
        chain.kill_collector()
    chain.kill_station()
    chain.start_collector()
    chain.drain()
    chain.check()


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_everything_killed_for_minutes_loses_nothing(chain: Chain) -> None:
    chance = random.Random(4)
    for _ in range(20):
        chain.start_collector()
        kill_stations(chain, times=15, chance=chance)
        chain.broker.kill()
        kill_stations(chain, times=5, chance=chance)
        chain.broker.start()
        kill_stations(chain, times=5, chance=chance)
        chain.kill_collector()
    chain.start_collector()
    chain.drain()
    chain.check()
