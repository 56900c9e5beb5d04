"""The bounded queues between the station's threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


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

    def put(self, item: T) -> None:
        """Add an item; where nothing may be lost, wait for room. After ``end`` it is let go."""
        with self._changed:
            if self._live:
                if len(self._items) >= self._capacity:
                    self._items.popleft()
                    self._dropped += 1
            else:
                self._changed.wait_for(lambda: self._ended or len(self._items) < self._capacity)
            if not self._ended:
                self._items.append(item)
                self._changed.notify_all()

    def get(self, timeout_s: float) -> T | None:
        """The oldest waiting item; None when none comes in time, or when it is ended and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended, timeout=timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def end(self) -> None:
        """No more items come; what waits can still be read."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def drained(self) -> bool:
        """Whether nothing waits and nothing will come."""
        with self._changed:
            return self._ended and not self._items
