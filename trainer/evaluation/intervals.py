"""Figures with intervals: one set of redrawn groups behind every figure of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.evaluation.evaluation import Figure
from trainer.evaluation.halves import class_strata
from trainer.statistics import Redraws, percentile_interval, redraw, wilson

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.float64]
"""A figure of the sample as measured (row 0) and of every redraw (the other rows)."""

FEW_GROUPS: Final = 10
"""With fewer, a percentile interval of redrawn groups is known to be too narrow (Cameron et al. 2008)."""
_MOSTLY: Final = 0.5


def quotient(top: ArrayLike, bottom: ArrayLike) -> NDArray[np.float64]:
    """Element by element, NaN where ``bottom`` is 0."""
    over, under = np.broadcast_arrays(np.asarray(top, np.float64), np.asarray(bottom, np.float64))
    empty = np.full(over.shape, np.nan)
    return np.asarray(np.divide(over, under, out=empty, where=under != 0), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Redrawn:
    """Pictures whose groups were redrawn, and how to speak of them."""

    groups: Labels
    word: str
    redraws: Redraws

    def sums(self, values: ArrayLike) -> Rows:
        """Sums of ``values`` (n, ...) over pictures, in each row."""
        return self.redraws.sums(values)

    def weighted(self, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Rows:
        """A ``statistic`` of weights (rows, n), in each row."""
        return np.concatenate([statistic(weights) for weights in self.redraws.weights()])

    def share(self, hit: ArrayLike, *, of: Mask | None = None, undefined: str = "") -> Figure:
        """The share of the pictures ``of`` for which ``hit`` holds."""
        asked = np.ones(len(self.groups), dtype=bool) if of is None else of
        rows = quotient(self.sums(np.asarray(hit, dtype=bool) & asked), self.sums(asked))
        return self.figure(rows, of=asked, undefined=undefined, proportion=True)

    def mean(self, values: ArrayLike) -> Figure:
        """The mean of ``values`` (n) over all pictures."""
        return self.figure(quotient(self.sums(values), self.sums(np.ones(len(self.groups)))))

    def figure(
        self,
        rows: ArrayLike,
        *,
        of: Mask | None = None,
        sides: tuple[Mask, ...] = (),
        undefined: str = "",
        proportion: bool = False,
    ) -> Figure:
        """The figure of ``rows`` (1 + draws).

        ``of`` are the pictures that it is a figure of; ``sides`` are kinds of pictures of which it needs
        several groups each, for instance both classes of a balanced accuracy. ``undefined`` says why there
        may be no value. A ``proportion`` (or a mean of some) of 0 or 1 gets Wilson's interval for as many
        trials as there are groups, because redraws of pictures that are all alike show no doubt.
        """
        values = np.asarray(rows, dtype=np.float64)
        asked = np.ones(len(self.groups), dtype=bool) if of is None else of
        groups = self._groups(asked)
        pictures = int(asked.sum())
        if not np.isfinite(values[0]):
            return Figure(value=None, pictures=pictures, groups=groups, why=undefined or "not defined")
        fewest = min((self._groups(side) for side in sides), default=groups)
        missing = int((~np.isfinite(values[1:])).sum())
        found = percentile_interval(values)
        low, high, why = self._bounds(found.low, found.high, fewest, missing / max(1, len(values) - 1))
        if low is not None and found.low == found.high == found.value:
            if proportion and found.value in (0.0, 1.0):
                sure = wilson(round(found.value * fewest), fewest)
                low, high = sure.low, sure.high
                why = f"all alike, so redraws show no doubt: Wilson's interval for {self._count(fewest)}"
            else:
                low, high, why = None, None, "every redraw gives the same, so the interval is not known"
        return Figure(
            value=found.value,
            low=low,
            high=high,
            pictures=pictures,
            groups=groups,
            undefined_draws=missing,
            why=why,
        )

    def _bounds(
        self, low: float, high: float, fewest: int, missing: float
    ) -> tuple[float | None, float | None, str | None]:
        if fewest <= 1:
            return None, None, f"no interval from {self._count(fewest)}"
        if missing > _MOSTLY:
            return None, None, "no interval: most redraws have no value"
        if fewest < FEW_GROUPS:
            return low, high, f"{self._count(fewest)}: too few for the interval to be relied on"
        return low, high, None

    def _groups(self, mask: Mask) -> int:
        return len(np.unique(self.groups[mask]))

    def _count(self, groups: int) -> str:
        return f"{groups} {self.word}{'' if groups == 1 else 's'}"


def redrawn(labels: Labels, groups: Labels, *, word: str, draws: int, seed: int) -> Redrawn:
    """Redraw the groups within strata of the rarest class that each holds, so that draws keep all classes.

    ``word`` names one group: patient, slide, block.
    """
    strata = class_strata(labels, groups)
    return Redrawn(groups=groups, word=word, redraws=redraw(groups, draws=draws, seed=seed, strata=strata))
