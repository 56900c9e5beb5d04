"""What a network needs beside its weights to be served, fitted anew for its rounded version.

A temperature and distances are fitted to a network's own logits and features. Rounding moves both a little,
and learning on moves them more. Each version therefore gets its own, so that the limits that were chosen for
the float network hold for every version: the same confidence means the same, and so does the same distance.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from trainer.evaluation.distance import DistanceModel

Scores = NDArray[np.float32]

_LOG_REACH: Final = 2.0


def matched_temperature(before: Scores, after: Scores, *, temperature: float) -> float:
    """The temperature at which ``after`` answers most nearly as ``before`` does at ``temperature``.

    Both are logits (n, classes) of two versions of a network for the same pictures. The least mean
    Kullback-Leibler divergence is taken (Hinton et al. 2015, arXiv:1503.02531, with one number to learn). It
    needs no labels: pictures that both versions were trained on do, though their labels are known by heart.
    """
    wanted = softmax(before.astype(np.float64) / temperature, axis=1)
    given = after.astype(np.float64) / temperature

    def divergence(log: float) -> float:
        """But for the answers' own entropy, which no temperature changes."""
        return float(-(wanted * log_softmax(given / np.exp(log), axis=1)).sum(axis=1).mean())

    found = minimize_scalar(divergence, bounds=(-_LOG_REACH, _LOG_REACH), method="bounded")
    return float(temperature * np.exp(found.x))


def scaled(model: DistanceModel, factor: float) -> DistanceModel:
    """The model whose every distance is ``factor`` times as large."""
    return DistanceModel(
        projection=(model.projection * factor).astype(np.float32),
        centers=(model.centers * factor).astype(np.float32),
    )
