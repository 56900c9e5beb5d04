"""Which records are under way, and when to send them again. Pure: time is told, nothing is sent here."""

from __future__ import annotations

from collections.abc import Iterable

from edge.outbox.position import Position

_NOTHING_SENT = Position(0, 0)


class Window:
    """A bounded go-back-n window over the outbox's key order.

    When nothing is acknowledged in time, everything unacknowledged counts as lost and is sent again from
    the oldest on; the wait doubles each time, so that a broker that queues for an absent collector is not
    filled with copies.
    """

    def __init__(self, *, size: int, timeout_s: float, timeout_max_s: float) -> None:
        self._size = size
        self._timeout_s = timeout_s
        self._timeout_max_s = timeout_max_s
        self._wait_s = timeout_s
        self._under_way: dict[Position, None] = {}
        self._cursor = _NOTHING_SENT
        self._deadline_s: float | None = None

    @property
    def cursor(self) -> Position:
        """The last record that was sent; the next ones lie behind it."""
        return self._cursor

    @property
    def room(self) -> int:
        """How many more may be sent now."""
        return self._size - len(self._under_way)

    @property
    def deadline_s(self) -> float | None:
        """When what is under way counts as lost; None while nothing is."""
        return self._deadline_s

    def connected(self) -> None:
        """Begin from the oldest: what was under way in the last connection may be lost."""
        self._forget()
        self._wait_s = self._timeout_s

    def sent(self, position: Position, *, now_s: float) -> None:
        """Note that the record at ``position`` is on its way."""
        self._under_way[position] = None
        self._cursor = max(self._cursor, position)
        if self._deadline_s is None:
            self._deadline_s = now_s + self._wait_s

    def acknowledged(self, *, boot: int, sequence: int, now_s: float) -> None:
        """Everything of ``boot`` up to ``sequence`` has arrived."""
        self._arrived(
            [each for each in self._under_way if each.boot == boot and each.sequence <= sequence], now_s
        )

    def delivered(self, positions: Iterable[Position], *, now_s: float) -> None:
        """These have arrived."""
        self._arrived([each for each in positions if each in self._under_way], now_s)

    def go_back_if_overdue(self, *, now_s: float) -> bool:
        """Begin again from the oldest when the wait is over; whether it was."""
        if self._deadline_s is None or now_s < self._deadline_s:
            return False
        self._forget()
        self._wait_s = min(self._wait_s * 2, self._timeout_max_s)
        return True

    def _arrived(self, positions: list[Position], now_s: float) -> None:
        if not positions:
            return
        for position in positions:
            del self._under_way[position]
        self._wait_s = self._timeout_s
        self._deadline_s = now_s + self._wait_s if self._under_way else None

    def _forget(self) -> None:
        self._under_way.clear()
        self._cursor = _NOTHING_SENT
        self._deadline_s = None
