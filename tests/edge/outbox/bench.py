"""An outbox whose clocks the test holds, and records to put into it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edge.contract.message import Key, Stamp
from edge.contract.records import (
    DurableRecord,
    UpdateRecord,
)
from edge.outbox.settings import OutboxLimits
from edge.outbox.store import Outbox

MIB = 1024 * 1024
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Clock:
    """A wall clock that may be set, and a monotonic one that may not."""

    def __init__(self, now: datetime = START) -> None:
        self.wall = now
        self.monotonic = 1000.0

    def utc_now(self) -> datetime:
        return self.wall

    def monotonic_s(self) -> float:
        return self.monotonic

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds


def builder(detail: str = "x", *, at: datetime = START) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        return UpdateRecord(
            stamp=Stamp(site="ward", key=key, recorded_at=at, software="1", bundle="b"),
            state="idle",
            candidate="c",
            release=1,
            detail=detail,
        )

    return build


def open_outbox(
    path: Path, clock: Clock | None = None, *, station: str = "s1", limits: OutboxLimits | None = None
) -> Outbox:
    clock = clock or Clock()
    return Outbox(
        path=path,
        site="ward",
        station=station,
        software="1",
        limits=limits,
        utc_now=clock.utc_now,
        monotonic_s=clock.monotonic_s,
    )


def positions(outbox: Outbox) -> list[tuple[int, int]]:
    return [tuple(record.position) for record in outbox.pending(limit=10_000)]
