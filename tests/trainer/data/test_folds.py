from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.folds import (
    Fold,
    demand_disjoint,
    honest_folds,
    laboratory_folds,
    published_folds,
)
from trainer.errors import DataError, EvaluationError
from trainer.recipes.recipe import SplitRecipe

PATIENTS = st.lists(
    st.tuples(st.sampled_from(["blast", "normal", "other"]), st.integers(1, 12)), min_size=6, max_size=30
)


def of_patients(patients: list[tuple[str, int]]) -> tuple[list[str], list[int]]:
    labels = [label for label, count in patients for _ in range(count)]
    return labels, [number for number, (_, count) in enumerate(patients) for _ in range(count)]


def sides(fold: Fold, labels: list[str]) -> tuple[set[str], set[str]]:
    return {labels[i] for i in fold.train}, {labels[i] for i in fold.held_out}


@settings(max_examples=60, deadline=None)
@given(patients=PATIENTS, folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_part_no_group_and_hold_everything_out_once(patients, folds, seed):
    labels, groups = of_patients(patients)
    spread = Counter(label for label, _ in patients)
    if min(spread.values()) < folds:
        with pytest.raises(DataError, match=r"stands in \d groups?"):
            honest_folds(labels, groups, folds=folds, seed=seed)
        return
    found = honest_folds(labels, groups, folds=folds, seed=seed)
    assert len(found) == folds
    assert sorted(i for fold in found for i in fold.held_out) == list(range(len(labels)))
    for fold in found:
        demand_disjoint(fold, groups)
        assert sorted(fold.train + fold.held_out) == list(range(len(labels)))
        assert sides(fold, labels) == (set(labels), set(labels))
    assert found == honest_folds(labels, groups, folds=folds, seed=seed)


@settings(max_examples=60, deadline=None)
@given(patients=PATIENTS, share=st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9]), seed=st.integers(0, 99))
def test_a_hold_out_parts_no_group_and_has_every_class_on_both_sides(patients, share, seed):
    labels, groups = of_patients(patients)
    if min(Counter(label for label, _ in patients).values()) < 2:
        with pytest.raises(DataError, match="1 group "):
            honest_folds(labels, groups, test_share=share, seed=seed)
        return
    (fold,) = honest_folds(labels, groups, test_share=share, seed=seed)
    demand_disjoint(fold, groups)
    assert sides(fold, labels) == (set(labels), set(labels))
    assert (fold,) == honest_folds(labels, groups, test_share=share, seed=seed)


@settings(max_examples=100, deadline=None)
@given(
    held=st.lists(st.sets(st.sampled_from("abc"), min_size=1), min_size=3, max_size=6),
    folds=st.integers(2, 3),
)
def test_folds_are_refused_only_where_no_deal_of_groups_exists(held, folds):
    labels = [label for each in held for label in sorted(each)]
    groups = [number for number, each in enumerate(held) for _ in each]
    possible = any(
        all(
            set(labels) == set().union(*(each for each, at in zip(held, deal, strict=True) if at == part))
            for part in range(folds)
        )
        for deal in product(range(folds), repeat=len(held))
    )
    if possible:
        for fold in honest_folds(labels, groups, folds=folds):
            assert sides(fold, labels) == (set(labels), set(labels))
    else:
        with pytest.raises(DataError):
            honest_folds(labels, groups, folds=folds)


def test_a_hold_out_comes_near_its_share_of_each_class():
    rng = np.random.default_rng(4)
    labels, groups = of_patients(
        [("all", int(n)) for n in rng.integers(50, 250, 47)]
        + [("hem", int(n)) for n in rng.integers(50, 250, 26)]
    )
    (fold,) = honest_folds(labels, groups, test_share=0.2, seed=1)
    whole, held = Counter(labels), Counter(labels[i] for i in fold.held_out)
    assert all(0.15 <= held[label] / whole[label] <= 0.25 for label in whole)
    assert honest_folds(labels, groups, test_share=0.2, seed=2) != (fold,)


def test_a_rare_class_among_many_groups_is_still_on_both_sides():
    labels, groups = of_patients([("common", 4)] * 300 + [(f"rare {n}", 1) for n in range(8) for _ in "12"])
    (fold,) = honest_folds(labels, groups, test_share=0.1)
    assert sides(fold, labels) == (set(labels), set(labels))
    assert Counter(labels[i] for i in fold.held_out)["common"] == pytest.approx(120, abs=15)


def test_a_large_hold_out_leaves_some_of_every_class_to_train_on():
    labels, groups = of_patients([("common", 5)] * 20 + [("rare", 5)] * 2)
    for seed in range(5):
        (fold,) = honest_folds(labels, groups, test_share=0.8, seed=seed)
        assert sides(fold, labels) == ({"common", "rare"}, {"common", "rare"})


def test_the_class_with_too_few_groups_is_named_with_the_remedy():
    labels, groups = of_patients([("normal", 5)] * 6 + [("blast", 5)] * 3)
    with pytest.raises(DataError, match=r"'blast' stands in 3 groups \(15 pictures\)") as caught:
        honest_folds(labels, groups, folds=5)
    assert "at most 3 folds" in caught.value.remedy


def test_a_class_of_one_group_can_only_be_left_out():
    labels, groups = of_patients([("normal", 5)] * 6 + [("blast", 5)])
    with pytest.raises(DataError, match="'blast' stands in 1 group ") as caught:
        honest_folds(labels, groups, folds=2)
    assert "Leave the class out" in caught.value.remedy


@pytest.mark.parametrize("given", [{}, {"folds": 2, "test_share": 0.2}, {"folds": 1}])
def test_folds_or_a_share_not_both_not_neither(given):
    with pytest.raises(ValueError, match=r"folds"):
        honest_folds(["a", "a"], [0, 1], **given)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(DataError, match="leaves a side empty"):
        honest_folds(["a", "a"], [0, 1], test_share=share)


def test_labels_may_be_numbers():
    assert len(honest_folds([0, 1, 0, 1], [0, 1, 2, 3], folds=2)) == 2


def test_each_laboratory_is_left_out_with_what_is_welded_to_it():
    folds = dict(laboratory_folds(["a", "a", "b", "b", "b"], [0, 1, 1, 2, 3]))
    assert folds["a"] == Fold(train=(3, 4), held_out=(0, 1, 2))
    assert folds["b"] == Fold(train=(0,), held_out=(1, 2, 3, 4))


def test_one_laboratory_cannot_be_left_out():
    with pytest.raises(DataError, match="one laboratory, 'a'"):
        laboratory_folds(["a", "a"], [0, 1])
    with pytest.raises(DataError, match="nothing to train on"):
        laboratory_folds(["a", "b"], [0, 0])


def test_published_folds_are_drawn_over_pictures_in_proportion():
    labels = ["a"] * 60 + ["b"] * 40
    folds = published_folds(labels, SplitRecipe(kind="folds", folds=10), seed=3)
    assert len(folds) == 10
    assert sorted(i for fold in folds for i in fold.held_out) == list(range(100))
    assert all(Counter(labels[i] for i in fold.held_out) == {"a": 6, "b": 4} for fold in folds)
    assert folds == published_folds(labels, SplitRecipe(kind="folds", folds=10), seed=3)
    assert folds != published_folds(labels, SplitRecipe(kind="folds", folds=10), seed=4)


def test_a_published_hold_out_has_the_share_of_the_paper():
    labels = ["a"] * 60 + ["b"] * 40
    (fold,) = published_folds(labels, SplitRecipe(kind="holdout", test_share=0.4), seed=0)
    assert Counter(labels[i] for i in fold.held_out) == {"a": 24, "b": 16}
    assert sorted(fold.train + fold.held_out) == list(range(100))


def test_a_published_split_parts_patients_and_is_told_so():
    labels, groups = of_patients([("a", 20), ("b", 20)])
    (fold,) = published_folds(labels, SplitRecipe(kind="holdout", test_share=0.2), seed=0)
    with pytest.raises(EvaluationError, match=r"2 groups stand both in training .*: 0, 1\."):
        demand_disjoint(fold, groups)


def test_a_class_too_small_for_the_published_split_is_named():
    with pytest.raises(DataError, match="'b' has 3 pictures, and the published split needs 10"):
        published_folds(["a"] * 20 + ["b"] * 3, SplitRecipe(kind="folds", folds=10), seed=0)
    with pytest.raises(DataError, match="cannot be made of 4 pictures"):
        published_folds(["a", "a", "b", "b"], SplitRecipe(kind="holdout", test_share=0.1), seed=0)
