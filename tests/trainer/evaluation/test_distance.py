import numpy as np
import pytest

from trainer.evaluation.distance import fit_distance, relative_distances


def groups(seed: int = 0, *, count: int = 200):
    """Three groups in 20 dimensions, stretched in the first."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 0, 1], count)
    domains = np.repeat([0, 1, 0], count)
    centers = np.zeros((3, 20))
    centers[1, 3], centers[2, 5] = 8, 8
    spread = np.ones(20)
    spread[0] = 10
    features = centers[np.repeat([0, 1, 2], count)] + rng.normal(0, 1, (3 * count, 20)) * spread
    return features.astype(np.float32), labels, domains


def test_distance_is_that_of_a_standard_normal_for_cells_of_the_groups():
    model = fit_distance(*groups(), directions=20)
    unseen, _, _ = groups(seed=1)
    # The mean length of a standard normal vector of 20 dimensions is about sqrt(19.5).
    assert float(model(unseen).mean()) == pytest.approx(np.sqrt(19.5), rel=0.1)


def test_what_is_far_in_a_quiet_direction_is_far():
    model = fit_distance(*groups(), directions=20)
    usual, _, _ = groups(seed=1)
    loud, quiet = usual[:200].copy(), usual[:200].copy()
    loud[:, 0] += 12
    quiet[:, 9] += 12
    limit = np.percentile(model(usual), 97.5)
    assert (model(quiet) > limit).mean() > 0.99
    assert (model(loud) > limit).mean() < 0.3, "12 is little where cells vary by 10"


def test_a_group_of_a_few_cells_makes_no_center():
    features, labels, domains = groups()
    few = np.concatenate([np.arange(400), np.arange(400, 404)])
    assert fit_distance(features[few], labels[few], domains[few]).centers.shape[0] == 2


def test_no_group_is_an_error():
    features, labels, domains = groups(count=2)
    with pytest.raises(ValueError, match="no group"):
        fit_distance(features, labels, domains)


def test_relative_distances_are_in_units_of_the_median_training_picture():
    train, labels, _ = groups()
    assert float(np.median(relative_distances(train, labels, train))) == pytest.approx(1)
    unseen, _, _ = groups(seed=1)
    assert 0.9 < float(np.median(relative_distances(train, labels, unseen))) < 1.3
    assert relative_distances(train, labels, unseen + 30).min() > 2


def test_relative_distances_do_not_depend_on_the_scale_of_features():
    train, labels, _ = groups()
    unseen, _, _ = groups(seed=1)
    np.testing.assert_allclose(
        relative_distances(10 * train, labels, 10 * unseen),
        relative_distances(train, labels, unseen),
        rtol=0.02,
    )
