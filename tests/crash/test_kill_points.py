"""A station killed with SIGKILL before and after each named step of record, publish, acknowledge and delete.

Real mosquitto, real collector. One station after the other lives on the same outbox, each dies where it is
told to, and the next finds what was left. At the end the collector has every record that a person was told
of, none twice, every boot's sequence without a gap.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edge.broker import Mosquitto
from fleet.queries import open_queries
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.crash, pytest.mark.broker, pytest.mark.timeout(300)]
DRIVER = Path(__file__).with_name("step_driver.py")
COLLECT = "from fleet.cli import main; main()"
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, not a place to guess names in
OPERATIONS = ("open", "record", "publish", "acknowledge", "delete", "close")
MOMENTS = ("before", "after")


class Chain:
    """The stations' driver, the broker, the collector, and what they leave behind."""

    def __init__(self, *, place: Path, broker: Mosquitto, stack: ExitStack) -> None:
        self.broker = broker
        self.killed: Counter[str] = Counter()
        self.not_reached: list[dict[str, Any]] = []
        self._place = place
        self._stack = stack
        self._faults = place / "faults"
        self._collector: subprocess.Popen[bytes] | None = None
        self.start_collector()
        self._driver = stack.enter_context(
            subprocess.Popen(
                [sys.executable, str(DRIVER), str(place), str(broker.port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(self._faults.open("w")),
                text=True,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )
        )
        stack.callback(self._driver.kill)

    def start_collector(self) -> None:
        address = f"{self.broker.host}:{self.broker.port}"
        arguments = ["collect", "--broker", address, "--database", str(self._place / "fleet.sqlite3")]
        self._collector = self._stack.enter_context(
            subprocess.Popen([sys.executable, "-c", COLLECT, *arguments], stderr=subprocess.DEVNULL)
        )
        self._stack.callback(self._collector.kill)

    def kill_collector(self) -> None:
        assert self._collector is not None
        self._collector.kill()
        self._collector.wait()

    def live(
        self, *, records: bool = True, small: bool = False, deliver: bool = True, **case: Any
    ) -> dict[str, Any]:
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(
            json.dumps({"records": records, "small": small, "deliver": deliver, **case}) + "\n"
        )
        self._driver.stdin.flush()
        answer = json.loads(self._driver.stdout.readline())
        if not case:
            assert answer["status"] == 0, self._faults.read_text()
        elif os.WIFSIGNALED(answer["status"]):
            assert os.WTERMSIG(answer["status"]) == signal.SIGKILL
            self.killed[case["point"].partition(":")[0]] += 1
        else:
            assert answer["status"] == 0, self._faults.read_text()
            self.not_reached.append(case)
        return answer

    def points(self) -> list[str]:
        """The steps of an undisturbed life that every such operation takes, whatever the log's length."""
        seen: dict[str, list[set[str]]] = defaultdict(list)
        order: dict[str, None] = {}
        for _ in range(2):
            for names in self.live()["steps"]:
                order |= dict.fromkeys(names)
                for operation in OPERATIONS:
                    of_it = {name for name in names if name.startswith(f"{operation}: ")}
                    if of_it and operation != "publish":
                        seen[operation].append(of_it)
        usual = {name for sets in seen.values() for name in set.intersection(*sets)}
        return [name for name in order if name in usual or name.startswith("publish: ")]

    def check(self, *, discards: bool = False) -> tuple[int, int, int]:
        """Let a last station send what is left, then look at everything; records told of and collected.

        Where records had to be given up, one that says so stands for each.
        """
        self.live(records=False)
        assert self._faults.read_text() == ""
        told = [tuple(map(int, line.split())) for line in (self._place / "told").read_text().splitlines()]
        assert len(set(told)) == len(told), "a key was given twice"
        with open_queries(self._place / "fleet.sqlite3") as queries:
            collected = [(key.boot, key.sequence) for key in queries.keys()]  # noqa: SIM118 - not a mapping
            (station,) = queries.stations()
            assert queries.rejected() == ()
        assert len(set(collected)) == len(collected)
        assert sorted(set(told) - set(collected)) == [], "a record that a person was told of is lost"
        boots: dict[int, list[int]] = defaultdict(list)
        for boot, sequence in collected:
            boots[boot].append(sequence)
        for boot, sequences in boots.items():
            assert sequences == list(range(1, len(sequences) + 1)), f"boot {boot} has a gap"
        assert (station.conflicts, station.missing, station.discarded > 0) == (0, 0, discards)
        return len(told), len(collected), station.discarded


@pytest.fixture
def chain(mosquitto: Mosquitto) -> Iterator[Chain]:
    """In memory where there is some: SIGKILL loses nothing of the page cache, so no disk is waited for."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as place, ExitStack() as stack:
        yield Chain(place=Path(place), broker=mosquitto, stack=stack)


def told(chain: Chain, what: str, *, discards: bool = False) -> str:
    saved, collected, given_up = chain.check(discards=discards)
    by_operation = ", ".join(f"{count} {name}" for name, count in chain.killed.items())
    return (
        f"{what}: {sum(chain.killed.values())} stations killed ({by_operation}), {len(chain.not_reached)} "
        f"points not reached; {saved} records told of, {collected} collected, {given_up} of "
        "them given up by the station and told so, 0 lost, 0 doubled"
    )


def thinned(points: list[str], *, every: int) -> list[str]:
    """All steps; but of an operation's writes the first two, and of those behind them one in ``every``."""
    kept, writes = [], Counter[str]()
    for point in points:
        operation = point.partition(": ")[0]
        if ": write " in point:
            writes[operation] += 1
            if writes[operation] > 2 and writes[operation] % every:
                continue
        kept.append(point)
    return kept


def times(point: str) -> tuple[int, ...]:
    """In the how-manieth such operations of a life the step is there."""
    return (1,) if point.startswith(("open", "close")) or "state" in point else (1, 2, 3)


def test_a_station_killed_at_any_step_loses_nothing(chain: Chain) -> None:
    points = thinned(chain.points(), every=4)
    for operation in OPERATIONS[:-1]:
        assert any(point.startswith(f"{operation}: ") for point in points), operation
    for point in points:
        # Of what is done several times in a life, the second; it has a predecessor and a successor.
        for when in MOMENTS:
            chain.live(point=point, time=times(point)[:2][-1], when=when)
    print(told(chain, f"{len(points)} steps, before and after"))
    assert sum(chain.killed.values()) >= 1.8 * len(points)


def kill_in_pairs(chain: Chain, *, seeds: range) -> None:
    points = chain.points()
    for seed in seeds:
        chance = random.Random(seed)
        for _ in range(2):
            point = chance.choice(points)
            chain.live(point=point, time=chance.choice(times(point)), when=chance.choice(MOMENTS))
        # Now and then those beyond the network die as well, in the same moment.
        if chance.random() < 0.15:
            chain.broker.kill()
            chain.broker.start()
        if chance.random() < 0.04:
            chain.kill_collector()
            chain.start_collector()


def test_stations_killed_in_pairs_lose_nothing(chain: Chain) -> None:
    kill_in_pairs(chain, seeds=range(40))
    print(told(chain, "40 pairs"))
    assert sum(chain.killed.values()) > 50


def test_a_station_that_must_give_records_up_says_so_wherever_it_dies(chain: Chain) -> None:
    points = [point for point in chain.points() if point.startswith("record: ")]
    chain.kill_collector()
    for point in points:
        for when in MOMENTS:
            chain.live(point=point, time=4, when=when, small=True, deliver=False)
    # Now each append gives up an older record, in the same transaction.
    for point in points:
        for when in MOMENTS:
            chain.live(point=point, time=2, when=when, small=True, deliver=False)
    chain.start_collector()
    print(told(chain, f"{len(points)} steps of a full outbox, before and after", discards=True))
    assert sum(chain.killed.values()) > 3 * len(points)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_every_single_step_and_a_thousand_pairs_lose_nothing(chain: Chain) -> None:
    points = chain.points()
    for point in points:
        for time in times(point):
            for when in MOMENTS:
                chain.live(point=point, time=time, when=when)
    kill_in_pairs(chain, seeds=range(1000, 2000))
    print(told(chain, f"{len(points)} steps, three times each, and 1000 pairs"))
