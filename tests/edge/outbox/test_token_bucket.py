from __future__ import annotations

from edge.outbox.token_bucket import TokenBucket


def test_it_begins_full_and_fills_evenly() -> None:
    bucket = TokenBucket(per_s=2, capacity=3, now_s=100)
    assert [bucket.take(now_s=100) for _ in range(4)] == [True, True, True, False]
    assert bucket.full_enough_in_s(1, now_s=100) == 0.5
    assert not bucket.take(now_s=100.4)
    assert bucket.take(now_s=100.5)
    assert bucket.available(now_s=101.5) == 2
    assert bucket.available(now_s=10_000) == 3


def test_nobody_waits_for_more_than_it_can_hold() -> None:
    bucket = TokenBucket(per_s=2, capacity=3, now_s=0)
    for _ in range(3):
        bucket.take(now_s=0)
    assert bucket.full_enough_in_s(50, now_s=0) == 1.5


def test_one_that_never_fills_says_so_and_a_clock_that_stands_back_takes_nothing() -> None:
    empty = TokenBucket(per_s=0, capacity=0, now_s=5)
    assert not empty.take(now_s=9)
    assert TokenBucket(per_s=0, capacity=1, now_s=5).take(now_s=1)
