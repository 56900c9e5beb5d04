"""A bundle on trial: what is seen of it while it serves, and what that says. Pure."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

ENOUGH_FIELDS: Final = 20
"""With fewer, the 99th percentile is the slowest field, and one that waited for the disk would decide."""
_WINDOW: Final = 512


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a bundle must show to be committed.

    Its golden answers in the station itself; no engine error; ``fields`` fields or ``serving_s`` seconds of
    service; and a p99 latency of at most ``latency_factor`` times that of the bundle before. All of it
    before it has served for ``deadline_s``.
    """

    fields: int
    serving_s: float
    deadline_s: float
    latency_factor: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What this process has seen of the bundle since it opened it.

    ``golden`` is the golden check in the serving station: None until it was run. ``fault`` is the first
    engine error or golden disagreement, in words for a person.
    """

    served_s: float
    fields: int
    latency_p99_ms: float | None
    golden: bool | None
    fault: str = ""

    @classmethod
    def failed(cls, fault: str) -> Figures:
        """Of a bundle whose engines could not even be loaded."""
        return cls(served_s=0.0, fields=0, latency_p99_ms=None, golden=None, fault=fault)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be done with the bundle, and why."""

    decision: Literal["wait", "commit", "roll_back"]
    detail: str


def judge(gate: Gate, figures: Figures, *, served_before_s: float, baseline_p99_ms: float | None) -> Verdict:
    """What ``figures`` say; ``served_before_s`` is what earlier processes served of the same trial."""
    served_s = served_before_s + figures.served_s
    if figures.fault:
        return Verdict(decision="roll_back", detail=figures.fault)
    if figures.golden is False:
        return Verdict(decision="roll_back", detail="the golden set does not agree in the serving station")
    limit_ms = None if baseline_p99_ms is None else baseline_p99_ms * gate.latency_factor
    p99_ms = figures.latency_p99_ms
    judged = figures.fields >= ENOUGH_FIELDS and p99_ms is not None
    if judged and p99_ms is not None and limit_ms is not None and p99_ms > limit_ms:
        return Verdict(
            decision="roll_back",
            detail=f"p99 of {p99_ms:.0f} ms a field, {limit_ms:.0f} ms are allowed "
            f"({gate.latency_factor:g} times that of the bundle before)",
        )
    enough = figures.fields >= gate.fields or served_s >= gate.serving_s
    seen = f"{figures.fields} fields, {served_s:.0f} s of service"
    if enough and figures.golden:
        told = f", p99 {p99_ms:.0f} ms" if judged and p99_ms is not None else ""
        return Verdict(decision="commit", detail=f"{seen}{told}, golden set agrees, no engine errors")
    if served_s >= gate.deadline_s:
        missing = "not enough was seen" if figures.golden else "the golden set was never run"
        return Verdict(decision="roll_back", detail=f"deadline passed: {missing} ({seen})")
    return Verdict(decision="wait", detail=seen)


class TrialWatch:
    """Collects the figures of a serving bundle; its methods may be called from any thread."""

    def __init__(self, *, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._since_s = monotonic_s()
        self._lock = threading.Lock()
        self._latencies_ms: deque[float] = deque(maxlen=_WINDOW)
        self._fields = 0
        self._golden: bool | None = None
        self._fault = ""

    def note_field(self, latency_ms: float) -> None:
        """A field was analysed."""
        with self._lock:
            self._fields += 1
            self._latencies_ms.append(latency_ms)

    def note_golden(self, *, passed: bool, detail: str) -> None:
        """The golden set was run on the serving engines."""
        with self._lock:
            self._golden = passed
            if not passed:
                self._fault = self._fault or detail

    def note_engine_error(self, detail: str) -> None:
        """An engine failed on a frame: one is enough."""
        with self._lock:
            self._fault = self._fault or f"engine error: {detail}"

    def figures(self) -> Figures:
        """What was seen until now."""
        with self._lock:
            latencies_ms = list(self._latencies_ms)
            return Figures(
                served_s=self._monotonic_s() - self._since_s,
                fields=self._fields,
                latency_p99_ms=float(np.percentile(latencies_ms, 99)) if latencies_ms else None,
                golden=self._golden,
                fault=self._fault,
            )
