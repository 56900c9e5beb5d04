"""The bounded queues between the station's threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")
_ROUND_S: Final = 0.5


class Handover(Generic[T]):
    """Hands items from one thread to the next, at most ``capacity`` waiting.

    A ``live`` one never makes its writer wait: the oldest waiting item has gone stale, is dropped and
    counted. Any other loses nothing: ``put`` waits for room.
    """

    def __init__(self, *, capacity: int, live: bool) -> None:
        self._capacity = capacity
        self._live = live
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items went stale before they were read."""
        return self._dropped

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._items)

    def put(self, item: T, *, on_wait: Callable[[], None] = lambda: None) -> None:
        """Add an item; where nothing may be lost, wait for room. After ``end`` it is let go.

        ``on_wait`` is called again and again while this waits: who waits for room is not stuck itself.
        """
        with self._changed:
            if self._live:
                if len(self._items) >= self._capacity:
                    self._items.popleft()
                    self._dropped += 1
            else:
                while not self._changed.wait_for(self._has_room, timeout=_ROUND_S):
                    on_wait()
            if not self._ended:
                self._items.append(item)
                self._changed.notify_all()

    def get(self, timeout_s: float, *, unless: Callable[[], bool] = lambda: False) -> T | None:
        """The oldest waiting item; None when none comes in time, or when it is ended and empty.

        None also where ``unless`` says at the end of the wait that the asker may take nothing any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended, timeout=timeout_s)
            if not self._items or unless():
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def end(self) -> None:
        """No more items come; what waits can still be read."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abandon(self) -> tuple[T, ...]:
        """Nobody reads any more: end it, and give what waited to the caller."""
        with self._changed:
            left = tuple(self._items)
            self._items.clear()
            self._ended = True
            self._changed.notify_all()
            return left

    @property
    def drained(self) -> bool:
        """Whether nothing waits and nothing will come."""
        with self._changed:
            return self._ended and not self._items

    def _has_room(self) -> bool:
        return self._ended or len(self._items) < self._capacity
