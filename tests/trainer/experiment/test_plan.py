from collections import Counter

import pytest

from tests.trainer.experiment import tiny
from trainer.errors import RecipeError
from trainer.experiment.plan import cells, chosen_experiments
from trainer.experiment.request import Request
from trainer.experiment.runner import run_fold
from trainer.sweep.work import function_named

EPOCHS = (10, 20, 30, 40, 50, 60, 80, 100)


def planned(recipe: str, data, *only: str, **options):
    request = Request(recipe=recipe, data=data, **options)
    return cells(request, chosen_experiments(request, only))


def test_fatas_grid_trains_once_for_all_numbers_of_epochs(tmp_path):
    found = planned("fata-2023", tmp_path, protocol="published")
    assert sorted(each.name for each in found) == [
        f"{network}-{optimizer}-100/fold-0"
        for network in ("resnet50", "vgg16")
        for optimizer in ("adam", "rmsprop")
    ]
    for each in found:
        assert each.checkpoints == EPOCHS
        stem = each.name.partition("-100/")[0]
        assert [row.experiment for row in each.rows] == [f"{stem}-{count}" for count in EPOCHS]


def test_fatas_small_grid_is_no_longer_than_its_longest_training(tmp_path):
    whole, small = (planned("fata-2023", tmp_path, small=value) for value in (False, True))
    assert len(small) == len(whole) == 4
    assert sum(len(each.rows) for each in small) == 32
    assert max(each.epochs for each in small) < 100


def test_loeys_experiments_have_ten_folds_but_for_the_hold_out(tmp_path):
    found = planned("loey-2020", tmp_path, protocol="published")
    folds = Counter(each.rows[0].experiment for each in found)
    assert folds.pop("cnn-holdout") == 1
    assert len(folds) == 7
    assert set(folds.values()) == {10}
    assert {each.fold for each in found if each.rows[0].experiment == "svm-cubic"} == set(range(10))
    assert {each.epochs for each in found} == {None, 6}


def test_folds_of_ones_own_hold_for_every_experiment_of_the_honest_protocol(tmp_path):
    found = planned("loey-2020", tmp_path, "decision-tree", "cnn-holdout", folds=3)
    assert sorted(each.name for each in found) == sorted(
        f"{name}/fold-{fold}" for name in ("decision-tree", "cnn-holdout") for fold in range(3)
    )


def test_experiments_are_chosen_by_name_and_run_in_the_recipes_order(tmp_path):
    request = Request(recipe="loey-2020", data=tmp_path)
    assert chosen_experiments(request, ("cnn-folds", "decision-tree")) == ("decision-tree", "cnn-folds")
    assert len(chosen_experiments(request, ())) == 8


def test_an_unknown_experiment_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(RecipeError, match=r"loey-2020 has no experiment 'cnn'") as caught:
        planned("loey-2020", tmp_path, "cnn")
    assert "cnn-folds, cnn-holdout" in str(caught.value)


def test_a_cell_holds_all_that_any_process_needs_to_run_it(tmp_path):
    request = tiny.request(tiny.recipe(tmp_path), tmp_path / "data", classes={"ill": ("a",), "well": ("b",)})
    cell = tiny.only_cell(request)
    assert function_named(cell.work) is run_fold
    assert Request.model_validate(cell.arguments["request"]) == request


def test_a_plan_is_the_same_each_time_and_another_for_another_request(tmp_path):
    first, again, other = (
        planned("vimala-2023", tmp_path, protocol=protocol) for protocol in ("honest", "honest", "published")
    )
    assert [each.digest for each in first] == [each.digest for each in again]
    assert not {each.digest for each in first} & {each.digest for each in other}


def test_each_laboratory_left_out_is_a_fold(tmp_path):
    data = tiny.collection(tmp_path / "data")
    tiny.tell_laboratories(data, lambda file: ("north", "south", "west")[int(file[-7:-4]) // 6])
    asked = tiny.request(tiny.recipe(tmp_path), data, folds=None, hold_out="laboratory")
    assert [each.fold for each in cells(asked, ["once"])] == [0, 1, 2]
    assert len(cells(asked.model_copy(update={"laboratory": "west"}), ["once"])) == 1
