"""Figures of named pictures and of scores: plain arithmetic, over every redraw at once.

Confusion counts are (..., classes, classes), rows true, columns named. A figure with nothing to divide by is
NaN. They agree with scikit-learn's metrics for a sample weighted by how often each group was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.evaluation import METRICS, ClassFigures, Figures
from trainer.evaluation.intervals import Mask, Redrawn, Rows, quotient

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]
Counts = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rates:
    """Figures (..., classes) of each class against the others."""

    accuracy: Counts
    balanced_accuracy: Counts
    sensitivity: Counts
    specificity: Counts
    precision: Counts
    f1: Counts


def one_hot(labels: Labels, named: Labels, classes: int) -> Counts:
    """Each picture's own confusion counts (n, classes, classes)."""
    cells = np.zeros((len(labels), classes, classes))
    cells[np.arange(len(labels)), labels, named] = 1
    return cells


def rates(confusion: Counts) -> Rates:
    """The figures of each class against all others."""
    true_positive = np.diagonal(confusion, axis1=-2, axis2=-1)
    missed = confusion.sum(axis=-1) - true_positive
    false_alarm = confusion.sum(axis=-2) - true_positive
    total = confusion.sum(axis=(-2, -1))[..., None]
    true_negative = total - true_positive - missed - false_alarm
    sensitivity = quotient(true_positive, true_positive + missed)
    specificity = quotient(true_negative, true_negative + false_alarm)
    return Rates(
        accuracy=quotient(true_positive + true_negative, total),
        balanced_accuracy=(sensitivity + specificity) / 2,
        sensitivity=sensitivity,
        specificity=specificity,
        precision=quotient(true_positive, true_positive + false_alarm),
        f1=quotient(2 * true_positive, 2 * true_positive + missed + false_alarm),
    )


def accuracy_rows(confusion: Counts) -> Counts:
    """The share of pictures named right."""
    return quotient(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def balanced_rows(confusion: Counts, present: Mask) -> Counts:
    """The mean recall over the classes ``present`` (classes)."""
    return np.asarray(rates(confusion).sensitivity[..., present].mean(axis=-1), dtype=np.float64)


def log_odds(logits: Scores) -> NDArray[np.float64]:
    """Each class's logit against all others' (n, classes).

    They order pictures as probabilities do, without the ties that probabilities close to 1 round into.
    """
    exact = np.asarray(logits, dtype=np.float64)
    against = np.empty_like(exact)
    for each in range(exact.shape[1]):
        others = np.delete(exact, each, axis=1)
        top = others.max(axis=1, keepdims=True)
        shift = np.where(np.isfinite(top), top, 0)
        with np.errstate(divide="ignore"):
            against[:, each] = np.log(np.exp(others - shift).sum(axis=1)) + shift[:, 0]
    return exact - against


def roc_area(scores: NDArray[np.float64], positive: Mask, weights: Counts) -> Counts:
    """The area below the ROC curve for each row of ``weights`` (rows, n).

    How often a positive picture has the higher score, ties counting half (Hanley and McNeil 1982).
    """
    hits, others = _tied_sums(scores, positive, weights)
    below = np.cumsum(others, axis=1) - others
    return quotient((hits * (below + others / 2)).sum(axis=1), hits.sum(axis=1) * others.sum(axis=1))


def precision_recall_area(scores: NDArray[np.float64], positive: Mask, weights: Counts) -> Counts:
    """Average precision for each row of ``weights`` (rows, n).

    Precision at each score, weighted by the recall gained there; no interpolation.
    """
    hits, others = _tied_sums(scores, positive, weights)
    hits, others = hits[:, ::-1], others[:, ::-1]
    found = np.cumsum(hits, axis=1)
    precision = np.nan_to_num(quotient(found, found + np.cumsum(others, axis=1)))
    return quotient((hits * precision).sum(axis=1), hits.sum(axis=1))


def class_figures(
    *, classes: tuple[str, ...], labels: Labels, named: Labels, odds: NDArray[np.float64], drawn: Redrawn
) -> tuple[Figures, tuple[ClassFigures, ...]]:
    """The figures of all classes together, and of each."""
    confusion = drawn.sums(one_hot(labels, named, len(classes)))
    own = rates(confusion)
    areas = [areas_rows(odds[:, each], labels == each, drawn) for each in range(len(classes))]
    present = np.array([bool((labels == each).any()) for each in range(len(classes))])
    by_class = tuple(
        ClassFigures(
            name=name,
            pictures=int((labels == each).sum()),
            groups=len(np.unique(drawn.groups[labels == each])),
            figures=_of_class(
                name, each, labels=labels, named=named, own=own, areas=areas[each], drawn=drawn
            ),
        )
        for each, name in enumerate(classes)
    )
    return _overall(classes, labels, named, confusion, own, areas, present, drawn), by_class


def areas_rows(scores: NDArray[np.float64], positive: Mask, drawn: Redrawn) -> tuple[Rows, Rows]:
    """ROC area and average precision of scores, in each row of the redraws."""
    both = drawn.weighted(
        lambda weights: np.stack(
            [
                roc_area(scores, positive, weights),
                precision_recall_area(scores, positive, weights),
            ],
            axis=1,
        )
    )
    return both[:, 0], both[:, 1]


def _of_class(
    name: str,
    each: int,
    *,
    labels: Labels,
    named: Labels,
    own: Rates,
    areas: tuple[Rows, Rows],
    drawn: Redrawn,
) -> Figures:
    is_class, said = labels == each, named == each
    nobody = f"no picture of {name}" if not is_class.any() else f"every picture is {name}"
    both = (is_class, ~is_class)
    return Figures(
        accuracy=drawn.figure(own.accuracy[:, each], proportion=True),
        balanced_accuracy=drawn.figure(
            own.balanced_accuracy[:, each], sides=both, undefined=nobody, proportion=True
        ),
        sensitivity=drawn.figure(
            own.sensitivity[:, each], of=is_class, undefined=f"no picture of {name}", proportion=True
        ),
        specificity=drawn.figure(
            own.specificity[:, each], of=~is_class, undefined=f"every picture is {name}", proportion=True
        ),
        precision=drawn.figure(
            own.precision[:, each], of=said, undefined=f"no picture was named {name}", proportion=True
        ),
        f1=drawn.figure(
            own.f1[:, each], of=is_class | said, undefined=f"no picture of {name}", proportion=True
        ),
        roc_auc=drawn.figure(areas[0], sides=both, undefined=nobody),
        pr_auc=drawn.figure(areas[1], sides=both, undefined=nobody),
    )


def _overall(
    classes: tuple[str, ...],
    labels: Labels,
    named: Labels,
    confusion: Counts,
    own: Rates,
    areas: list[tuple[Rows, Rows]],
    present: Mask,
    drawn: Redrawn,
) -> Figures:
    sides = tuple(labels == each for each in np.flatnonzero(present))
    unnamed = [name for each, name in enumerate(classes) if present[each] and not (named == each).any()]
    alone = f"every picture is {classes[int(np.argmax(present))]}"

    shares = {
        "balanced_accuracy": (own.sensitivity, ""),
        "sensitivity": (own.sensitivity, ""),
        "specificity": (own.specificity, alone),
        "precision": (own.precision, f"no picture was named {', '.join(unnamed)}"),
        "f1": (own.f1, ""),
    }
    curves = {
        "roc_auc": np.stack([roc for roc, _ in areas], axis=1),
        "pr_auc": np.stack([pr for _, pr in areas], axis=1),
    }
    found = {
        name: drawn.figure(rows[:, present].mean(axis=1), sides=sides, undefined=undefined, proportion=True)
        for name, (rows, undefined) in shares.items()
    } | {
        name: drawn.figure(rows[:, present].mean(axis=1), sides=sides, undefined=alone)
        for name, rows in curves.items()
    }
    found["accuracy"] = drawn.figure(accuracy_rows(confusion), proportion=True)
    return Figures(**{metric: found[metric] for metric in METRICS})


def _tied_sums(scores: NDArray[np.float64], positive: Mask, weights: Counts) -> tuple[Counts, Counts]:
    """Weights of positive and of other pictures at each different score, ascending: (rows, scores) each."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(_ranks(scores[order])) > 0]))
    ordered, hit = weights[:, order], positive[order].astype(np.float64)
    hits = np.add.reduceat(ordered * hit, starts, axis=1)
    return hits, np.add.reduceat(ordered, starts, axis=1) - hits


def _ranks(ascending: NDArray[np.float64]) -> Labels:
    """The rank of each score; infinite ones are like any other."""
    return np.unique(ascending, return_inverse=True)[1].astype(np.int64)
