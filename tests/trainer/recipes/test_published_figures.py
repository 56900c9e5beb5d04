"""The papers' figures: how many of each table stand in the recipe files, and that they agree with each other.

A figure that was copied wrongly breaks a mean, a confusion matrix or a count that it takes part in.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import numpy as np
import pytest

from trainer.recipes.shelf import apply, load_recipe

TABLES = {
    "shafique-2018": {
        "Table 1": 2 * 4,
        "Table 4": 2 * 4,
        "Results": 4,
        "Table 2": 2,
        "Table 3": 4,
        "Table 5": 4 * 4,
    },
    "loey-2020": {"Table 1": 8 * 3},
    "ahmed-2019": {"Table 2": 5 * 4, "Table 3": 4 * 6, "Table 4": 4 * 6, "Table 5": 4, "Table 6": 4},
    "fata-2023": {
        "Table 1": 2 * 8,
        "Table 2": 2 * 8,
        "Table 3": 3 * 9,
        "Table 4": 3 * 9,
        "Table 5": 3 * 9,
        "Table 6": 3 * 9,
        "Figure 9": 4,
        "Table 7": 2,
    },
    "vimala-2023": {"Table 2": 3 * 4},
}


def values(recipe, metric, **wanted):
    return [
        each.value
        for each in recipe.published
        if each.metric == metric and all(getattr(each, name) == value for name, value in wanted.items())
    ]


@pytest.mark.parametrize("name", TABLES)
def test_every_figure_of_every_table_is_there(name):
    recipe = load_recipe(name)
    assert Counter(each.table for each in recipe.published) == TABLES[name]
    keys = [(each.table, each.experiment, each.metric, each.fold) for each in recipe.published]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", TABLES)
def test_every_experiment_has_a_figure_to_be_held_against(name):
    recipe = load_recipe(name)
    for experiment in recipe.experiments:
        assert apply(recipe, experiment.name).published, experiment.name


@pytest.mark.parametrize("name", TABLES)
def test_where_a_system_was_published_and_what_was_assumed_is_said(name):
    recipe = load_recipe(name)
    assert recipe.reference is not None
    assert len(recipe.assumptions) >= 5
    assert all(each.endswith(".") for each in recipe.assumptions)


def test_shafiques_matrices_give_the_papers_sensitivity_and_specificity():
    recipe = load_recipe("shafique-2018")
    detection, subtypes = (np.array(each.counts) for each in recipe.published_confusions)
    assert 100 * detection[0, 0] / detection[0].sum() == pytest.approx(
        values(recipe, "sensitivity", experiment="detection")[0]
    )
    assert 100 * detection[1, 1] / detection[1].sum() == pytest.approx(
        values(recipe, "specificity", experiment="detection")[0], abs=0.005
    )
    for i, name in enumerate(recipe.published_confusions[1].classes):
        hit, missed = subtypes[i, i], subtypes[i].sum() - subtypes[i, i]
        false = subtypes[:, i].sum() - hit
        clear = subtypes.sum() - hit - missed - false
        (sensitivity,) = values(recipe, f"sensitivity/{name}")
        (specificity,) = values(recipe, f"specificity/{name}")
        # The paper rounds 95.495 to 95.40.
        assert 100 * hit / (hit + missed) == pytest.approx(sensitivity, abs=0.1)
        assert 100 * clear / (clear + false) == pytest.approx(specificity, abs=0.05)


def test_shafiques_accuracies_are_means_of_the_matrices_row_percentages():
    recipe = load_recipe("shafique-2018")
    for task, table in (("detection", "Table 2"), ("subtypes", "Table 3")):
        rows = [each.value for each in recipe.published if each.table == table]
        (accuracy,) = values(recipe, "accuracy", experiment=task, table="Table 1")
        assert np.mean(rows) == pytest.approx(accuracy, abs=0.01)
    overall = [100 * np.trace(each.counts) / np.sum(each.counts) for each in recipe.published_confusions]
    assert overall == [pytest.approx(99.34, abs=0.005), pytest.approx(97.04, abs=0.005)]


def test_loeys_rows_agree_with_whole_numbers_of_1410_pictures_a_class():
    recipe = load_recipe("loey-2020")
    for experiment in recipe.experiments:
        (precision,) = values(recipe, "precision", experiment=experiment.name)
        (recall,) = values(recipe, "recall", experiment=experiment.name)
        (accuracy,) = values(recipe, "accuracy", experiment=experiment.name)
        hits = round(14.10 * recall)
        false = round(hits * (100 / precision - 1))
        assert 100 * hits / 1410 == pytest.approx(recall, abs=0.005)
        assert 100 * hits / (hits + false) == pytest.approx(precision, abs=0.005)
        assert 100 * (hits + 1410 - false) / 2820 == pytest.approx(accuracy, abs=0.006)


@pytest.mark.parametrize(("experiment", "table"), [("exp-2", "Table 3"), ("exp-3a", "Table 4")])
def test_ahmeds_folds_have_the_average_that_the_paper_prints(experiment, table):
    recipe = load_recipe("ahmed-2019")
    for metric, slack in (("accuracy", 0.01), ("training_accuracy", 0.01), ("loss", 1e-4)):
        folds = [value for fold in range(1, 6) for value in values(recipe, metric, table=table, fold=fold)]
        (average,) = values(recipe, metric, table=table, fold=None)
        (summary,) = values(recipe, metric, table="Table 2", experiment=experiment)
        assert len(folds) == 5
        assert np.mean(folds) == pytest.approx(average, abs=slack)
        assert average == pytest.approx(summary, abs=0.011)


def test_fatas_totals_are_the_means_of_their_columns():
    recipe = load_recipe("fata-2023")
    totals = [each for each in recipe.published if each.row == "Totals"]
    assert len(totals) == 12
    for total in totals:
        column = [
            each.value
            for each in recipe.published
            if (each.table, each.metric) == (total.table, total.metric) and each is not total
        ]
        meant = [each.name for each in recipe.experiments if fnmatchcase(each.name, total.experiment)]
        assert len(column) == len(meant) == 8
        # The column is rounded to whole percents before, and the total after.
        assert np.mean(column) == pytest.approx(total.value, abs=0.7)


def test_fatas_best_training_accuracies_are_those_of_the_text():
    recipe = load_recipe("fata-2023")
    assert max(values(recipe, "training_accuracy", table="Table 1")) == 93.80
    assert max(values(recipe, "training_accuracy", table="Table 2")) == 81.81
    best = {each.experiment: each.value for each in recipe.published if each.table == "Table 7"}
    assert best == {"vgg16-adam-100": 87.0, "resnet50-rmsprop-80": 82.0}
