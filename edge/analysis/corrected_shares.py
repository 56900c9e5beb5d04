"""The true shares of the classes behind what a classifier with known confusions has named.

The counts of a slide are taken for a multinomial sample of the shares as named: with ``t[i]`` the true share
of class i and ``c[i, j]`` the probability that a cell of class i is named j, class j is named with the
probability ``q[j] = sum over i of t[i] c[i, j]``. Both samples are finite, the slide and the cells that the
classifier was validated on, and both are allowed for.

Estimate: the shares of greatest likelihood that are shares (none below 0, all together 1), by the EM
algorithm, ``t[i] <- t[i] sum over j of (n[j] / N) c[i, j] / q[j]`` (Dempster, Laird and Rubin, J. R. Stat.
Soc. B 39 (1977) 1, section 4.3, mixtures of known components). For two classes it is Rogan and Gladen's.

Interval and probabilities: the posterior of shares and confusions together, by Gibbs sampling over the
unseen true classes of the named cells (Swartz, Haitovsky, Vexler and Yang, Can. J. Stat. 32 (2004) 285; Perez
et al., RACSAM 101 (2007) 71, review it). Priors: Jeffreys' Dirichlet(1/2) on the shares, and on each row of
the confusions one pseudo-cell spread evenly, Perks' Dirichlet(1/K), which does not drown rows of few
validated cells (Berger, Bernardo and Sun, Bayesian Anal. 10 (2015) 189).

What no correction can mend: the confusions are those of cells named with confidence where the classifier was
validated. Another stain, or classes that are left doubtful more often than others, stand in no matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.analysis.intervals import Interval

_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]

_SEED: Final = 20_240_229
"""The same counts always give the same figures."""
_CHAINS: Final = 160
_BURN_IN: Final = 10
"""Draws let go of at the start of each chain: confusions that are worth correcting are forgotten sooner."""
_KEPT: Final = 8
_SHARE_PRIOR: Final = 0.5
_EM_STEPS: Final = 1000
_EM_STILL: Final = 1e-9
_SINGULAR: Final = 1e-3
_NO_SHARE: Final = 2e-4
"""EM comes near to a share of 0, never to it."""
_AT_THE_EDGE: Final = 0.05
"""Share of the shortest interval's possible places that count as the first: its place is a little random."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CorrectedShares:
    """The estimated true shares, in the order of the confusion's classes, and what else they may be."""

    shares: tuple[float, ...]
    draws: _Floats = field(repr=False)
    """Draws from the posterior x classes; every row sums to 1."""

    def interval(self, classes: Sequence[int], *, level: float = 0.95) -> Interval:
        """The share of ``classes`` together with its equal-tailed interval of that level.

        Draws are never 0 or 1, and an equal-tailed interval would leave out a class that is not there at all.
        So where the estimate is 0, or the shortest interval of 95% begins with the smallest draws, near to 0,
        it begins at 0, whatever its level; likewise at 1. (For proportions without confusions Brown, Cai and
        DasGupta, Stat. Sci. 16 (2001) 101, mend Jeffreys' interval so.)
        """
        share = min(1.0, sum(self.shares[each] for each in classes))
        draws = np.sort(self._together(classes))
        tail = (1 - level) / 2
        low, high = (float(each) for each in np.quantile(draws, (tail, 1 - tail)))
        inside = math.ceil(0.95 * len(draws))
        widths = draws[inside - 1 :] - draws[: len(draws) - inside + 1]
        shortest, last = int(np.argmin(widths)), len(widths) - 1
        edge, near = _AT_THE_EDGE * last, float(widths[shortest])
        at_none = shortest <= edge and draws[0] < near
        at_all = shortest >= last - edge and 1 - draws[-1] < near
        return Interval(
            share=share,
            low=0.0 if share < _NO_SHARE or at_none else min(low, share),
            high=1.0 if share > 1 - _NO_SHARE or at_all else max(min(1.0, high), share),
        )

    def probability_above(self, classes: Sequence[int], threshold: float) -> float:
        """The posterior probability that the share of ``classes`` together is above ``threshold``."""
        return float(np.mean(self._together(classes) > threshold))

    def _together(self, classes: Sequence[int]) -> _Floats:
        together: _Floats = self.draws[:, list(classes)].sum(axis=1)
        return together


def corrected_shares(named: Sequence[int], confusion: Sequence[Sequence[int]]) -> CorrectedShares | None:
    """The true shares behind the counts ``named`` of a classifier with this validated ``confusion``.

    ``named[j]`` cells of the slide, and ``confusion[i][j]`` validated cells of true class i, were named j.
    None where nothing is counted, where a class was not validated, or where the confusions cannot tell the
    classes apart. The same arguments give the same answer.
    """
    counts = np.asarray(named, dtype=np.int64)
    validated = np.asarray(confusion, dtype=np.float64)
    if counts.sum() == 0 or not validated.sum(axis=1).all():
        return None
    rates: _Floats = validated / validated.sum(axis=1, keepdims=True)
    if np.linalg.svd(rates, compute_uv=False)[-1] < _SINGULAR:
        return None
    shares = _most_likely(counts, rates)
    return CorrectedShares(
        shares=tuple(float(each) for each in shares), draws=_posterior_draws(counts, validated)
    )


def _most_likely(counts: _Counts, rates: _Floats) -> _Floats:
    size = len(counts)
    seen = np.flatnonzero(counts)
    observed: _Floats = counts[seen] / counts.sum()
    # No column is all zeros: the rates would be singular.
    to_seen = rates[:, seen]
    shares: _Floats = np.full(size, 1 / size)
    for _ in range(_EM_STEPS):
        before, shares = shares, shares * (to_seen @ (observed / (shares @ to_seen)))
        if np.abs(shares - before).max() < _EM_STILL:
            break
    return _normalised(np.where(shares < _NO_SHARE, 0.0, shares))


def _posterior_draws(counts: _Counts, validated: _Floats) -> _Floats:
    """Draws of the true shares, ``_CHAINS * _KEPT`` x classes: many short chains side by side."""
    chance = np.random.Generator(np.random.PCG64(_SEED))
    size = len(counts)
    seen = np.flatnonzero(counts)
    prior: _Floats = np.broadcast_to(validated + 1 / size, (_CHAINS, size, size))
    shares = np.broadcast_to(_normalised(np.add(counts, _SHARE_PRIOR, dtype=np.float64)), (_CHAINS, size))
    rates = _normalised(chance.standard_gamma(prior))
    kept = []
    for step in range(_BURN_IN + _KEPT):
        # Of how many cells named j the true class was i, given shares and rates: chains x j x i.
        behind = _normalised((shares[:, :, None] * rates[:, :, seen]).transpose(0, 2, 1))
        true = chance.multinomial(counts[seen], behind)
        shares = _normalised(chance.standard_gamma(true.sum(axis=1) + _SHARE_PRIOR))
        evidence = prior.copy()
        evidence[:, :, seen] += true.transpose(0, 2, 1)
        rates = _normalised(chance.standard_gamma(evidence))
        if step >= _BURN_IN:
            kept.append(shares)
    return np.concatenate(kept)


def _normalised(weights: _Floats) -> _Floats:
    """``weights`` made to sum to 1 along the last axis."""
    shares: _Floats = weights / weights.sum(axis=-1, keepdims=True)
    return shares
