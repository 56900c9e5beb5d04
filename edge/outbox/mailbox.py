"""Where the publisher's thread waits: events of the connection, and a knock that there is something to do."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from edge.outbox.link import Event, Received

_MAX_WAITING_MESSAGES: Final = 256


class Mailbox:
    """Many threads post, one takes. Messages from the network are bounded; a poster never waits."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._events: deque[Event] = deque()
        self._messages = 0
        self._overflowed = 0
        self._knocked = False

    def post(self, event: Event) -> None:
        """Leave an event; a message beyond the bound is dropped and counted."""
        with self._condition:
            if isinstance(event, Received):
                if self._messages >= _MAX_WAITING_MESSAGES:
                    self._overflowed += 1
                    return
                self._messages += 1
            self._events.append(event)
            self._condition.notify()

    def knock(self) -> None:
        """Wake the taker; knocks do not add up."""
        with self._condition:
            self._knocked = True
            self._condition.notify()

    def take(self, timeout_s: float) -> list[Event]:
        """What was posted, in order, after waiting for an event or a knock at most so long."""
        with self._condition:
            self._condition.wait_for(lambda: self._events or self._knocked, timeout_s)
            events = list(self._events)
            self._events.clear()
            self._messages = 0
            self._knocked = False
            return events

    def take_overflowed(self) -> int:
        """How many messages were dropped since the last call."""
        with self._condition:
            dropped, self._overflowed = self._overflowed, 0
            return dropped
