import numpy as np
import pytest

from trainer.classical import answers
from trainer.classical.answers import fit_and_answer
from trainer.classical.classifiers import build_classifier
from trainer.data.folds import Fold
from trainer.errors import DataError
from trainer.evaluation.calibration import negative_log_likelihood
from trainer.recipes.recipe import ClassicalRecipe

EVERY = (
    "decision-tree",
    "linear-discriminant",
    "svm-linear",
    "svm-gaussian",
    "svm-cubic",
    "k-nearest",
    "naive-bayes",
)


def recipe(classifier, **more):
    return ClassicalRecipe(features="network", classifier=classifier, **more)


def cloud(*, count, classes=2, features=6, apart=1.0, seed=0):
    """Overlapping clouds, ten groups a class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centers = np.random.default_rng(99).normal(size=(classes, features)) * apart
    rows = (rng.normal(size=(count, features)) + centers[labels]).astype(np.float32)
    groups = labels * 10 + rng.integers(0, 10, count)
    return rows, labels.astype(np.int64), groups.astype(np.int64)


def answered(which, *, classes=2, seed=1):
    rows, labels, groups = cloud(count=240, classes=classes)
    asked, truth, _ = cloud(count=120, classes=classes, seed=7)
    found = fit_and_answer(
        which, features=rows, labels=labels, groups=groups, asked=asked, classes=classes, seed=seed
    )
    return found, truth, build_classifier(which, seed=seed).fit(rows, labels).predict(asked)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", EVERY)
def test_probabilities_never_change_what_the_classifier_itself_answers(name, classes):
    found, truth, said = answered(recipe(name, standardise=name.startswith("svm")), classes=classes)
    assert found.logits.shape == (120, classes)
    assert found.logits.dtype == np.float32
    np.testing.assert_allclose(np.exp(found.logits).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.named, said)
    assert (found.named == truth).mean() > 1 / classes + 0.15


@pytest.mark.parametrize("name", EVERY)
def test_the_same_features_and_seed_give_the_same_answers(name):
    np.testing.assert_array_equal(answered(recipe(name))[0].logits, answered(recipe(name))[0].logits)


def test_one_neighbour_speaks_for_two_thirds_as_laplace_says():
    found, _, _ = answered(recipe("k-nearest"))
    np.testing.assert_allclose(np.unique(np.exp(found.logits).round(5)), [1 / 3, 2 / 3], atol=1e-4)


def test_three_neighbours_of_one_mind_speak_for_four_fifths():
    found, _, _ = answered(recipe("k-nearest", neighbours=3))
    np.testing.assert_allclose(np.exp(found.logits).max(), 4 / 5, rtol=1e-5)


def test_a_leaf_speaks_by_its_counts():
    rows = np.array([[0.0], [0.0], [0.0], [1.0]], dtype=np.float32)
    found = fit_and_answer(
        recipe("decision-tree"),
        features=rows,
        labels=np.array([0, 0, 0, 1]),
        groups=np.arange(4),
        asked=np.array([[0.0], [1.0]], dtype=np.float32),
        classes=2,
        seed=0,
    )
    np.testing.assert_allclose(np.exp(found.logits), [[4 / 5, 1 / 5], [1 / 3, 2 / 3]], rtol=1e-5)


@pytest.mark.parametrize("name", ["svm-linear", "svm-gaussian", "svm-cubic"])
def test_a_machines_fitted_probabilities_cost_less_than_its_bare_scores(name):
    found, truth, _ = answered(recipe(name, standardise=True))
    assert found.temperature is not None
    bare = found.logits * found.temperature
    assert negative_log_likelihood(found.logits, truth) <= negative_log_likelihood(bare, truth) + 0.02
    assert negative_log_likelihood(found.logits, truth) < np.log(2)


def test_the_temperature_is_fitted_on_groups_that_were_held_out_of_the_machine(monkeypatch):
    rows, labels, groups = cloud(count=120)
    seen = []
    real = answers.honest_folds

    def watched(of, parted_by, **more):
        folds = real(of, parted_by, **more)
        seen.extend(folds)
        return folds

    monkeypatch.setattr(answers, "honest_folds", watched)
    fit_and_answer(
        recipe("svm-linear"), features=rows, labels=labels, groups=groups, asked=rows, classes=2, seed=0
    )
    assert len(seen) == 3
    for fold in seen:
        assert isinstance(fold, Fold)
        assert not set(groups[list(fold.train)]) & set(groups[list(fold.held_out)])


def test_where_the_groups_cannot_be_parted_scores_stand_as_they_are():
    rows, labels, _ = cloud(count=60)
    found = fit_and_answer(
        recipe("svm-linear"), features=rows, labels=labels, groups=labels, asked=rows, classes=2, seed=0
    )
    assert found.temperature is None
    assert np.isfinite(found.logits).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_class_nobody_trained_on_is_improbable_but_not_impossible(name):
    rows, labels, groups = cloud(count=90, classes=3)
    kept = labels != 1
    found = fit_and_answer(
        recipe(name),
        features=rows[kept],
        labels=labels[kept],
        groups=groups[kept],
        asked=rows,
        classes=3,
        seed=0,
    )
    np.testing.assert_allclose(np.exp(found.logits[:, 1]), 1 / (60 + 3), rtol=1e-5)
    np.testing.assert_allclose(np.exp(found.logits).sum(axis=1), 1, rtol=1e-5)
    assert set(found.named) == {0, 2}


def test_a_feature_that_is_no_number_is_named_by_its_row():
    rows, labels, groups = cloud(count=20)
    broken = rows.copy()
    broken[13, 2] = np.nan
    with pytest.raises(DataError, match=r"1 of 20 held-out pictures .* row 13"):
        fit_and_answer(
            recipe("k-nearest"), features=rows, labels=labels, groups=groups, asked=broken, classes=2, seed=0
        )


def test_a_single_class_cannot_be_learnt():
    rows, labels, groups = cloud(count=20)
    with pytest.raises(DataError, match="single class"):
        fit_and_answer(
            recipe("naive-bayes"),
            features=rows,
            labels=labels * 0,
            groups=groups,
            asked=rows,
            classes=2,
            seed=0,
        )
