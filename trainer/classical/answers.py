"""Fits a classical classifier on features and asks it about held-out ones, in logarithms of probabilities.

How each classifier's opinion becomes a probability, never changing which class it answers:

- naive Bayes and the linear discriminant give probabilities of their own;
- a tree's leaf and a neighbourhood give counts n_c of their n training pictures, and (n_c + 1) over
  (n + classes) is Laplace's rule of succession: one neighbour alone does not make a class certain;
- a support vector machine gives scores. They are divided by a temperature (Guo et al., ICML 2017) with the
  least loss on scores that machines fitted on parts of the *training* pictures give the rest of them. These
  parts respect the groups, so that no probability leans on a patient that was on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from trainer.classical.classifiers import CLASSIFIER, build_classifier
from trainer.data.folds import honest_folds
from trainer.errors import DataError
from trainer.evaluation.calibration import fit_temperature
from trainer.recipes.recipe import ClassicalRecipe

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Scores = NDArray[np.float32]

_INNER_FOLDS: Final = (3, 2)
"""So many parts of the training pictures, or, where the groups do not allow it, so many."""
_FEWEST_CLASSES: Final = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassicalAnswers:
    """Answers for m held-out pictures.

    ``logits`` (m, classes) are logarithms of probabilities. ``temperature`` is what a support vector
    machine's scores were divided by; None where there was none to fit: the classifier gives probabilities of
    its own, or the training groups cannot be parted with every class on both sides, and scores stand as
    they are.
    """

    logits: Scores
    temperature: float | None

    @property
    def named(self) -> Labels:
        """The class that each picture was given (m)."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)


def fit_and_answer(
    recipe: ClassicalRecipe,
    *,
    features: Features,
    labels: Labels,
    groups: Labels,
    asked: Features,
    classes: int,
    seed: int,
) -> ClassicalAnswers:
    """Fit on ``features`` (n, P) with ``labels`` and ``groups`` (n), and answer for ``asked`` (m, P).

    A class of which no picture was trained on gets the probability of Laplace's rule, 1 / (n + classes).
    Raises DataError where a feature is not a finite number, or where fewer than two classes are trained on.
    """
    _check(features, labels, groups, asked)
    model = build_classifier(recipe, seed=seed)
    known = np.unique(labels)
    temperature: float | None = None
    if isinstance(model[CLASSIFIER], SVC):
        scores, temperature = _machine_scores(model, features, labels, groups, asked, seed=seed)
        opinion = log_softmax(scores / (temperature or 1.0), axis=1)
    else:
        opinion = _log_probabilities(model.fit(features, labels), asked)
    if len(known) == classes:
        return ClassicalAnswers(logits=opinion.astype(np.float32), temperature=temperature)
    unseen = 1 / (len(labels) + classes)
    logits = np.full((len(asked), classes), np.log(unseen))
    logits[:, known] = opinion + np.log1p(-unseen * (classes - len(known)))
    return ClassicalAnswers(logits=logits.astype(np.float32), temperature=temperature)


def _check(features: Features, labels: Labels, groups: Labels, asked: Features) -> None:
    if not len(features) == len(labels) == len(groups):
        raise ValueError(f"{len(features)} rows, {len(labels)} labels, {len(groups)} groups")
    if features.shape[1:] != asked.shape[1:]:
        raise ValueError(f"fitted on {features.shape[1:]} features, asked about {asked.shape[1:]}")
    for words, rows in (("training", features), ("held-out", asked)):
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(broken):
            raise DataError(
                f"{len(broken)} of {len(rows)} {words} pictures have features that are no finite number "
                f"(the first is row {broken[0]}).",
                remedy="Look for a damaged picture or network, and make the features again.",
            )
    if len(np.unique(labels)) < _FEWEST_CLASSES:
        raise DataError(
            "A classifier cannot be fitted on pictures of a single class.",
            remedy="Give more groups of the other classes, or fewer folds.",
        )


def _machine_scores(
    model: Pipeline, features: Features, labels: Labels, groups: Labels, asked: Features, *, seed: int
) -> tuple[NDArray[np.float64], float | None]:
    """Scores (m, known classes) of a machine fitted on everything, and the temperature for them.

    The kernel of every two training pictures is worked out once, as a product of matrices, for this machine
    and for those that the temperature needs: 8 n^2 bytes instead of most of the time. So all of these share
    one standardisation, by the training pictures and without their labels.
    """
    kernel = _Kernel.of(model[CLASSIFIER], count=features.shape[1])
    prepared = model[:-1].fit(features) if len(model.steps) > 1 else None
    rows, rest = (each if prepared is None else prepared.transform(each) for each in (features, asked))
    machine = clone(model[CLASSIFIER]).set_params(kernel="precomputed")
    gram = kernel.between(rows, rows)
    scores = _scores(machine.fit(gram, labels), kernel.between(rest, rows))
    return scores, _temperature(machine, gram, labels, groups, seed=seed)


@dataclass(frozen=True, kw_only=True)
class _Kernel:
    """The kernel of a machine that is to be fitted on so many features."""

    name: str
    parameters: dict[str, float]

    @classmethod
    def of(cls, machine: SVC, *, count: int) -> _Kernel:
        gamma = 1 / count if machine.gamma == "auto" else machine.gamma
        parameters = {"gamma": gamma, "degree": machine.degree, "coef0": machine.coef0}
        return cls(name=machine.kernel, parameters=parameters)

    def between(self, one: Features, other: Features) -> NDArray[np.float64]:
        """The kernel of each row of one with each row of the other."""
        found = pairwise_kernels(
            one.astype(np.float64),
            other.astype(np.float64),
            metric=self.name,
            filter_params=True,
            **self.parameters,
        )
        return np.ascontiguousarray(found, dtype=np.float64)


def _scores(machine: SVC, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """A machine's scores (m, known classes); of two classes, the second's margin against zero."""
    scores: NDArray[np.float64] = machine.decision_function(kernel)
    return np.stack([np.zeros_like(scores), scores], axis=1) if scores.ndim == 1 else scores


def _temperature(
    machine: SVC, gram: NDArray[np.float64], labels: Labels, groups: Labels, *, seed: int
) -> float | None:
    """The temperature for a machine's scores, from machines like it that did not see what they score."""
    _, places = np.unique(labels, return_inverse=True)
    for count in _INNER_FOLDS:
        try:
            folds = honest_folds(labels.tolist(), groups.tolist(), folds=count, seed=seed)
        except DataError:  # too few groups of a class for so many parts
            continue
        held_out = np.empty((len(labels), int(places.max()) + 1))
        for fold in folds:
            train, rest = np.array(fold.train), np.array(fold.held_out)
            part = clone(machine).fit(gram[np.ix_(train, train)], labels[train])
            held_out[rest] = _scores(part, gram[np.ix_(rest, train)])
        # Scores have no unit: the search for a temperature is about that of numbers that spread like 1.
        spread = float(held_out.std()) or 1.0
        return spread * fit_temperature((held_out / spread).astype(np.float32), places.astype(np.int64))
    return None


def _log_probabilities(model: Pipeline, asked: Features) -> NDArray[np.float64]:
    last: Any = model[CLASSIFIER]
    if not isinstance(last, (DecisionTreeClassifier, KNeighborsClassifier)):
        return np.asarray(model.predict_log_proba(asked), dtype=np.float64)
    prepared = model[:-1].transform(asked) if len(model.steps) > 1 else asked
    shares = np.asarray(last.predict_proba(prepared), dtype=np.float64)
    if isinstance(last, DecisionTreeClassifier):
        counted = last.tree_.n_node_samples[last.apply(prepared)][:, None]
    else:
        counted = np.array([[last.n_neighbors]])
    return np.asarray(np.log((shares * counted + 1) / (counted + shares.shape[1])))
