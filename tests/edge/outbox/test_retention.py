from __future__ import annotations

from edge.outbox.position import Position
from edge.outbox.retention import EARLIEST_PLAUSIBLE_S, Held, age_s, clock_step_s, too_many_bytes, too_old
from edge.outbox.settings import OutboxLimits

NOW_S = EARLIEST_PLAUSIBLE_S + 1_000_000
MIB = 1024 * 1024
LIMITS = OutboxLimits(max_bytes=MIB, max_age_s=3600)


def held(*records: tuple[int, float]) -> list[Held]:
    return [
        Held(position=Position(1, number), size_bytes=size_bytes, appended_s=NOW_S - age)
        for number, (size_bytes, age) in enumerate(records, start=1)
    ]


def old(records: list[Held]) -> list[int]:
    decisions = too_old(records, newest=records[-1].position, limits=LIMITS, now_s=NOW_S)
    assert {each.reason for each in decisions} <= {"outbox_age"}
    return [each.position.sequence for each in decisions]


def large(records: list[Held], newest: Position | None = None) -> list[int]:
    decisions = too_many_bytes(
        records,
        total_bytes=sum(each.size_bytes for each in records),
        newest=newest or records[-1].position,
        limits=LIMITS,
    )
    assert {each.reason for each in decisions} <= {"outbox_bytes"}
    return [each.position.sequence for each in decisions]


def test_within_the_limits_nothing_goes() -> None:
    records = held((MIB // 2, 3600), (MIB // 2, 0))
    assert (old(records), large(records)) == ([], [])


def test_what_is_too_old_goes_up_to_the_first_that_is_not() -> None:
    assert old(held((1000, 3601), (MIB, 3700), (10, 50), (1000, 9999), (1000, 0))) == [1, 2]


def test_no_more_goes_than_needed() -> None:
    assert large(held((MIB, 100), (MIB // 2, 50), (1000, 0))) == [1]


def test_the_newest_stays_wherever_it_stands() -> None:
    assert old(held((5 * MIB, 9999))) == []
    assert large(held((5 * MIB, 9))) == []
    assert large(held((5 * MIB, 9), (5 * MIB, 0)), newest=Position(1, 1)) == [2]


def test_what_would_not_shrink_is_passed_over() -> None:
    assert large(held((300, 9), (MIB, 5), (300, 0))) == [2]


def test_an_impossible_time_has_no_age() -> None:
    assert age_s(1000.0, NOW_S) is None
    assert age_s(NOW_S + 5, NOW_S) is None
    assert age_s(NOW_S - 5, NOW_S) == 5


def test_drift_is_no_step() -> None:
    assert clock_step_s(expected_s=1000, now_s=1030) == 0
    assert clock_step_s(expected_s=1000, now_s=9000) == 8000
    assert clock_step_s(expected_s=9000, now_s=1000) == -8000
