"""When a count has seen enough cells: advice to the person, never an order.

A count that may stop as soon as an interval happens to be narrow is no longer covered by that interval 19
times in 20: it stops the sooner, the luckier it was. So the looks are planned beforehand, at fixed numbers
of cells, and each look uses intervals of the level ``1 - 0.05 / looks`` (Bonferroni). These are repeated
confidence intervals: all of them hold together with probability 0.95, and therefore the one at which the
count stops, however that was decided (Jennison and Turnbull, Control. Clin. Trials 5 (1984) 33, and Group
Sequential Methods, 2000, chapter 9).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from edge.analysis.intervals import Interval

CONFIDENCE: Final = 0.95
"""What all looks together hold."""

Decision = Literal["count_on", "narrow_enough", "target_reached"]


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """Ends at ``target_cells`` named cells, or at a planned look where the intervals are narrow enough.

    Looks are at ``min_cells`` and every ``look_every_cells`` from there, the last one at the target.
    Half-widths are shares (0.05 is five points); None asks nothing of that interval, and without any there
    are no looks.
    """

    target_cells: int
    min_cells: int = 100
    look_every_cells: int = 50
    blast_half_width: float | None = None
    class_half_width: float | None = None

    @property
    def looks(self) -> tuple[int, ...]:
        """At how many named cells the intervals are looked at; the last is the target."""
        if self.blast_half_width is None and self.class_half_width is None:
            return ()
        before = range(self.min_cells, self.target_cells, self.look_every_cells)
        return (*before, self.target_cells)

    @property
    def level(self) -> float | None:
        """The level of the intervals at each look; None where no looks are planned."""
        looks = self.looks
        return 1 - (1 - CONFIDENCE) / len(looks) if looks else None

    def is_narrow(self, *, blasts: Interval | None, classes: Iterable[Interval]) -> bool:
        """Whether every interval that something is asked of is narrow enough.

        An interval that is asked for and not there, as that of blasts in a class set without them, is not.
        """
        if self.blast_half_width is not None and (
            blasts is None or _half_width(blasts) > self.blast_half_width
        ):
            return False
        limit = self.class_half_width
        return limit is None or all(_half_width(each) <= limit for each in classes)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What the looks have shown so far: how many were taken, and at how many cells one found enough."""

    taken: int = 0
    narrow_at_cells: int | None = None

    def due(self, rule: StopRule, named_cells: int) -> bool:
        """Whether the next planned look is to be taken now."""
        looks = rule.looks
        return self.taken < len(looks) and named_cells >= looks[self.taken]

    def after(self, rule: StopRule, *, named_cells: int, narrow: bool) -> Looks:
        """What they have shown after a look now; looks that were passed over with it are not taken again.

        The latest look speaks: where a count goes on after advice to stop, a later look may take it back.
        """
        passed = sum(each <= named_cells for each in rule.looks)
        return Looks(taken=passed, narrow_at_cells=named_cells if narrow else None)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to tell the person; ``cells`` are the named cells at which it was found."""

    decision: Decision
    cells: int


def advise(rule: StopRule, looks: Looks, *, named_cells: int) -> Advice:
    """The advice for a count of so many named cells."""
    if looks.narrow_at_cells is not None:
        return Advice(decision="narrow_enough", cells=looks.narrow_at_cells)
    if named_cells >= rule.target_cells:
        return Advice(decision="target_reached", cells=named_cells)
    return Advice(decision="count_on", cells=named_cells)


def _half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / 2
