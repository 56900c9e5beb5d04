"""Shares, balanced accuracies and their 95% intervals, for samples that come in groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Z_95: Final = 1.959963984540054
_WEIGHTS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval:
    """A share with Wilson's score interval (Wilson 1927); (0, 0, 1) of no trials."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials}")
    if trials == 0:
        return Interval(value=0.0, low=0.0, high=1.0)
    share = successes / trials
    square = _Z_95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = _Z_95 / (1 + square / trials) * np.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return Interval(value=share, low=max(0.0, float(middle - half)), high=min(1.0, float(middle + half)))


def recalls(truth: ArrayLike, named: ArrayLike) -> dict[int, float]:
    """The share of each true class that was named so."""
    true, said = np.asarray(truth), np.asarray(named)
    return {int(label): float((said[true == label] == label).mean()) for label in np.unique(true)}


def balanced_accuracy(truth: ArrayLike, named: ArrayLike) -> float:
    """The mean recall over the classes that occur in ``truth``; NaN of nothing."""
    each = recalls(truth, named)
    return float(np.mean(list(each.values()))) if each else float("nan")


@dataclass(frozen=True, kw_only=True, eq=False)
class Redraws:
    """How often each group stands in each redrawn sample: all that a bootstrap over groups needs.

    ``group_of`` (n) places each sample in a column of ``counts`` (1 + draws, groups). Row 0 is the sample as
    it was measured, each group once, so that one expression over all rows gives a figure and its redraws.
    """

    group_of: NDArray[np.int64]
    counts: NDArray[np.float64]

    def sums(self, values: ArrayLike) -> NDArray[np.float64]:
        """Sums over samples of ``values`` (n, ...) in each row: (1 + draws, ...)."""
        each = np.asarray(values, dtype=np.float64)
        by_group = np.zeros((self.counts.shape[1], *each.shape[1:]))
        np.add.at(by_group, self.group_of, each)
        return np.tensordot(self.counts, by_group, axes=1)

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """How often each sample stands in each row: (rows, n), some rows at a time to bound memory."""
        rows = max(1, _WEIGHTS_AT_ONCE // max(1, len(self.group_of)))
        for first in range(0, len(self.counts), rows):
            yield self.counts[first : first + rows, self.group_of]


def redraw(groups: ArrayLike, *, draws: int, seed: int, strata: ArrayLike | None = None) -> Redraws:
    """Whole groups redrawn with replacement, as many as there are, within strata where given.

    Samples of one smear are not independent: redrawing single ones would make intervals too narrow. Within
    strata, so that no draw loses a whole laboratory, or a class.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    stratum_of = np.zeros(len(group_of), dtype=np.int64) if strata is None else np.asarray(strata)
    layers = [np.unique(group_of[stratum_of == each]) for each in np.unique(stratum_of)]
    rng = np.random.default_rng(seed)
    counts = np.ones((1 + draws, len(names)))
    for row in range(1, 1 + draws):
        chosen = np.concatenate([rng.choice(layer, len(layer)) for layer in layers])
        counts[row] = np.bincount(chosen, minlength=len(names))
    return Redraws(group_of=group_of.astype(np.int64), counts=counts)


def percentile_interval(values: ArrayLike) -> Interval:
    """The 95% percentile interval (Efron 1979) of row 0 of ``values`` (1 + draws) by the other rows.

    Rows that are not finite are left out; NaN where none is left.
    """
    measured, *drawn = np.asarray(values, dtype=np.float64)
    finite = np.asarray(drawn)[np.isfinite(drawn)]
    low, high = np.percentile(finite, (2.5, 97.5)) if len(finite) else (float("nan"), float("nan"))
    return Interval(value=float(measured), low=float(low), high=float(high))


def block_bootstrap(
    figure: Callable[[NDArray[np.int64]], float],
    groups: Sequence[int] | NDArray[np.int64],
    *,
    draws: int = 1000,
    seed: int = 0,
    strata: Sequence[int] | NDArray[np.int64] | None = None,
) -> Interval:
    """Any figure of samples with the percentile interval of redrawing whole groups.

    ``figure`` gets indices of samples, with repetitions: for figures that are no expression of
    :meth:`Redraws.sums`. Draws for which the figure is not finite are left out.
    """
    drawn = redraw(groups, draws=draws, seed=seed, strata=strata)
    samples = np.arange(len(drawn.group_of))
    return percentile_interval(
        [figure(np.repeat(samples, row[drawn.group_of].astype(np.int64))) for row in drawn.counts]
    )
