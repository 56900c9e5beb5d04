import numpy as np
import pytest

from trainer.evaluation.intervals import FEW_GROUPS, redrawn
from trainer.statistics import wilson


def drawn(labels, groups, *, draws=400):
    return redrawn(np.asarray(labels), np.asarray(groups), word="patient", draws=draws, seed=0)


def clustered(groups, each, *, seed=0):
    """Shares that are each group's own: all its pictures are alike but for some."""
    rng = np.random.default_rng(seed)
    right = np.repeat(rng.random(groups) < 0.7, each)
    return np.where(rng.random(groups * each) < 0.05, ~right, right)


def test_an_interval_of_clustered_pictures_is_wider_than_that_of_single_ones():
    right = clustered(30, 20)
    labels = np.zeros(600, dtype=np.int64)
    whole = drawn(labels, np.repeat(np.arange(30), 20)).share(right)
    single = drawn(labels, np.arange(600)).share(right)
    assert whole.value == single.value == right.mean()
    assert whole.high - whole.low > 3 * (single.high - single.low)
    assert (whole.groups, single.groups) == (30, 600)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    # 150 studies of 40 patients: within binomial bounds of 95%, less what 40 groups are known to cost.
    truth = 0.7 * 0.95 + 0.3 * 0.05
    labels, groups = np.zeros(400, dtype=np.int64), np.repeat(np.arange(40), 10)
    found = [drawn(labels, groups, draws=200).share(clustered(40, 10, seed=seed)) for seed in range(150)]
    held = sum(figure.low <= truth <= figure.high for figure in found)
    assert 0.88 <= held / 150 <= 0.995


def test_one_group_gives_a_value_without_an_interval():
    found = drawn([0, 0, 0], [4, 4, 4]).share([True, False, True])
    assert found.value == pytest.approx(2 / 3)
    assert (found.low, found.high) == (None, None)
    assert found.why == "no interval from 1 patient"


def test_few_groups_give_an_interval_that_says_it_is_not_to_be_relied_on():
    few = drawn(np.zeros(9, int), np.arange(9)).share(np.arange(9) % 2 == 0)
    enough = drawn(np.zeros(10, int), np.arange(10)).share(np.arange(10) % 2 == 0)
    assert few.low is not None
    assert few.why == "9 patients: too few for the interval to be relied on"
    assert enough.why is None
    assert FEW_GROUPS == 10


def test_pictures_that_are_all_right_do_not_give_an_interval_of_no_width():
    found = drawn(np.zeros(40, int), np.repeat(np.arange(20), 2)).share(np.ones(40, bool))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(wilson(20, 20).low), "groups count, not pictures"
    assert "Wilson" in found.why


def test_a_figure_of_nothing_is_null_and_says_why():
    found = drawn([0, 0], [0, 1]).share([True, True], of=np.zeros(2, bool), undefined="no picture of blast")
    assert (found.value, found.low, found.high, found.why) == (None, None, None, "no picture of blast")
    assert (found.pictures, found.groups) == (0, 0)


def test_draws_without_a_value_are_counted():
    # The one picture asked for stands in one of many groups of its class: about a third of draws lose it.
    groups = np.arange(20)
    asked = groups < 2
    found = drawn(np.zeros(20, int), groups, draws=1000).share(groups == 0, of=asked)
    assert found.value == 0.5
    assert 80 < found.undefined_draws < 190, "about exp(-2) of 1000"


def test_redraws_lose_no_class():
    labels = np.array([1, 1] + [0] * 30)
    rows = drawn(labels, np.arange(32)).sums(labels == 1)
    assert (rows == 2).all()
