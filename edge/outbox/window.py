"""Which records are under way, and when to send them again. Pure: time is told, nothing is sent here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edge.outbox.position import Position

_NOTHING_SENT: Final = Position(0, 0)
_MOST_AHEAD: Final = 10_000


class Window:
    """A bounded go-back-n window over the outbox's key order, with a lane beside it for what is new.

    When nothing is acknowledged in time, everything unacknowledged counts as lost and is sent again from
    the oldest on; the wait doubles each time, so that a broker that queues for an absent collector is not
    filled with copies.

    Behind a backlog the records of now would come last. So while a backlog is under way and the far end
    answers, what is appended meanwhile is sent ahead, once. The far end commits it and goes on acknowledging
    in order; when the order comes to it, it need not be sent again.
    """

    def __init__(self, *, size: int, timeout_s: float, timeout_max_s: float) -> None:
        self._size = size
        self._timeout_s = timeout_s
        self._timeout_max_s = timeout_max_s
        self._wait_s = timeout_s
        self._under_way: dict[Position, None] = {}
        self._cursor = _NOTHING_SENT
        self._backlog_end = _NOTHING_SENT
        self._ahead: dict[Position, None] = {}
        self._ahead_cursor = _NOTHING_SENT
        self._ahead_allowed = 0
        self._deadline_s: float | None = None

    @property
    def cursor(self) -> Position:
        """The last record in key order that was sent; the next ones lie behind it."""
        return self._cursor

    @property
    def ahead_cursor(self) -> Position:
        """The last record that was sent ahead, or else the last of the backlog."""
        return self._ahead_cursor

    @property
    def room(self) -> int:
        """How many more may be sent now in key order."""
        return self._size - len(self._under_way)

    @property
    def room_ahead(self) -> int:
        """How many more may be sent ahead now; none where there is no backlog to be ahead of."""
        return self._ahead_allowed if self._cursor < self._ahead_cursor else 0

    @property
    def deadline_s(self) -> float | None:
        """When what is under way counts as lost; None while nothing is."""
        return self._deadline_s

    def connected(self, *, newest: Position) -> None:
        """Begin from the oldest: what was under way in the last connection may be lost.

        What there is up to ``newest`` is the backlog.
        """
        self._forget(newest)
        self._wait_s = self._timeout_s

    def is_backlog(self, position: Position) -> bool:
        """Whether a record was there before the connection, or was sent before."""
        return position <= self._backlog_end

    def was_sent_ahead(self, position: Position) -> bool:
        """Whether a record is under way already."""
        return position in self._ahead

    def sent(self, position: Position, *, now_s: float) -> None:
        """Note that the record at ``position``, the next in order, is on its way."""
        self._ahead.pop(position, None)
        self._under_way[position] = None
        self._cursor = max(self._cursor, position)
        self._set_deadline(now_s)

    def sent_ahead(self, position: Position, *, now_s: float) -> None:
        """Note that the record at ``position`` is on its way before its turn."""
        if len(self._ahead) >= _MOST_AHEAD:
            del self._ahead[next(iter(self._ahead))]  # it will be sent again in its turn, which harms nobody
        self._ahead[position] = None
        self._ahead_cursor = max(self._ahead_cursor, position)
        self._ahead_allowed -= 1
        self._set_deadline(now_s)

    def acknowledged(self, *, boot: int, sequence: int, now_s: float) -> None:
        """Everything of ``boot`` up to ``sequence`` has arrived."""
        self._arrived(
            [
                each
                for each in (*self._under_way, *self._ahead)
                if each.boot == boot and each.sequence <= sequence
            ],
            now_s,
        )

    def delivered(self, positions: Iterable[Position], *, now_s: float) -> None:
        """These have arrived."""
        self._arrived([each for each in positions if each in self._under_way or each in self._ahead], now_s)

    def go_back_if_overdue(self, *, newest: Position, now_s: float) -> bool:
        """Begin again from the oldest when the wait is over; whether it was."""
        if self._deadline_s is None or now_s < self._deadline_s:
            return False
        self._forget(newest)
        self._wait_s = min(self._wait_s * 2, self._timeout_max_s)
        return True

    def _arrived(self, positions: list[Position], now_s: float) -> None:
        if not positions:
            return
        for position in positions:
            self._under_way.pop(position, None)
            self._ahead.pop(position, None)
        # Whoever answers can also be told more; to one who does not, the order alone is sent.
        self._ahead_allowed = self._size
        self._wait_s = self._timeout_s
        self._deadline_s = None
        if self._under_way or self._ahead:
            self._set_deadline(now_s)

    def _set_deadline(self, now_s: float) -> None:
        if self._deadline_s is None:
            self._deadline_s = now_s + self._wait_s

    def _forget(self, newest: Position) -> None:
        self._under_way.clear()
        self._ahead.clear()
        self._cursor = _NOTHING_SENT
        self._backlog_end = newest
        self._ahead_cursor = newest
        self._ahead_allowed = 0
        self._deadline_s = None
