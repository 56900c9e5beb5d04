import numpy as np
import pytest

from tests.trainer.evaluation.answers import answers
from trainer.errors import EvaluationError
from trainer.evaluation.leakage import demand_disjoint, shared_groups


def leaking(**changes):
    return answers(
        [0, 1, 0, 1],
        [0, 1, 0, 1],
        groups=[3, 4, 5, 6],
        folds=[0, 0, 1, 1],
        train_groups=np.array([5, 4, 3, 9]),
        train_folds=np.array([0, 0, 1, 1]),
        **changes,
    )


def test_a_group_on_both_sides_of_one_fold_is_refused_by_number_picture_and_fold():
    with pytest.raises(EvaluationError, match=r"Fold 0 .*1 patient.*: 4 \(1\.png\)") as refused:
        demand_disjoint(leaking())
    assert "group" in refused.value.remedy


def test_a_group_held_out_by_one_fold_may_be_trained_on_by_another():
    whole = answers([0, 1] * 4, [0, 1] * 4, groups=[0, 0, 1, 1, 2, 2, 3, 3], folds=[0, 0, 0, 0, 1, 1, 1, 1])
    assert set(whole.train_groups) == {0, 1, 2, 3}
    assert shared_groups(whole) == {}
    demand_disjoint(whole)


def test_shared_groups_are_told_fold_by_fold():
    assert {fold: groups.tolist() for fold, groups in shared_groups(leaking()).items()} == {0: [4]}


def test_many_groups_are_counted_and_some_named():
    count = 20
    everything = answers(
        np.arange(count) % 2,
        np.arange(count) % 2,
        train_groups=np.arange(count),
        train_folds=np.zeros(count, dtype=np.int64),
    )
    with pytest.raises(EvaluationError, match=r"20 patient.*and 12 more"):
        demand_disjoint(everything)
