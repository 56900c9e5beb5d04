from __future__ import annotations

import threading

import pytest

from trainer.prefetch import prefetched, prepared


def test_items_come_in_their_order():
    assert list(prefetched(range(50), depth=3)) == list(range(50))


def test_an_error_in_drawing_comes_where_the_item_would_have():
    def items():
        yield 1
        raise ValueError("no picture")

    drawn = prefetched(items())
    assert next(drawn) == 1
    with pytest.raises(ValueError, match="no picture"):
        next(drawn)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    drawn = prefetched(iter(int, 1), depth=2)
    next(drawn)
    drawn.close()
    assert threading.active_count() == before


def test_threads_make_items_side_by_side_and_give_them_in_order():
    both = threading.Barrier(2, timeout=20)

    def make(number: int) -> int:
        both.wait()  # breaks unless two threads are here at once
        return number * number

    assert list(prepared(range(6), make, workers=2)) == [0, 1, 4, 9, 16, 25]


def test_no_more_is_made_ahead_than_asked_for():
    asked = []

    def jobs():
        for number in range(50):
            asked.append(number)
            yield number

    made = prepared(jobs(), lambda number: number, workers=2, ahead=3)
    assert next(made) == 0
    assert len(asked) == 5
    made.close()


def test_an_error_in_making_comes_where_the_item_would_have():
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("no picture")
        return number

    drawn = prepared(range(5), make, workers=2)
    assert [next(drawn), next(drawn)] == [0, 1]
    with pytest.raises(ValueError, match="no picture"):
        next(drawn)


def test_leaving_early_ends_the_threads():
    before = threading.active_count()
    drawn = prepared(range(10**9), lambda number: number, workers=3)
    next(drawn)
    drawn.close()
    assert threading.active_count() == before
