import warnings

import numpy as np
import pytest
from sklearn import metrics

from trainer.evaluation.figures import (
    class_figures,
    log_odds,
    one_hot,
    precision_recall_area,
    rates,
    roc_area,
)
from trainer.evaluation.intervals import redrawn

# Rows true, columns named; of class 0: 30 found, 10 missed, 5 false alarms, 55 rightly not.
BY_HAND = np.array([[30.0, 10.0], [5.0, 55.0]])


def judged(labels, logits, *, groups=None, classes=("a", "b", "c"), draws=50):
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=np.float32)
    groups = np.arange(len(labels)) if groups is None else groups
    return class_figures(
        classes=classes,
        labels=labels,
        named=logits.argmax(axis=1),
        odds=log_odds(logits),
        drawn=redrawn(labels, groups, word="patient", draws=draws, seed=0),
    )


def test_rates_by_hand():
    found = rates(BY_HAND)
    assert found.sensitivity.tolist() == [30 / 40, 55 / 60]
    assert found.specificity.tolist() == [55 / 60, 30 / 40]
    assert found.precision.tolist() == [30 / 35, 55 / 65]
    assert found.accuracy.tolist() == [0.85, 0.85]
    assert found.f1.tolist() == pytest.approx([60 / 75, 110 / 125])
    assert found.balanced_accuracy.tolist() == pytest.approx([(30 / 40 + 55 / 60) / 2] * 2)


def test_a_picture_counts_in_the_row_of_its_class_and_the_column_of_its_name():
    counts = one_hot(np.array([0, 0, 1]), np.array([1, 1, 0]), 2).sum(axis=0)
    assert counts.tolist() == [[0, 2], [1, 0]]


def test_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 300, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(300, 3))
    logits[np.arange(300), labels] += 1
    overall, by_class = judged(labels, logits)
    named = logits.argmax(axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    one_hot_labels = np.eye(3)[labels]
    assert overall.accuracy.value == pytest.approx(metrics.accuracy_score(labels, named))
    assert overall.balanced_accuracy.value == pytest.approx(metrics.balanced_accuracy_score(labels, named))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(labels, named)
    assert [each.figures.sensitivity.value for each in by_class] == pytest.approx(list(recall))
    assert [each.figures.precision.value for each in by_class] == pytest.approx(list(precision))
    assert [each.figures.f1.value for each in by_class] == pytest.approx(list(f1))
    for each, own in enumerate(by_class):
        others = metrics.recall_score(labels != each, named != each)
        assert own.figures.specificity.value == pytest.approx(others)
        assert own.figures.accuracy.value == pytest.approx(((labels == each) == (named == each)).mean())
    assert overall.sensitivity.value == pytest.approx(recall.mean())
    assert overall.precision.value == pytest.approx(precision.mean())
    assert overall.f1.value == pytest.approx(f1.mean())
    assert overall.roc_auc.value == pytest.approx(
        metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"), abs=5e-4
    ), "of log odds in place of probabilities: the same order"
    assert overall.pr_auc.value == pytest.approx(
        metrics.average_precision_score(one_hot_labels, probabilities, average="macro"), abs=5e-4
    )


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
def test_areas_agree_with_scikit_learn_for_tied_scores_and_weights(levels: int):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, 80).astype(np.float64)
    positive = rng.random(80) < 0.4
    weights = rng.integers(0, 4, (6, 80)).astype(np.float64)
    expected_roc = [metrics.roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    expected_pr = [metrics.average_precision_score(positive, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(roc_area(scores, positive, weights), expected_roc)
    np.testing.assert_allclose(precision_recall_area(scores, positive, weights), expected_pr)


def test_an_area_of_one_class_alone_is_not_a_number():
    weights = np.array([[1.0, 1.0], [1.0, 0.0]])
    assert np.isnan(roc_area(np.array([0.0, 1.0]), np.array([True, False]), weights)).tolist() == [
        False,
        True,
    ]


def test_log_odds_tell_sure_answers_apart_where_probabilities_round_to_one():
    odds = log_odds(np.array([[60.0, 0.0], [90.0, 0.0]], dtype=np.float32))
    assert odds.tolist() == [[60, -60], [90, -90]]


def test_log_odds_of_certain_answers_are_infinite_and_still_ranked():
    with np.errstate(divide="ignore"):
        odds = log_odds(np.log(np.array([[1, 0], [0.5, 0.5], [0, 1]], dtype=np.float32)))
    assert odds[:, 0].tolist() == [np.inf, 0, -np.inf]
    labels = np.array([True, True, False])
    assert roc_area(odds[:, 0], labels, np.ones((1, 3))).tolist() == [1]


def test_intervals_are_those_of_scikit_learn_on_the_same_redraws():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(30), 6)
    labels = rng.integers(0, 2, 180)
    logits = rng.normal(size=(180, 2)).astype(np.float32)
    logits[np.arange(180), labels] += 1
    _, by_class = judged(labels, logits, groups=groups, classes=("a", "b"), draws=200)
    drawn = redrawn(labels, groups, word="patient", draws=200, seed=0)
    weights = np.concatenate(list(drawn.redraws.weights()))[1:]
    named, odds = logits.argmax(axis=1), logits[:, 0] - logits[:, 1]
    expected = {
        "precision": [metrics.precision_score(labels == 0, named == 0, sample_weight=row) for row in weights],
        "specificity": [metrics.recall_score(labels == 1, named == 1, sample_weight=row) for row in weights],
        "roc_auc": [metrics.roc_auc_score(labels == 0, odds, sample_weight=row) for row in weights],
    }
    for name, values in expected.items():
        found = getattr(by_class[0].figures, name)
        assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5)))), name


def test_a_class_that_was_never_named_has_no_precision_and_says_so():
    overall, by_class = judged([0, 0, 1, 2] * 5, np.tile([[2.0, 0, 0], [0, 2, 0]], (10, 1)))
    assert by_class[2].figures.precision.value is None
    assert by_class[2].figures.precision.why == "no picture was named c"
    assert overall.precision.value is None
    assert overall.precision.why == "no picture was named c"
    assert by_class[2].figures.f1.value == 0
    assert by_class[2].figures.sensitivity.value == 0


def test_a_class_without_pictures_is_null_and_left_out_of_the_means():
    labels = [0, 1] * 10
    overall, by_class = judged(labels, np.eye(3)[labels])
    absent = by_class[2].figures
    assert by_class[2].pictures == 0
    for name in ("sensitivity", "balanced_accuracy", "roc_auc", "pr_auc", "f1"):
        assert getattr(absent, name).value is None
        assert getattr(absent, name).why == "no picture of c"
    assert overall.balanced_accuracy.value == 1
    assert overall.f1.value == 1


def test_pictures_of_one_class_alone_have_no_areas_and_no_specificity():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        overall, by_class = judged([1] * 12, np.tile([[0.0, 1, 0], [1, 0, 0]], (6, 1)))
    assert overall.accuracy.value == 0.5
    assert overall.roc_auc.value is None
    assert overall.roc_auc.why == "every picture is b"
    assert by_class[1].figures.specificity.value is None
    assert by_class[1].figures.specificity.why == "every picture is b"
    assert by_class[1].figures.sensitivity.value == 0.5


def test_a_class_in_one_group_alone_leaves_means_over_classes_without_interval():
    groups = np.array([0] * 4 + list(range(1, 17)))
    labels = np.array([0] * 4 + [1] * 16)
    overall, by_class = judged(
        labels, np.random.default_rng(0).normal(size=(20, 2)), groups=groups, classes=("a", "b")
    )
    assert overall.balanced_accuracy.value is not None
    assert overall.balanced_accuracy.low is None
    assert overall.balanced_accuracy.why == "no interval from 1 patient"
    assert by_class[1].figures.sensitivity.low is not None


def test_each_figure_counts_the_pictures_and_groups_that_it_is_a_figure_of():
    labels = np.array([0] * 6 + [1] * 14)
    named = np.array([0] * 5 + [1] * 12 + [0] * 3)
    groups = np.concatenate([np.arange(6) // 2, 3 + np.arange(14) // 2])
    _, by_class = judged(labels, np.eye(2)[named], groups=groups, classes=("a", "b"))
    own = by_class[0].figures
    counted = {
        name: (getattr(own, name).pictures, getattr(own, name).groups)
        for name in ("accuracy", "sensitivity", "specificity", "precision", "f1", "roc_auc")
    }
    assert counted == {
        "accuracy": (20, 10),
        "sensitivity": (6, 3),
        "specificity": (14, 7),
        "precision": (8, 5),
        "f1": (9, 5),
        "roc_auc": (20, 10),
    }
    assert own.sensitivity.why == "3 patients: too few for the interval to be relied on"
    assert own.accuracy.why is None
    assert own.roc_auc.why == "3 patients: too few for the interval to be relied on", "the smaller side"
