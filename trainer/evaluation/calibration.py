"""Makes probabilities honest, and measures how honest they are."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]

_LOG_TEMPERATURE_RANGE: Final = (-2.0, 2.0)
BINS: Final = 15


def softmax(logits: Scores, *, temperature: float = 1.0) -> Scores:
    """Probabilities (n, classes) of logits divided by ``temperature``."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def negative_log_likelihood(logits: Scores, labels: Labels, *, temperature: float = 1.0) -> float:
    """The mean of -log p(true class), in nats."""
    chosen = softmax(logits, temperature=temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def fit_temperature(logits: Scores, labels: Labels) -> float:
    """The temperature with the least negative log likelihood (Guo et al., ICML 2017)."""
    if len(labels) == 0:
        raise ValueError("a temperature cannot be fitted on no cells")
    found = minimize_scalar(
        lambda log: negative_log_likelihood(logits, labels, temperature=float(np.exp(log))),
        bounds=_LOG_TEMPERATURE_RANGE,
        method="bounded",
    )
    return float(np.exp(found.x))


def cross_fitted(logits: Scores, labels: Labels, half: Labels) -> Scores:
    """Probabilities of each picture with a temperature fitted on the other half.

    So that a figure of calibration is never quoted for the pictures that it was fitted on. ``half`` is 0 or 1
    for each, the same for all pictures of a group.
    """
    probabilities = np.empty_like(logits)
    for side in (0, 1):
        other = half != side
        temperature = fit_temperature(logits[other], labels[other]) if other.any() else 1.0
        probabilities[half == side] = softmax(logits[half == side], temperature=temperature)
    return probabilities


def bin_of(confidence: Scores) -> Labels:
    """Which of the equal bins of confidence each lies in."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def gaps(probabilities: Scores, labels: Labels) -> NDArray[np.float64]:
    """Right (1 or 0) minus confidence of each picture, in the column of its bin (n, bins); 0 elsewhere."""
    confidence = probabilities.max(axis=1)
    own = np.zeros((len(labels), BINS))
    right = probabilities.argmax(axis=1) == labels
    own[np.arange(len(labels)), bin_of(confidence)] = right - confidence.astype(np.float64)
    return own


def expected_calibration_error(probabilities: Scores, labels: Labels) -> float:
    """The mean gap between confidence and accuracy over 15 equal bins of confidence (Naeini, AAAI 2015)."""
    return float(np.abs(gaps(probabilities, labels).sum(axis=0)).sum() / len(labels))
