"""From a network's answers for pictures it has not seen to everything that is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from trainer.evaluation.calibration import softmax
from trainer.evaluation.conformal import KINDS, LEVELS, prediction_sets
from trainer.evaluation.evaluation import (
    DISJOINT,
    LEAKY,
    ColourBaseline,
    ColourFigures,
    ColourOfClass,
    Confusion,
    Evaluation,
    FoldFigures,
)
from trainer.evaluation.figures import class_figures, log_odds, named_differences, named_figures, one_hot
from trainer.evaluation.halves import balanced_halves
from trainer.evaluation.intervals import Redrawn, redrawn
from trainer.evaluation.leakage import demand_disjoint, shared_groups
from trainer.evaluation.operating import operating_point
from trainer.evaluation.outliers import judge_distances, judge_strangers
from trainer.evaluation.paired import Pair
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.reliability import calibrate
from trainer.evaluation.shifts import Shifted, judge_shift
from trainer.evaluation.words import sentences

Labels = NDArray[np.int64]

TARGET_SENSITIVITY: Final = 0.95
_COLOUR_WORDS: Final = (
    "Six colour statistics of a picture and the nearest training picture: what staining and light alone "
    "give away. A network is worth what it adds to that."
)


def evaluate(
    predictions: Predictions,
    *,
    positive: str | None,
    target_sensitivity: float = TARGET_SENSITIVITY,
    draws: int = 1000,
    seed: int = 0,
    leaky: bool = False,
    shifted: Sequence[Shifted] = (),
    strangers: Mapping[str, Predictions] | None = None,
) -> Evaluation:
    """Every figure of held-out pictures, with its interval.

    ``positive`` names the class that sensitivity speaks of, where there is one; without it each class gets
    an operating point. ``leaky`` is for a published protocol that kept groups together on no side: figures
    are then given, and say so. ``shifted`` are answers for the same pictures after a shift, in the same
    order; ``strangers`` are answers for pictures that should be refused, by name.

    Raises EvaluationError where a group stands on both sides of a fold (unless ``leaky``), where there is no
    picture, where a logit is not a number, or where ``positive`` is no class.
    """
    _demand_answers(predictions, positive, shifted)
    leaking = np.unique(np.concatenate([np.empty(0, int), *shared_groups(predictions).values()]))
    if not leaky:
        demand_disjoint(predictions)
    labels, classes = predictions.labels, predictions.classes
    named = _named(predictions)
    drawn = _redrawn(predictions, np.ones(len(labels), dtype=bool), draws, seed)
    half = balanced_halves(labels, predictions.groups)
    probabilities = softmax(predictions.logits)
    overall, by_class = class_figures(
        classes=classes, labels=labels, named=named, odds=log_odds(predictions.logits), drawn=drawn
    )
    place = None if positive is None else classes.index(positive)
    return Evaluation(
        classes=classes,
        positive=positive,
        pictures=len(labels),
        groups=len(np.unique(predictions.groups)),
        grouped_by=predictions.grouped_by,
        protocol=LEAKY if len(leaking) else DISJOINT,
        leaking_groups=len(leaking),
        draws=draws,
        seed=seed,
        overall=overall,
        by_class=by_class,
        by_fold=tuple(_of_fold(predictions, int(fold), draws, seed) for fold in np.unique(predictions.folds)),
        confusion=_confusion(classes, labels, named),
        calibration=calibrate(predictions.logits, labels, half, drawn),
        operating_points=tuple(
            operating_point(
                probabilities[:, each],
                labels == each,
                half,
                drawn,
                name=classes[each],
                target_sensitivity=target_sensitivity,
            )
            for each in (range(len(classes)) if place is None else (place,))
        ),
        prediction_sets=tuple(
            prediction_sets(probabilities, labels, half, drawn, classes=classes, level=level, kind=kind)
            for kind in KINDS
            for level in LEVELS
        ),
        out_of_distribution=judge_distances(predictions.distances, named == labels, half, drawn),
        colour_baseline=_colour(predictions, named, drawn),
        shifts=tuple(
            judge_shift(each, labels=labels, named=named, classes=len(classes), positive=place, drawn=drawn)
            for each in shifted
        ),
        strangers=tuple(
            judge_strangers(predictions, each, name=name, draws=draws, seed=seed)
            for name, each in (strangers or {}).items()
        ),
        words=sentences(predictions, leaking=len(leaking), draws=draws),
    )


def _demand_answers(predictions: Predictions, positive: str | None, shifted: Sequence[Shifted]) -> None:
    if not predictions.names:
        raise EvaluationError("There is no held-out picture.", remedy="Hold some groups out.")
    if positive is not None and positive not in predictions.classes:
        raise EvaluationError(
            f"{positive} is none of the classes ({', '.join(predictions.classes)}).",
            remedy="Name one of them as the positive class.",
        )
    undefined = np.flatnonzero(np.isnan(predictions.logits).any(axis=1))
    if len(undefined):
        raise EvaluationError(
            f"The network's answers for {len(undefined)} pictures are not numbers, "
            f"{predictions.names[int(undefined[0])]} among them.",
            remedy="The training diverged: lower its rate.",
        )
    for each in shifted:
        if each.logits.shape != predictions.logits.shape:
            raise EvaluationError(
                f"{len(each.logits)} answers under {each.shift.kind} ({each.shift.severity}) for "
                f"{len(predictions.names)} pictures.",
                remedy="Ask the network for every held-out picture, in the same order.",
            )


def _named(predictions: Predictions) -> Labels:
    return np.asarray(predictions.logits.argmax(axis=1), dtype=np.int64)


def _redrawn(predictions: Predictions, mask: NDArray[np.bool_], draws: int, seed: int) -> Redrawn:
    return redrawn(
        predictions.labels[mask],
        predictions.groups[mask],
        word=predictions.grouped_by,
        draws=draws,
        seed=seed,
    )


def _of_fold(predictions: Predictions, fold: int, draws: int, seed: int) -> FoldFigures:
    mask = predictions.folds == fold
    labels, named = predictions.labels[mask], _named(predictions)[mask]
    pair = Pair(
        labels=labels,
        named=named,
        reference=labels,
        classes=len(predictions.classes),
        drawn=_redrawn(predictions, mask, draws, seed),
    )
    return FoldFigures(
        fold=fold,
        pictures=len(labels),
        groups=len(np.unique(predictions.groups[mask])),
        trained_groups=len(np.unique(predictions.train_groups[predictions.train_folds == fold])),
        shared_groups=len(shared_groups(predictions).get(fold, ())),
        accuracy=pair.accuracy(),
        balanced_accuracy=pair.balanced_accuracy(),
    )


def _confusion(classes: tuple[str, ...], labels: Labels, named: Labels) -> Confusion:
    counts = one_hot(labels, named, len(classes)).sum(axis=0).astype(int)
    return Confusion(classes=classes, counts=tuple(tuple(row) for row in counts.tolist()))


def _colour(predictions: Predictions, named: Labels, drawn: Redrawn) -> ColourBaseline:
    labels, colour, classes = predictions.labels, predictions.colour_named, predictions.classes
    reached = named_figures(classes=classes, labels=labels, named=colour, drawn=drawn)
    gained = named_differences(classes=classes, labels=labels, named=named, reference=colour, drawn=drawn)
    return ColourBaseline(
        overall=ColourFigures(reached=reached[0], difference=gained[0]),
        by_class=tuple(
            ColourOfClass(name=name, reached=own, difference=more)
            for name, own, more in zip(classes, reached[1], gained[1], strict=True)
        ),
        words=_COLOUR_WORDS,
    )
