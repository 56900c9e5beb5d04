from __future__ import annotations

import threading

import pytest

from trainer.prefetch import prefetched


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
