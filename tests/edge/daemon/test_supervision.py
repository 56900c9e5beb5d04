"""The supervisor acts on what the rules say, and tells people of it."""

from __future__ import annotations

import pytest

from edge.daemon.problems import Problems
from edge.daemon.supervision import Part, Supervisor
from edge.daemon.supervision_rules import MOST_LEFT_BEHIND, Patience
from edge.errors import BrokerError


class FakePart:
    """A part by script; it may refuse to begin anew."""

    def __init__(self, name="analysis", *, refuses=False):
        self.name, self.refuses = name, refuses
        self.silent_s, self.passes, self.fault, self.left_behind = 0.0, 0, "", 0
        self.restarted, self.given_up = [], []

    def part(self):
        return Part(
            name=self.name,
            lost="Cells are no longer found",
            limit_s=lambda: 10.0,
            silent_s=lambda: self.silent_s,
            passes=lambda: self.passes,
            fault=lambda: self.fault,
            restart=self._restart,
            give_up=self.given_up.append,
            left_behind=lambda: self.left_behind,
        )

    def _restart(self, reason):
        self.restarted.append(reason)
        if self.refuses:
            raise BrokerError("The certificate is gone.")


class Bench:
    def __init__(self, *fakes):
        self.now_s = 100.0
        self.degraded = []
        self.problems = Problems()
        self.supervisor = Supervisor(
            parts=[fake.part() for fake in fakes],
            patience=Patience(restarts=5, within_s=60.0),
            problems=self.problems,
            monotonic_s=lambda: self.now_s,
            on_degraded=lambda: self.degraded.append(self.supervisor.degraded),
        )

    def look(self, times=1, *, every_s=1.0):
        for _ in range(times):
            self.now_s += every_s
            self.supervisor.tick()


@pytest.fixture
def fake():
    return FakePart()


def test_a_stuck_part_is_begun_anew_with_the_reason_and_counted(fake):
    bench = Bench(fake)
    bench.look()
    fake.silent_s = 12.0
    bench.look()
    assert fake.restarted == ["no progress for 12 s"]
    assert bench.supervisor.restarts == {"analysis": 1}
    assert bench.supervisor.degraded == ()


def test_a_part_that_stays_stuck_is_given_up_and_the_other_parts_are_left_alone(fake):
    other = FakePart("publishing")
    bench = Bench(fake, other)
    fake.silent_s = 11.0
    bench.look(20, every_s=11.0)
    assert len(fake.restarted) == 5
    assert fake.given_up == ["no progress for 11 s"]
    assert bench.supervisor.degraded == ("analysis",)
    assert bench.degraded == [("analysis",)]
    assert bench.supervisor.why_degraded("analysis") == "no progress for 11 s"
    assert (other.restarted, other.given_up) == ([], [])
    (told,) = bench.problems.standing()
    assert told == "Cells are no longer found (no progress for 11 s). Restart the station; see its log."


def test_a_restart_that_fails_counts_as_one(fake):
    fake.refuses, fake.fault = True, "it broke"
    bench = Bench(fake)
    bench.look(60)
    assert len(fake.restarted) == 5
    assert fake.given_up == ["it broke"]


def test_too_many_stuck_threads_are_beyond_mending(fake):
    bench = Bench(fake)
    fake.left_behind = MOST_LEFT_BEHIND
    bench.look()
    assert not bench.supervisor.beyond_mending
    fake.left_behind += 1
    bench.look()
    assert bench.supervisor.beyond_mending
    assert bench.problems.standing() == ("17 threads are stuck: the station has to be restarted.",)
