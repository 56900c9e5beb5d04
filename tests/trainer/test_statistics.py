import numpy as np
import pytest

from trainer.statistics import (
    balanced_accuracy,
    block_bootstrap,
    percentile_interval,
    recalls,
    redraw,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_published_intervals(successes: int, trials: int, low: float, high: float):
    found = wilson(successes, trials)
    assert found.low == pytest.approx(low, abs=1e-4)
    assert found.high == pytest.approx(high, abs=1e-4)


def test_wilson_of_nothing_knows_nothing():
    found = wilson(0, 0)
    assert (found.low, found.high) == (0, 1)


def test_wilson_refuses_more_successes_than_trials():
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def test_balanced_accuracy_weighs_classes_alike():
    truth = [0] * 90 + [1] * 10
    named = [0] * 100
    assert recalls(truth, named) == {0: 1.0, 1: 0.0}
    assert balanced_accuracy(truth, named) == 0.5


def test_balanced_accuracy_of_nothing_is_not_a_number():
    assert np.isnan(balanced_accuracy([], []))


def test_bootstrap_of_single_samples_agrees_with_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = block_bootstrap(lambda chosen: float(values[chosen].mean()), np.arange(400))
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.04)
    assert found.high == pytest.approx(values.mean() + half, abs=0.04)


def test_whole_blocks_widen_the_interval_of_correlated_samples():
    rng = np.random.default_rng(0)
    blocks = np.repeat(np.arange(20), 20)
    values = rng.normal(0, 1, 20)[blocks] + rng.normal(0, 0.1, 400)

    def width(groups):
        found = block_bootstrap(lambda chosen: float(values[chosen].mean()), groups)
        return found.high - found.low

    assert width(blocks) > 3 * width(np.arange(400))


def test_strata_keep_every_layer_in_every_draw():
    groups = np.arange(8)
    strata = np.array([0, 0, 0, 0, 0, 0, 0, 1])
    found = block_bootstrap(lambda chosen: float((chosen == 7).sum()), groups, strata=strata)
    assert (found.low, found.value, found.high) == (1, 1, 1)


def test_same_seed_same_interval():
    values = np.random.default_rng(0).normal(size=50)
    first, again = (block_bootstrap(lambda chosen: float(values[chosen].mean()), np.arange(50)) for _ in "ab")
    assert first == again


def test_redraws_count_whole_groups_and_keep_the_sample_as_it_was_in_row_0():
    drawn = redraw([7, 7, 3, 5], draws=200, seed=0)
    assert drawn.counts.shape == (201, 3)
    assert (drawn.counts[0] == 1).all()
    assert (drawn.counts.sum(axis=1) == 3).all()
    values = np.array([[1.0, 0], [2, 0], [4, 1], [8, 1]])
    weights = np.concatenate(list(drawn.weights()))
    assert (weights[:, 0] == weights[:, 1]).all(), "samples of one group come and go together"
    np.testing.assert_allclose(drawn.sums(values), weights @ values)
    assert drawn.sums(values)[0].tolist() == [15, 2]


def test_weights_come_in_rows_that_bound_memory(monkeypatch):
    monkeypatch.setattr("trainer.statistics._WEIGHTS_AT_ONCE", 40)
    drawn = redraw(np.arange(10), draws=20, seed=0)
    parts = list(drawn.weights())
    assert {len(part) for part in parts[:-1]} == {4}
    np.testing.assert_array_equal(np.concatenate(parts), drawn.counts)


def test_sums_and_indices_give_the_same_interval():
    values = np.random.default_rng(1).normal(size=60)
    groups = np.repeat(np.arange(12), 5)
    drawn = redraw(groups, draws=1000, seed=0)
    by_sums = percentile_interval(drawn.sums(values) / drawn.sums(np.ones(60)))
    by_indices = block_bootstrap(lambda chosen: float(values[chosen].mean()), groups)
    assert by_sums.low == pytest.approx(by_indices.low)
    assert by_sums.high == pytest.approx(by_indices.high)


def test_rows_without_a_value_are_left_out_of_the_interval():
    found = percentile_interval([0.5, float("nan"), 0.4, 0.6])
    assert (found.value, found.low, found.high) == (0.5, pytest.approx(0.405), pytest.approx(0.595))
