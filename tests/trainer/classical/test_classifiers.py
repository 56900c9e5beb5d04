"""What the papers print about their classifiers, read off the built objects."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.preprocessing import StandardScaler

from trainer.classical.classifiers import CLASSIFIER, STANDARDISE, build_classifier
from trainer.recipes.recipe import ClassicalRecipe


def built(classifier, **more):
    recipe = ClassicalRecipe(features="network", classifier=classifier, **more)
    return build_classifier(recipe, seed=3)[CLASSIFIER]


@pytest.fixture
def noisy():
    """Labels that no few splits can tell apart: a tree uses every split that it may make."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 5)).astype(np.float32), rng.integers(0, 2, 400)


def test_loeys_tree_makes_20_splits_and_no_more(noisy):
    tree = built("decision-tree", max_splits=20).fit(*noisy)
    assert tree.max_leaf_nodes == 21
    assert tree.criterion == "gini"
    assert tree.get_n_leaves() == 21
    assert tree.tree_.node_count - tree.get_n_leaves() == 20


def test_a_tree_without_a_limit_goes_on_until_its_leaves_are_pure(noisy):
    tree = built("decision-tree").fit(*noisy)
    assert tree.max_leaf_nodes is None
    assert tree.score(*noisy) == 1.0


def test_loeys_nearest_neighbour_is_one_by_euclidean_distance():
    model = built("k-nearest")
    assert (model.n_neighbors, model.metric, model.weights) == (1, "euclidean", "uniform")


def test_ahmeds_neighbours_are_three():
    assert built("k-nearest", neighbours=3).n_neighbors == 3


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("svm-linear", lambda a, b: a @ b.T),
        ("svm-gaussian", lambda a, b: rbf_kernel(a, b, gamma=1 / a.shape[1])),
        ("svm-cubic", lambda a, b: polynomial_kernel(a, b, degree=3, gamma=1 / a.shape[1], coef0=1)),
    ],
)
def test_a_machine_scores_by_the_kernel_of_its_name(noisy, name, kernel):
    rows, labels = noisy
    rows = rows.astype(np.float64)
    model = built(name).fit(rows, labels)
    scores = kernel(rows, model.support_vectors_) @ model.dual_coef_[0] + model.intercept_[0]
    assert model.C == 1.0
    assert np.abs(model.dual_coef_).max() <= 1.0
    np.testing.assert_allclose(model.decision_function(rows), scores, atol=1e-9)


def test_the_kernels_carry_their_names():
    assert built("svm-linear").kernel == "linear"
    assert built("svm-gaussian").kernel == "rbf"
    assert (built("svm-cubic").kernel, built("svm-cubic").degree) == ("poly", 3)


def test_the_discriminant_works_with_fewer_pictures_than_features():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    rows = rng.normal(size=(60, 200)) + 0.6 * labels[:, None]
    model = built("linear-discriminant").fit(rows[:40], labels[:40])
    assert model.score(rows[40:], labels[40:]) == 1.0


def test_bayes_is_gaussian_in_every_feature(noisy):
    rows, labels = noisy
    model = built("naive-bayes").fit(rows, labels)
    np.testing.assert_allclose(model.theta_[1], rows[labels == 1].mean(axis=0), rtol=1e-4)


def test_features_are_standardised_where_the_recipe_says_so_and_only_there():
    plain = ClassicalRecipe(features="network", classifier="svm-linear")
    assert list(build_classifier(plain, seed=0).named_steps) == [CLASSIFIER]
    steps = build_classifier(plain.model_copy(update={"standardise": True}), seed=0).named_steps
    assert list(steps) == [STANDARDISE, CLASSIFIER]
    assert isinstance(steps[STANDARDISE], StandardScaler)


def test_a_gaussian_machine_on_raw_pixels_answers_at_chance_as_ahmed_found():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    pixels = np.clip(rng.normal(120 + 20 * labels[:, None], 40, (200, 300)), 0, 255)
    machine = built("svm-gaussian").fit(pixels[:100], labels[:100])
    bayes = built("naive-bayes").fit(pixels[:100], labels[:100])
    assert machine.score(pixels[100:], labels[100:]) == 0.5
    assert bayes.score(pixels[100:], labels[100:]) == 1.0
