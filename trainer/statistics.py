"""Shares, balanced accuracies and their 95% intervals, for samples that come in groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Z_95: Final = 1.959963984540054


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


def block_bootstrap(
    figure: Callable[[NDArray[np.int64]], float],
    groups: Sequence[int] | NDArray[np.int64],
    *,
    draws: int = 1000,
    seed: int = 0,
    strata: Sequence[int] | NDArray[np.int64] | None = None,
) -> Interval:
    """A figure of samples with the percentile interval of redrawing whole groups (Efron 1979).

    ``figure`` gets indices of samples, with repetitions. Groups are redrawn within strata where given, so
    that no draw loses a whole laboratory. Samples of one smear are not independent: redrawing single ones
    would make the interval too narrow. Draws for which the figure is not finite are left out.
    """
    group_of = np.asarray(groups)
    stratum_of = np.zeros(len(group_of), dtype=np.int64) if strata is None else np.asarray(strata)
    members = {int(each): np.flatnonzero(group_of == each) for each in np.unique(group_of)}
    layers = [np.unique(group_of[stratum_of == each]) for each in np.unique(stratum_of)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        chosen = [int(each) for layer in layers for each in rng.choice(layer, len(layer))]
        value = figure(np.concatenate([members[each] for each in chosen]))
        if np.isfinite(value):
            values.append(value)
    low, high = np.percentile(values, (2.5, 97.5)) if values else (float("nan"), float("nan"))
    return Interval(value=figure(np.arange(len(group_of))), low=float(low), high=float(high))
