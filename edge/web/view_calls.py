"""The page's questions to its station, and how long the oldest of them has been without an answer."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from edge.web.view import StationView


class ViewCalls:
    """Keeps count of calls that have begun and not ended; safe from any thread.

    A call that raises has ended: a refusal is an answer.
    """

    def __init__(self, *, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._begun_s: dict[int, float] = {}
        self._passes = 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        """One call, from its beginning to its end."""
        with self._lock:
            number = next(self._numbers)
            self._begun_s[number] = self._monotonic_s()
        try:
            yield
        finally:
            with self._lock:
                del self._begun_s[number]
                self._passes += 1

    def passed(self) -> None:
        """Note that there was nothing to be answered, which is as good."""
        with self._lock:
            self._passes += 1

    @property
    def passes(self) -> int:
        """How often a call has come to its end, or there was none to wait for."""
        with self._lock:
            return self._passes

    @property
    def outstanding(self) -> int:
        """How many have not."""
        with self._lock:
            return len(self._begun_s)

    @property
    def longest_s(self) -> float:
        """The age of the oldest that has not; 0 where there is none."""
        with self._lock:
            return max((self._monotonic_s() - begun_s for begun_s in self._begun_s.values()), default=0.0)

    def watching(self, view: StationView) -> StationView:
        """The same view, whose calls are all noted here."""
        return cast("StationView", _Noted(view, self))


class _Noted:
    def __init__(self, view: StationView, calls: ViewCalls) -> None:
        self._view = view
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._view, name)

        @functools.wraps(call)
        def noted(*arguments: object, **named: object) -> object:
            with self._calls.noted():
                return call(*arguments, **named)

        return noted
