"""When a part of the station is begun anew, and when it is given up: pure rules on stamps and history.

Two bounds hold a part that does not mend. One is of time: at most so many restarts in a window. The other
is of success: at most as many restarts in a row without any work seen through between them, because a part
that hangs on everything would else be restarted for ever, each time just outside the window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Decision = Literal["nothing", "restart", "degrade"]

LONGEST_PAUSE_S: Final = 8.0
MOST_LEFT_BEHIND: Final = 16
"""Stuck threads that a process may carry along; with more of them only a new process helps."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """A part may be begun anew ``restarts`` times in ``within_s`` seconds, and so often in a row."""

    restarts: int = 5
    within_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A part as it is seen at one moment, ``now_s`` by a clock that only rises.

    ``silent_s`` is the age of its last sign of progress; None while none is due, as before its start, after
    its end, or while its camera is away. ``limit_s`` is how old that sign may be. ``passes`` counts the work
    that it has seen through. ``fault`` says why its thread has ended; empty while it lives. One that is not
    ``restartable`` would do harm by beginning anew.
    """

    now_s: float
    silent_s: float | None
    limit_s: float
    passes: int = 0
    fault: str = ""
    restartable: bool = True

    @property
    def is_well(self) -> bool:
        """Whether it lives and makes progress, or need not."""
        return not self.fault and (self.silent_s is None or self.silent_s <= self.limit_s)


@dataclass(frozen=True, kw_only=True)
class History:
    """What was done about a part so far. ``recent_s`` are the times of restarts that still count."""

    recent_s: tuple[float, ...] = ()
    in_a_row: int = 0
    passes: int = 0
    restarts: int = 0
    degraded: bool = False


def judge(sight: Sight, history: History, patience: Patience) -> tuple[Decision, History]:
    """What is to be done about a part now, and its history after that.

    A part that was given up stays so: whoever kept the rest of the station going without it must not be
    surprised by its return.
    """
    if sight.passes > history.passes:
        history = replace(history, passes=sight.passes, in_a_row=0)
    if history.degraded or sight.is_well:
        return "nothing", history
    recent_s = tuple(each for each in history.recent_s if sight.now_s - each <= patience.within_s)
    history = replace(history, recent_s=recent_s)
    spent = max(len(recent_s), history.in_a_row) >= patience.restarts
    if spent or not sight.restartable:
        return "degrade", replace(history, degraded=True)
    if sight.fault and recent_s and sight.now_s - recent_s[-1] < pause_s(history.in_a_row):
        return "nothing", history
    return "restart", replace(
        history,
        recent_s=(*recent_s, sight.now_s),
        in_a_row=history.in_a_row + 1,
        restarts=history.restarts + 1,
    )


def pause_s(in_a_row: int) -> float:
    """How long a part that ends by a fault at once is left alone, so that what it lacks may come back."""
    return 0.0 if in_a_row == 0 else min(LONGEST_PAUSE_S, 2.0 ** (in_a_row - 1))
