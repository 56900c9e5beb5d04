"""Groups that a fold trained on and is judged on: with any, no figure is honest."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from trainer.evaluation.predictions import Predictions

_NAMED: Final = 8


def shared_groups(predictions: Predictions) -> dict[int, NDArray[np.int64]]:
    """For each fold with any, the groups that stand among its training and its held-out pictures."""
    found = {}
    for fold in np.unique(predictions.folds):
        both = np.intersect1d(
            predictions.groups[predictions.folds == fold],
            predictions.train_groups[predictions.train_folds == fold],
        )
        if len(both):
            found[int(fold)] = both
    return found


def demand_disjoint(predictions: Predictions) -> None:
    """Let no figure be made of predictions where a group stands on both sides of a fold.

    Raises EvaluationError naming the groups, the fold, and a picture of each.
    """
    for fold, groups in shared_groups(predictions).items():
        held_out = predictions.folds == fold
        shown = [
            f"{group} ({predictions.names[int(np.flatnonzero(held_out & (predictions.groups == group))[0])]})"
            for group in groups[:_NAMED].tolist()
        ]
        more = f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
        raise EvaluationError(
            f"Fold {fold} is judged on pictures of {len(groups)} {predictions.grouped_by}(s) that it trained "
            f"on, so no figure is given: {', '.join(shown)}{more}.",
            remedy="Split by group, or follow a paper that did not with --protocol published.",
        )
