"""Which records a full or old outbox gives up. Pure: no file, no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from edge.outbox.position import Position
from edge.outbox.settings import OutboxLimits

DiscardReason = Literal["outbox_bytes", "outbox_age"]

# A board without a battery clock starts in the past. A time before this software existed says nothing.
EARLIEST_PLAUSIBLE_S: Final = 1_767_225_600.0  # 2026-01-01T00:00:00Z
CLOCK_STEP_S: Final = 60.0
AGE_GRACE_S: Final = 3600.0
"""So long after the start nothing is too old: a station that was off for months delivers first, and a clock
that starts in the wrong year is set meanwhile."""
# What a discard record takes at most, measured generously; the true size is counted once it is written.
DISCARD_BYTES: Final = 512


@dataclass(frozen=True, kw_only=True)
class Held:
    """What the rule must know of one record."""

    position: Position
    size_bytes: int
    appended_s: float


@dataclass(frozen=True, kw_only=True)
class Discard:
    """One decision: this record goes, for this reason."""

    position: Position
    reason: DiscardReason


def age_s(appended_s: float, now_s: float) -> float | None:
    """How old a record is; None where one of the two times cannot be true."""
    if appended_s < EARLIEST_PLAUSIBLE_S or now_s < appended_s:
        return None
    return now_s - appended_s


def too_old(
    oldest_first: Iterable[Held], *, newest: Position, limits: OutboxLimits, now_s: float
) -> list[Discard]:
    """What has outlived the age limit, up to the first record that has not. The newest always stays."""
    chosen: list[Discard] = []
    for held in oldest_first:
        age = age_s(held.appended_s, now_s)
        if held.position == newest or age is None or age <= limits.max_age_s:
            break
        chosen.append(Discard(position=held.position, reason="outbox_age"))
    return chosen


def ages_count(*, open_s: float, limits: OutboxLimits) -> bool:
    """Whether records may be judged by their age, in an outbox that has been open so long."""
    return open_s >= min(AGE_GRACE_S, limits.max_age_s)


def too_many_bytes(
    least_worth_first: Iterable[Held], *, total_bytes: int, newest: Position, limits: OutboxLimits
) -> list[Discard]:
    """What must go until the bytes are within their limit. The newest always stays.

    A record that is no larger than the discard record in its place stays as well: giving it up frees nothing.
    """
    chosen: list[Discard] = []
    for held in least_worth_first:
        if total_bytes <= limits.max_bytes:
            break
        if held.position != newest and held.size_bytes > DISCARD_BYTES:
            chosen.append(Discard(position=held.position, reason="outbox_bytes"))
            total_bytes -= held.size_bytes - DISCARD_BYTES
    return chosen


def too_many_discards(*, total_bytes: int, discard_bytes: int, limits: OutboxLimits) -> bool:
    """Whether the oldest record must go without a trace but the count.

    After a very long absence the discard records themselves would fill the outbox.
    """
    return total_bytes > limits.max_bytes or discard_bytes > limits.max_bytes // 2


def clock_step_s(*, expected_s: float, now_s: float) -> float:
    """How far the wall clock was set since it was last looked at; 0 for the drift of an honest clock."""
    step_s = now_s - expected_s
    return step_s if abs(step_s) > CLOCK_STEP_S else 0.0
