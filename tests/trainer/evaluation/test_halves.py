import numpy as np

from trainer.evaluation.halves import alternate_halves, balanced_halves, class_strata


def test_all_pictures_of_a_group_are_of_one_half():
    groups = np.random.default_rng(0).integers(0, 9, 200)
    labels = np.random.default_rng(1).integers(0, 3, 200)
    for half in (alternate_halves(groups), balanced_halves(labels, groups)):
        assert all(len(set(half[groups == group])) == 1 for group in range(9))
        assert set(half.tolist()) == {0, 1}


def test_groups_are_told_by_the_rarest_class_that_they_hold():
    groups = np.array([0, 0, 1, 2, 3, 3, 4])
    labels = np.array([0, 2, 0, 0, 0, 1, 1])
    # Class 0 is in four groups, class 1 in two, class 2 in one.
    assert class_strata(labels, groups).tolist() == [2, 2, 0, 0, 1, 1, 1]


def test_a_rare_class_stands_in_both_halves():
    groups = np.arange(12)
    labels = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    half = balanced_halves(labels, groups)
    assert sorted(half[labels == 1].tolist()) == [0, 1], "by number in turn both would be of one half"
    assert sorted(alternate_halves(groups)[labels == 1].tolist()) == [0, 0]
    assert abs(int((half == 0).sum()) - 6) == 0
