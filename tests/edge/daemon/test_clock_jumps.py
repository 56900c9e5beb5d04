"""The wall clock jumps by a year, either way: order, intervals, ages and the health's cadence stay."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest

from benchmarks.scripted_station import DEADLINE_S, Bench, Script, Smear, draw_pictures

YEAR = timedelta(days=365)


class WallClock:
    """This machine's time, and whatever somebody has made of it."""

    def __init__(self):
        self.offset = timedelta(0)
        self.state = "synchronised"

    def __call__(self):
        return datetime.now(timezone.utc) + self.offset


@pytest.fixture(scope="module", autouse=True)
def pictures():
    Smear.pictures = draw_pictures()


@pytest.fixture
def wall():
    return WallClock()


@pytest.mark.parametrize("jump", [-YEAR, YEAR], ids=["back", "forward"])
def test_records_keep_their_order_and_say_what_the_clock_was_worth(tmp_path, wall, jump):
    begun_s = time.monotonic()
    station = Bench(tmp_path, Script("good"), Smear, now=wall, clock=lambda: wall.state)
    with contextlib.ExitStack() as stack:
        stack.push(station.stack)
        station.until(lambda: station.health.fields >= 3, "fields before the jump")
        uptime_s = station.health.uptime_s
        wall.offset, wall.state = jump, "unsynchronised"
        before = station.health.fields
        station.until(lambda: station.health.fields >= before + 5, "fields after the jump")
        health, fields = station.health, station.fields()
        station.until(lambda: station.health.clock == "unsynchronised", "the clock's state")

        assert [each.stamp.key.sequence for each in fields] == sorted(
            each.stamp.key.sequence for each in fields
        )
        assert [each.field for each in fields] == list(range(1, len(fields) + 1))
        times = [each.stamp.recorded_at for each in fields]
        steps = [after - before for before, after in pairwise(times)]
        (jumped,) = [step for step in steps if abs(step) > YEAR / 2]
        assert abs(jumped - jump) < timedelta(seconds=DEADLINE_S)
        assert fields[0].stamp.clock == "synchronised"
        assert {each.stamp.clock for each in fields} <= {"synchronised", "unsynchronised"}

        elapsed_s = time.monotonic() - begun_s
        assert uptime_s < health.uptime_s < elapsed_s
        assert 0 <= health.outbox_oldest_s < elapsed_s
        assert health.latencies["frame_to_record"].p99_ms < elapsed_s * 1000
        assert (health.discarded, health.restarts, health.degraded) == (0, {}, ())
        assert len(station.outbox.pending(limit=1000)) == station.outbox.last_sequence, "nothing grew too old"


@pytest.mark.parametrize("jump", [-YEAR, YEAR], ids=["back", "forward"])
def test_health_keeps_its_cadence(tmp_path, wall, jump, monkeypatch):
    now_s = [1000.0]
    station = Bench(tmp_path, Script("good"), Smear, now=wall, monotonic_s=lambda: now_s[0])
    seen_s = []
    monkeypatch.setattr(station.outbox, "enforce_limits", lambda: seen_s.append(now_s[0] - 1000.0))
    with contextlib.ExitStack() as stack:
        stack.push(station.stack)
        for second in range(31):
            now_s[0] = 1000.0 + second
            if second == 14:
                wall.offset = jump
            station.station.tick()
    assert seen_s == [0.0, 10.0, 20.0, 30.0]
