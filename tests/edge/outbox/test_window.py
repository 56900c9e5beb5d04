from __future__ import annotations

import pytest

from edge.outbox.position import Position
from edge.outbox.window import Window


@pytest.fixture
def window() -> Window:
    return Window(size=3, timeout_s=10, timeout_max_s=35)


def send(window: Window, *sequences: int, boot: int = 1, now_s: float = 0) -> None:
    for sequence in sequences:
        window.sent(Position(boot, sequence), now_s=now_s)


def test_room_shrinks_and_grows(window: Window) -> None:
    send(window, 1, 2, 3)
    assert (window.room, window.cursor) == (0, (1, 3))
    window.acknowledged(boot=1, sequence=2, now_s=1)
    assert (window.room, window.cursor) == (2, (1, 3))


def test_an_acknowledgement_counts_for_its_boot_alone(window: Window) -> None:
    send(window, 7)
    send(window, 1, 2, boot=2)
    window.acknowledged(boot=2, sequence=9, now_s=1)
    assert window.room == 2
    window.acknowledged(boot=1, sequence=6, now_s=1)
    assert window.room == 2


def test_progress_moves_the_deadline_and_completion_lifts_it(window: Window) -> None:
    assert window.deadline_s is None
    send(window, 1, 2, now_s=5)
    assert window.deadline_s == 15
    window.delivered([Position(1, 1), Position(9, 9)], now_s=8)
    assert window.deadline_s == 18
    window.delivered([Position(1, 2)], now_s=9)
    assert window.deadline_s is None


def test_without_progress_it_goes_back_after_ever_longer_waits(window: Window) -> None:
    now_s, waits = 0.0, []
    for _ in range(4):
        send(window, 1, 2, now_s=now_s)
        assert window.deadline_s is not None
        waits.append(window.deadline_s - now_s)
        assert not window.go_back_if_overdue(newest=Position(1, 2), now_s=window.deadline_s - 0.1)
        now_s = window.deadline_s
        assert window.go_back_if_overdue(newest=Position(1, 2), now_s=now_s)
        assert (window.cursor, window.room, window.deadline_s) == ((0, 0), 3, None)
    assert waits == [10, 20, 35, 35]
    send(window, 1, now_s=now_s)
    window.acknowledged(boot=1, sequence=1, now_s=now_s)
    send(window, 2, now_s=now_s)
    assert window.deadline_s == now_s + 10


def test_a_new_connection_begins_from_the_oldest(window: Window) -> None:
    send(window, 1, 2, 3)
    window.connected(newest=Position(1, 3))
    assert (window.cursor, window.room, window.deadline_s) == ((0, 0), 3, None)


def test_nothing_goes_ahead_before_the_far_end_has_answered(window: Window) -> None:
    window.connected(newest=Position(1, 9))
    send(window, 1, 2)
    assert (window.room_ahead, window.ahead_cursor) == (0, (1, 9))
    window.acknowledged(boot=1, sequence=1, now_s=1)
    assert window.room_ahead == 3


def test_what_went_ahead_is_not_sent_again_in_its_turn(window: Window) -> None:
    window.connected(newest=Position(1, 4))
    send(window, 1, 2)
    window.acknowledged(boot=1, sequence=2, now_s=1)
    window.sent_ahead(Position(1, 5), now_s=1)
    window.sent_ahead(Position(1, 6), now_s=1)
    assert (window.room_ahead, window.room, window.ahead_cursor) == (1, 3, (1, 6))
    assert [window.is_backlog(Position(1, each)) for each in (4, 5)] == [True, False]
    send(window, 3, 4)
    assert [window.was_sent_ahead(Position(1, each)) for each in (4, 5, 6, 7)] == [False, True, True, False]
    window.acknowledged(boot=1, sequence=6, now_s=2)
    assert not window.was_sent_ahead(Position(1, 6))
    assert window.deadline_s is None


def test_beyond_its_measure_nothing_goes_ahead_of_one_who_does_not_answer(window: Window) -> None:
    window.connected(newest=Position(1, 9))
    send(window, 1)
    window.acknowledged(boot=1, sequence=1, now_s=0)
    for sequence in (10, 11, 12):
        window.sent_ahead(Position(1, sequence), now_s=0)
    assert window.room_ahead == 0
    assert window.go_back_if_overdue(newest=Position(1, 20), now_s=10)
    assert (window.room_ahead, window.cursor, window.ahead_cursor) == (0, (0, 0), (1, 20))
    assert window.is_backlog(Position(1, 12))


def test_without_a_backlog_there_is_nothing_to_be_ahead_of(window: Window) -> None:
    window.connected(newest=Position(2, 0))
    send(window, 1, boot=2)
    window.acknowledged(boot=2, sequence=1, now_s=0)
    assert window.room_ahead == 0
