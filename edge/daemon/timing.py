"""Latencies and signs of progress, shared by the threads."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

from edge.contract.status import StageLatency

WINDOW: Final = 512
"""Samples a latency is told from: some minutes of a busy station, so that a change shows."""


class StageClock:
    """Measures the stages of the work, and knows when each last came to an end."""

    def __init__(self, *, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._samples: dict[str, deque[float]] = {}
        self._progress: dict[str, float] = {}
        self._passes: Counter[str] = Counter()
        self._measured: Counter[str] = Counter()
        self._total_s: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one pass of a stage; a pass that raises is no progress."""
        begun_s = self._monotonic_s()
        yield
        self.note(name, self._monotonic_s() - begun_s)

    def note(self, name: str, latency_s: float) -> None:
        """Add one latency of a stage, and its progress."""
        with self._lock:
            self._samples.setdefault(name, deque(maxlen=WINDOW)).append(latency_s * 1000)
            self._progress[name] = self._monotonic_s()
            self._passes[name] += 1
            self._measured[name] += 1
            self._total_s[name] += latency_s

    def alive(self, name: str) -> None:
        """Stamp the progress of a stage that did its round without work, such as waiting for a frame."""
        with self._lock:
            self._progress[name] = self._monotonic_s()

    def passed(self, name: str) -> None:
        """Stamp the progress of a stage by a round of work that is not measured."""
        with self._lock:
            self._progress[name] = self._monotonic_s()
            self._passes[name] += 1

    def silent_s(self, name: str) -> float | None:
        """How long since the stage last made progress; None before its first time."""
        with self._lock:
            seen_s = self._progress.get(name)
        return None if seen_s is None else self._monotonic_s() - seen_s

    def passes(self, name: str) -> int:
        """How much work the stage has seen through."""
        with self._lock:
            return self._passes[name]

    def totals(self) -> dict[str, tuple[int, float]]:
        """How often each stage was measured since the start, and how many seconds that took in all."""
        with self._lock:
            return {name: (count, self._total_s[name]) for name, count in self._measured.items()}

    def latencies(self) -> dict[str, StageLatency]:
        """The median and the 99th percentile of each stage over its last passes."""
        with self._lock:
            samples = {name: list(window) for name, window in self._samples.items()}
        result = {}
        for name, window in samples.items():
            p50_ms, p99_ms = np.percentile(window, (50, 99))
            result[name] = StageLatency(p50_ms=round(float(p50_ms), 2), p99_ms=round(float(p99_ms), 2))
        return result
