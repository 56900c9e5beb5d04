"""Figures of named pictures and of scores: plain arithmetic, over every redraw at once.

Confusion counts are (..., classes, classes), rows true, columns named. A figure with nothing to divide by is
NaN. They agree with scikit-learn's metrics for a sample weighted by how often each group was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.evaluation import ClassFigures, Figures, NamedFigures
from trainer.evaluation.intervals import Mask, Redrawn, Rows, quotient

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]
Counts = NDArray[np.float64]


class _Of(TypedDict, total=False):
    """What `Redrawn.figure` is told of the pictures of a figure."""

    of: Mask
    sides: tuple[Mask, ...]
    undefined: str


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
    overall, own = named_figures(classes=classes, labels=labels, named=named, drawn=drawn)
    areas = [areas_rows(odds[:, each], labels == each, drawn) for each in range(len(classes))]
    by_class = tuple(
        ClassFigures(
            name=name,
            pictures=int((labels == each).sum()),
            groups=len(np.unique(drawn.groups[labels == each])),
            figures=_with_areas(own[each], name, labels == each, areas[each], drawn),
        )
        for each, name in enumerate(classes)
    )
    asked = _Asked.of(classes, labels, (named,))
    roc_auc, pr_auc = (
        drawn.figure(
            np.stack([area[curve] for area in areas], axis=1)[:, asked.present].mean(axis=1),
            sides=asked.sides,
            undefined=asked.alone,
        )
        for curve in (0, 1)
    )
    return Figures(**dict(overall), roc_auc=roc_auc, pr_auc=pr_auc), by_class


def named_figures(
    *, classes: tuple[str, ...], labels: Labels, named: Labels, drawn: Redrawn
) -> tuple[NamedFigures, tuple[NamedFigures, ...]]:
    """The figures of names alone: of all classes together, and of each."""
    asked = _Asked.of(classes, labels, (named,))
    rows = _rows(drawn.sums(one_hot(labels, named, len(classes))), asked.present)
    return asked.figures(rows, drawn, proportion=True)


def named_differences(
    *, classes: tuple[str, ...], labels: Labels, named: Labels, reference: Labels, drawn: Redrawn
) -> tuple[NamedFigures, tuple[NamedFigures, ...]]:
    """The figures of ``named`` less those of ``reference``, in the same redraws; as `named_figures`."""
    asked = _Asked.of(classes, labels, (named, reference))
    first, second = (
        _rows(drawn.sums(one_hot(labels, each, len(classes))), asked.present) for each in (named, reference)
    )
    return asked.figures(
        [{name: own[name] - other[name] for name in own} for own, other in zip(first, second, strict=True)],
        drawn,
        proportion=False,
    )


def _rows(confusion: Counts, present: Mask) -> list[dict[str, Rows]]:
    """Each figure's rows: of all classes together, and then of each."""
    own = vars(rates(confusion))
    overall = {name: values[:, present].mean(axis=1) for name, values in own.items()}
    # The mean recall is the balanced accuracy of all classes; that of one class against the rest is another.
    overall |= {"accuracy": accuracy_rows(confusion), "balanced_accuracy": overall["sensitivity"]}
    return [
        overall,
        *({name: values[:, each] for name, values in own.items()} for each in range(confusion.shape[-1])),
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """Which pictures each figure is a figure of, and why it may have no value."""

    classes: tuple[str, ...]
    labels: Labels
    said: tuple[Labels, ...]
    """One naming of the pictures, or the two whose figures are compared."""
    present: Mask

    @classmethod
    def of(cls, classes: tuple[str, ...], labels: Labels, said: tuple[Labels, ...]) -> _Asked:
        present = np.array([bool((labels == each).any()) for each in range(len(classes))])
        return cls(classes=classes, labels=labels, said=said, present=present)

    @property
    def sides(self) -> tuple[Mask, ...]:
        """The pictures of each class."""
        return tuple(self.labels == each for each in np.flatnonzero(self.present))

    @property
    def alone(self) -> str:
        """Why a figure that needs two classes has no value."""
        return f"every picture is {self.classes[int(np.argmax(self.present))]}"

    def figures(
        self, rows: Sequence[Mapping[str, Rows]], drawn: Redrawn, *, proportion: bool
    ) -> tuple[NamedFigures, tuple[NamedFigures, ...]]:
        """Figures of the `_rows` of all classes and of each."""
        overall, *own = (
            NamedFigures(
                **{
                    name: drawn.figure(rows[place][name], proportion=proportion, **self._of(name, place))
                    for name in NamedFigures.model_fields
                }
            )
            for place in range(len(rows))
        )
        return overall, tuple(own)

    def _of(self, metric: str, place: int) -> _Of:
        return self._of_all(metric) if place == 0 else self._of_class(metric, place - 1)

    def _of_all(self, metric: str) -> _Of:
        if metric == "accuracy":
            return {}
        undefined = {"specificity": self.alone, "precision": f"no picture was named {self._unnamed()}"}
        return {"sides": self.sides, "undefined": undefined.get(metric, "")}

    def _of_class(self, metric: str, each: int) -> _Of:
        name, is_class = self.classes[each], self.labels == each
        named = np.any([said == each for said in self.said], axis=0)
        nobody, everybody = f"no picture of {name}", f"every picture is {name}"
        found: dict[str, _Of] = {
            "accuracy": {},
            "balanced_accuracy": {
                "sides": (is_class, ~is_class),
                "undefined": everybody if is_class.any() else nobody,
            },
            "sensitivity": {"of": is_class, "undefined": nobody},
            "specificity": {"of": ~is_class, "undefined": everybody},
            "precision": {"of": named, "undefined": f"no picture was named {name}{self._by_one()}"},
            "f1": {"of": is_class | named, "undefined": nobody},
        }
        return found[metric]

    def _unnamed(self) -> str:
        """The classes that stand among the pictures and that somebody named nothing."""
        names = [
            name
            for each, name in enumerate(self.classes)
            if self.present[each] and not all((said == each).any() for said in self.said)
        ]
        return ", ".join(names) + self._by_one()

    def _by_one(self) -> str:
        return " by one of the two" if len(self.said) > 1 else ""


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


def _with_areas(
    named: NamedFigures, name: str, is_class: Mask, areas: tuple[Rows, Rows], drawn: Redrawn
) -> Figures:
    nobody = f"no picture of {name}" if not is_class.any() else f"every picture is {name}"
    roc_auc, pr_auc = (drawn.figure(area, sides=(is_class, ~is_class), undefined=nobody) for area in areas)
    return Figures(**dict(named), roc_auc=roc_auc, pr_auc=pr_auc)


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
