from __future__ import annotations

from edge.outbox.position import Position
from edge.outbox.retention import EARLIEST_PLAUSIBLE_S, Held, age_s, clock_step_s, to_discard
from edge.outbox.settings import OutboxLimits

NOW_S = EARLIEST_PLAUSIBLE_S + 1_000_000
MIB = 1024 * 1024
LIMITS = OutboxLimits(max_bytes=MIB, max_age_s=3600)


def held(*records: tuple[int, float]) -> list[Held]:
    return [
        Held(position=Position(1, number), size_bytes=size_bytes, appended_s=NOW_S - age)
        for number, (size_bytes, age) in enumerate(records, start=1)
    ]


def decide(records: list[Held]) -> list[tuple[int, str]]:
    decisions = to_discard(
        records,
        total_bytes=sum(each.size_bytes for each in records),
        newest=records[-1].position,
        limits=LIMITS,
        now_s=NOW_S,
    )
    return [(each.position.sequence, each.reason) for each in decisions]


def test_within_the_limits_nothing_goes() -> None:
    assert decide(held((MIB // 2, 3600), (MIB // 2, 0))) == []


def test_age_goes_first_then_bytes_and_no_more_than_needed() -> None:
    records = held((1000, 3601), (MIB, 100), (MIB // 2, 50), (1000, 0))
    assert decide(records) == [(1, "outbox_age"), (2, "outbox_bytes")]


def test_the_newest_stays() -> None:
    assert decide(held((5 * MIB, 9999))) == []
    assert decide(held((5 * MIB, 9), (5 * MIB, 0))) == [(1, "outbox_bytes")]


def test_what_would_not_shrink_is_passed_over() -> None:
    assert decide(held((300, 9), (MIB, 5), (300, 0))) == [(2, "outbox_bytes")]


def test_an_impossible_time_has_no_age() -> None:
    assert age_s(1000.0, NOW_S) is None
    assert age_s(NOW_S + 5, NOW_S) is None
    assert age_s(NOW_S - 5, NOW_S) == 5


def test_drift_is_no_step() -> None:
    assert clock_step_s(expected_s=1000, now_s=1030) == 0
    assert clock_step_s(expected_s=1000, now_s=9000) == 8000
    assert clock_step_s(expected_s=9000, now_s=1000) == -8000
