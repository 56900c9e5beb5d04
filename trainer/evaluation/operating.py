"""A threshold for a wanted sensitivity, chosen on one half of the groups and judged on the other."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.evaluation import CurvePoint, Figure, OperatingPoint
from trainer.evaluation.halves import Halves
from trainer.evaluation.intervals import Mask, Redrawn

Scores = NDArray[np.float32]

_CURVE_POINTS: Final = 200
_ROUNDING: Final = 1e-9


def threshold_for(scores: Scores, positive: Mask, *, sensitivity: float) -> float | None:
    """The highest threshold at which at least this share of ``positive`` pictures scores as much or more.

    None where there is no positive picture.
    """
    found = np.sort(scores[positive])[::-1]
    if len(found) == 0:
        return None
    needed = max(1, int(np.ceil(sensitivity * len(found) - _ROUNDING)))
    return float(found[needed - 1])


def operating_point(
    scores: Scores,
    positive: Mask,
    half: Halves,
    drawn: Redrawn,
    *,
    name: str,
    target_sensitivity: float,
) -> OperatingPoint:
    """The operating point of one class by its ``scores`` (n), its probabilities."""
    first, second = (
        threshold_for(scores[half != side], positive[half != side], sensitivity=target_sensitivity)
        for side in (0, 1)
    )
    if first is None or second is None:
        words = (
            f"{name} stands in fewer than two groups: no threshold can be judged on pictures that it was not "
            "chosen on."
        )
        absent = Figure(
            value=None,
            pictures=int(positive.sum()),
            groups=len(np.unique(drawn.groups[positive])),
            why=words,
        )
        sensitivity = specificity = precision = absent
        thresholds: tuple[float, ...] = ()
    else:
        words = (
            f"The threshold for a sensitivity of {target_sensitivity:.0%} to {name} was chosen on one half "
            "of the groups and judged on the other, both ways; intervals take the two thresholds as given."
        )
        called = scores >= np.where(half == 0, first, second)
        sensitivity = drawn.share(called, of=positive)
        specificity = drawn.share(~called, of=~positive, undefined=f"every picture is {name}")
        precision = drawn.share(positive, of=called, undefined=f"no picture was called {name}")
        thresholds = (first, second)
    return OperatingPoint(
        positive=name,
        target_sensitivity=target_sensitivity,
        threshold=threshold_for(scores, positive, sensitivity=target_sensitivity),
        half_thresholds=thresholds,
        sensitivity=sensitivity,
        specificity=specificity,
        precision=precision,
        curve=curve(scores, positive),
        words=words,
    )


def curve(scores: Scores, positive: Mask) -> tuple[CurvePoint, ...]:
    """Sensitivity, specificity and precision by threshold, from high to low; empty where a side is empty."""
    if positive.all() or not positive.any():
        return ()
    order = np.argsort(-scores, kind="stable")
    found, alarms = np.cumsum(positive[order]), np.cumsum(~positive[order])
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    if len(last) > _CURVE_POINTS:
        last = last[np.unique(np.linspace(0, len(last) - 1, _CURVE_POINTS).round().astype(int))]
    return tuple(
        CurvePoint(
            threshold=float(scores[order][at]),
            sensitivity=float(found[at] / positive.sum()),
            specificity=float(1 - alarms[at] / (~positive).sum()),
            precision=float(found[at] / (found[at] + alarms[at])),
        )
        for at in last
    )
