"""Publishers take over from one another, and what one before still does is ignored."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from edge.contract.orders import Command
from edge.daemon.publishing import PUBLISHING, Publishing
from edge.daemon.timing import StageClock
from edge.errors import BrokerError
from edge.outbox.publisher import PublisherStatus

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
COMMAND = Command(id="0" * 8, command="report_health", expires_at=NOW)


class FakePublisher:
    """As the station's publisher has it, without a broker; it may be stuck."""

    def __init__(self, obey, note_round):
        self.obey, self.note_round = obey, note_round
        self.running = False
        self.abandoned = False
        self.status = PublisherStatus(broker="connected")

    def start(self):
        self.running = True

    def stop(self, _timeout_s):
        self.running = False

    def abandon(self):
        self.abandoned = True


class Bench:
    def __init__(self):
        self.made, self.obeyed = [], []
        self.now_s = 100.0
        self.clock = StageClock(monotonic_s=lambda: self.now_s)
        self.publishing = Publishing(
            make=self._make, obey=self.obeyed.append, clock=self.clock, silence_s=5.0
        )

    def _make(self, obey, note_round):
        self.made.append(FakePublisher(obey, note_round))
        return self.made[-1]


@pytest.fixture
def bench():
    return Bench()


def test_silence_is_counted_from_the_start_and_from_each_round(bench):
    assert bench.publishing.silent_s is None
    bench.publishing.start()
    bench.now_s += 7
    assert bench.publishing.silent_s == 7
    bench.made[0].note_round()
    assert bench.publishing.silent_s == 0
    assert bench.clock.passes(PUBLISHING) == 1
    bench.publishing.stop(1)
    assert bench.publishing.silent_s is None


def test_another_publisher_takes_over_and_the_stuck_one_is_not_heard_any_more(bench):
    bench.publishing.start()
    bench.publishing.restart("no progress for 70 s")
    stuck, fresh = bench.made
    assert (stuck.abandoned, fresh.running) == (True, True)
    assert bench.publishing.left_behind == 1
    bench.now_s += 3
    stuck.note_round()
    assert bench.publishing.silent_s == 3
    with pytest.raises(BrokerError, match="given up"):
        stuck.obey(COMMAND)
    fresh.obey(COMMAND)
    assert bench.obeyed == [COMMAND]
    stuck.running = False
    assert bench.publishing.left_behind == 0


def test_a_publisher_whose_thread_has_ended_is_at_fault(bench):
    assert bench.publishing.fault == ""
    bench.publishing.start()
    assert bench.publishing.fault == ""
    bench.made[0].running = False
    assert bench.publishing.fault == "its thread has ended"


def test_without_publishing_the_broker_is_away_and_nothing_more_is_owed(bench):
    bench.publishing.start()
    assert bench.publishing.broker == "connected"
    bench.publishing.give_up("five restarts")
    assert bench.made[0].abandoned
    assert (bench.publishing.broker, bench.publishing.fault) == ("disconnected", "")
    assert bench.publishing.silent_s is None
