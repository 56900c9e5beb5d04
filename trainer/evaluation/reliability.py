"""How far confidence can be believed, before and after temperature scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.calibration import (
    BINS,
    bin_of,
    cross_fitted,
    fit_temperature,
    gaps,
    softmax,
)
from trainer.evaluation.evaluation import Calibration, Figure, ReliabilityBin
from trainer.evaluation.halves import Halves
from trainer.evaluation.intervals import Redrawn, quotient

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]

_WORDS = (
    "Each half of the groups is judged with the temperature fitted on the other half. Chance tends to make "
    "an error over {bins} bins larger than it is; its interval has the bias of redrawing taken off."
)
_ONE_GROUP = "All pictures are of one group: no temperature can be fitted on pictures it is not judged on."


def calibrate(logits: Scores, labels: Labels, half: Halves, drawn: Redrawn) -> Calibration:
    """Calibration as it is, and cross-fitted over the two halves of the groups."""
    before = softmax(logits)
    sides = np.unique(half)
    if len(sides) < 2:  # noqa: PLR2004
        absent = Figure(value=None, pictures=len(labels), groups=len(np.unique(drawn.groups)), why=_ONE_GROUP)
        return Calibration(
            temperature=None,
            half_temperatures=(),
            error_before=_error(before, labels, drawn),
            error_after=absent,
            likelihood_before=_likelihood(before, labels, drawn),
            likelihood_after=absent,
            bins_before=bins(before, labels),
            bins_after=(),
            words=_ONE_GROUP,
        )
    after = cross_fitted(logits, labels, half)
    return Calibration(
        temperature=fit_temperature(logits, labels),
        half_temperatures=tuple(
            fit_temperature(logits[half != side], labels[half != side]) for side in sides
        ),
        error_before=_error(before, labels, drawn),
        error_after=_error(after, labels, drawn),
        likelihood_before=_likelihood(before, labels, drawn),
        likelihood_after=_likelihood(after, labels, drawn),
        bins_before=bins(before, labels),
        bins_after=bins(after, labels),
        words=_WORDS.format(bins=BINS),
    )


def bins(probabilities: Scores, labels: Labels) -> tuple[ReliabilityBin, ...]:
    """The bins of a reliability diagram (DeGroot and Fienberg 1983), empty ones too."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = bin_of(confidence)
    found = []
    for each in range(BINS):
        here = place == each
        some = bool(here.any())
        found.append(
            ReliabilityBin(
                low=each / BINS,
                high=(each + 1) / BINS,
                pictures=int(here.sum()),
                confidence=min(1.0, float(confidence[here].mean(dtype=np.float64))) if some else None,
                accuracy=float(right[here].mean()) if some else None,
            )
        )
    return tuple(found)


def _error(probabilities: Scores, labels: Labels, drawn: Redrawn) -> Figure:
    total = drawn.sums(np.ones(len(labels)))
    rows = quotient(np.abs(drawn.sums(gaps(probabilities, labels))).sum(axis=1), total)
    # A sum of absolute gaps grows by redrawing, so that redraws of a small error may all lie above it: take
    # that bias off (Efron and Tibshirani 1993, chapter 10).
    rows[1:] = np.maximum(rows[1:] - (rows[1:].mean() - rows[0]), 0)
    return drawn.figure(rows)


def _likelihood(probabilities: Scores, labels: Labels, drawn: Redrawn) -> Figure:
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return drawn.mean(-np.log(np.maximum(chosen, 1e-12)))
