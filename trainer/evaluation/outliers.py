"""Whether a picture's distance from the training pictures tells what the network should not name."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from trainer.evaluation.evaluation import Figure, OutOfDistribution, Strangers
from trainer.evaluation.figures import roc_area
from trainer.evaluation.halves import Halves
from trainer.evaluation.intervals import Redrawn, redrawn
from trainer.evaluation.predictions import Predictions

Distances = NDArray[np.float32]

LIMIT_PERCENTILE: Final = 95.0
_NO_FEATURES: Final = "The classifier has no features to measure distances of."
_ONE_GROUP: Final = (
    "All pictures are of one group: a limit cannot be judged on pictures it was not chosen on."
)
_WORDS: Final = (
    "Distances are in units of the median distance of the fold's training pictures. Each half of the groups "
    "is judged by the limit of the other: {percentile:g} of 100 pictures lie within it where both halves "
    "are alike."
)


def judge_distances(
    distances: Distances,
    right: NDArray[np.bool_],
    half: Halves,
    drawn: Redrawn,
    *,
    percentile: float = LIMIT_PERCENTILE,
) -> OutOfDistribution:
    """The limit of distance, the share beyond it, and what it tells of mistakes.

    ``right`` (n) says which pictures were named right.
    """
    known = bool(np.isfinite(distances).all())
    if not known or len(np.unique(half)) == 1:
        why = _ONE_GROUP if known else _NO_FEATURES
        absent = Figure(value=None, pictures=len(distances), groups=len(np.unique(drawn.groups)), why=why)
        return OutOfDistribution(
            percentile=percentile,
            limit=float(np.percentile(distances, percentile)) if known else None,
            half_limits=(),
            beyond=absent,
            mistakes=absent,
            accuracy_within=absent,
            accuracy_beyond=absent,
            words=why,
        )
    limits = [float(np.percentile(distances[half != side], percentile)) for side in (0, 1)]
    beyond = distances > np.where(half == 0, *limits)
    wrong = ~right
    one_sort = "every picture was named right" if right.all() else "every picture was named wrong"
    return OutOfDistribution(
        percentile=percentile,
        limit=float(np.percentile(distances, percentile)),
        half_limits=tuple(limits),
        beyond=drawn.share(beyond),
        mistakes=drawn.figure(
            drawn.weighted(lambda weights: roc_area(distances.astype(np.float64), wrong, weights)),
            sides=(wrong, right),
            undefined=one_sort,
        ),
        accuracy_within=drawn.share(right, of=~beyond, undefined="every picture lies beyond the limit"),
        accuracy_beyond=drawn.share(right, of=beyond, undefined="no picture lies beyond the limit"),
        words=_WORDS.format(percentile=percentile),
    )


def judge_strangers(
    known: Predictions,
    strange: Predictions,
    *,
    name: str,
    percentile: float = LIMIT_PERCENTILE,
    draws: int = 1000,
    seed: int = 0,
) -> Strangers:
    """How well distance tells ``strange`` pictures from ``known`` held-out ones, asked of the same network.

    Groups of both are redrawn apart. The limit is the percentile of the known pictures. Raises
    EvaluationError where either has no distances.
    """
    distances = np.concatenate([known.distances, strange.distances]).astype(np.float64)
    if not np.isfinite(distances).all():
        raise EvaluationError(
            f"Strangers ({name}) cannot be told by distance: {_NO_FEATURES}",
            remedy="Evaluate a network, not a classifier over pixels.",
        )
    is_strange = np.concatenate([np.zeros(len(known.names), bool), np.ones(len(strange.names), bool)])
    apart = known.groups.max() + 1 - strange.groups.min()
    drawn = redrawn(
        is_strange.astype(np.int64),
        np.concatenate([known.groups, strange.groups + apart]),
        word=known.grouped_by,
        draws=draws,
        seed=seed,
    )
    limit = float(np.percentile(known.distances, percentile))
    return Strangers(
        name=name,
        pictures=len(strange.names),
        groups=len(np.unique(strange.groups)),
        roc_auc=drawn.figure(
            drawn.weighted(lambda weights: roc_area(distances, is_strange, weights)),
            sides=(is_strange, ~is_strange),
        ),
        refused=drawn.share(distances > limit, of=is_strange),
        limit=limit,
    )
