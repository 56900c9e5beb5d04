from __future__ import annotations

from pathlib import Path

import pytest

import trainer.recipes
from trainer.data.collection import KNOWN
from trainer.data.formats.numbered_cells import read_all_aria, read_pbc_aml
from trainer.data.formats.sight import look
from trainer.errors import RecipeError
from trainer.recipes.shelf import apply, load_recipe, override, recipe_names, small

SEEDS = ("ahmed-2019", "fata-2023", "loey-2020", "shafique-2018", "vimala-2023")
SHELF = Path(trainer.recipes.__file__).parent

OWN = """
extends = "resnet18"
name = "mine"
title = "ResNet18, longer"

[training]
epochs = 60
"""


def _published(experiment, metric):
    figure = f'table = "Table 1", row = "", experiment = "{experiment}", metric = "{metric}", value = 1'
    return f"published = [{{ {figure} }}]"


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_on_the_shelf_resolves_each_of_its_experiments_at_both_sizes(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    for experiment in recipe.experiments:
        full = apply(recipe, experiment.name)
        assert [each.name for each in full.experiments] == [experiment.name]
        little = small(full)
        assert little.training.epochs <= full.training.epochs
        assert little.network.size_px <= full.network.size_px
        assert little.network.architecture == full.network.architecture


def test_the_five_published_systems_are_on_the_shelf_and_what_is_only_extended_is_not():
    assert set(SEEDS) < set(recipe_names())
    assert not [each for each in recipe_names() if each.startswith("_")]


def test_a_recipe_is_found_by_its_path_too():
    assert load_recipe(SHELF / "loey-2020.toml") == load_recipe("loey-2020")


def test_a_file_lays_its_tables_over_the_recipe_that_it_extends(own):
    mine, base = load_recipe(own), load_recipe("resnet18")
    assert mine.training == base.training.model_copy(update={"epochs": 60})
    assert (mine.network, mine.tasks) == (base.network, base.tasks)


def test_a_file_may_extend_the_one_beside_it(own):
    child = own.with_name("child.toml")
    child.write_text('extends = "mine"\nname = "child"\n[network]\nsize_px = 160\n')
    recipe = load_recipe(child)
    assert (recipe.network.size_px, recipe.training.epochs) == (160, 60)


def test_a_recipe_that_extends_itself_is_refused(own):
    own.write_text('extends = "mine"\n')
    with pytest.raises(RecipeError, match=r"mine\.toml extends itself"):
        load_recipe(own)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"no recipe 'lowey'\. Take one of ahmed-2019, .*or the path"):
        load_recipe("lowey")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml cannot be read"):
        load_recipe(tmp_path / "none.toml")


def test_a_file_that_is_not_toml_is_named_with_the_place(own):
    own.write_text("name = \n")
    with pytest.raises(RecipeError, match=r"mine\.toml is not TOML: .*line 1"):
        load_recipe(own)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[training]\nepoch = 3\n", r"mine\.toml is not a recipe: training\.epoch: Extra inputs"),
        ("[training]\nepochs = 0\n", r"training\.epochs: .*greater than 0"),
        ('[network]\ncolour = "lab"\n', r"network\.colour: .*'h-cb-cr'"),
        ("[network]\nmaps = [8]\n", r"network: maps are for plain-cnn"),
        ('[training]\nschedule = "steps"\n', r"training: decay_every_steps is for"),
        ("[training]\nmomentum = 0.9\n", r"training: adamw takes no momentum"),
        (
            '[augmentation]\nstain = false\napply = "all"\ncopies = 3\n',
            r"augmentation: copies and keeps_original",
        ),
        ('[tasks.stages.classes]\npre = ["pro"]\n', r"tasks\.stages: pro would belong to two classes"),
        ('[tasks.leukemia]\npositive = "lymphoma"\n', r"'lymphoma' is no class of"),
        (
            '[tasks.stages.stand_ins.cnmc]\nbecause = ""\nclasses = { benign = ["hem"] }\n',
            r"stand-in of .* has other classes",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_key(own, text, fault):
    own.write_text('extends = "resnet18"\n' + text)
    with pytest.raises(RecipeError, match=fault):
        load_recipe(own)


@pytest.mark.parametrize(
    ("top", "fault"),
    [
        (
            _published("none", "accuracy"),
            r"a figure of Table 1 has an unknown experiment 'none'",
        ),
        (
            _published("cells", "auc"),
            r"published\.0: 'auc' is none of accuracy",
        ),
        (
            _published("cells", "f1/pro"),
            r"unknown class 'pro'",
        ),
        ('experiments = [{ name = "a", title = "", task = "none" }]', r"'a' has an unknown task 'none'"),
        (
            'experiments = [{ name = "a", title = "", task = "" }, { name = "a", title = "", task = "" }]',
            r"two experiments have the same name",
        ),
        (
            'experiments = [{ name = "a", title = "", task = "cells", set = { "training.epoch" = 1 } }]',
            r"mine, experiment a: there is no setting 'training\.epoch'\. training has optimizer, rate",
        ),
        (
            'experiments = [{ name = "a", title = "", task = "cells", set = { "training.batch" = 0 } }]',
            r"mine, experiment a is not a recipe: training\.batch",
        ),
    ],
)
def test_a_row_that_cannot_run_is_refused_when_the_file_is_read(own, top, fault):
    own.write_text(f'extends = "resnet18"\nname = "mine"\n{top}\n')
    with pytest.raises(RecipeError, match=fault):
        load_recipe(own)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("rgb/hsv", r"'rgb/hsv' names no folder: it must be without '/'"),
        ("..", "begins with a dot"),
        ("", "it is empty"),
        ("rgb ", "blank at an end"),
        ("epochs *", r"without '\*'"),
        ("a\\u0000b", r"without '\\x00'"),
    ],
)
def test_an_experiment_that_cannot_name_a_folder_is_refused_when_the_file_is_read(own, name, fault):
    row = f'experiments = [{{ name = "{name}", title = "", task = "cells" }}]'
    own.write_text(f'extends = "resnet18"\nname = "mine"\n{row}\n')
    with pytest.raises(RecipeError, match=rf"mine\.toml is not a recipe: experiments\.0\.name: .*{fault}"):
        load_recipe(own)


def test_an_unknown_experiment_is_answered_with_the_known_ones():
    with pytest.raises(
        RecipeError, match=r"vimala-2023 has no experiment 'lenet'\. It has cnn, alexnet, vgg16"
    ):
        apply(load_recipe("vimala-2023"), "lenet")


def test_a_setting_is_changed_by_its_dotted_key_and_nothing_else_is():
    recipe = load_recipe("vimala-2023")
    changed = override(recipe, {"training.rate": 0.5, "augmentation": {"zoom": 0.1}})
    assert changed.training == recipe.training.model_copy(update={"rate": 0.5})
    assert changed.augmentation.zoom == 0.1
    assert (changed.network, changed.published) == (recipe.network, recipe.published)


def test_what_is_published_cannot_be_overridden():
    with pytest.raises(RecipeError, match=r"'published' cannot be changed\. Settings begin with network"):
        override(load_recipe("vimala-2023"), {"published": []})


def test_a_split_that_a_recipe_does_not_have_is_given_as_a_whole():
    recipe = load_recipe("resnet18")
    with pytest.raises(
        RecipeError, match=r"no setting 'published_split\.folds'\. Give published_split as a whole"
    ):
        override(recipe, {"published_split.folds": 3})
    changed = override(recipe, {"published_split": {"kind": "folds", "folds": 3}})
    assert changed.published_split is not None
    assert changed.published_split.folds == 3


def test_a_recipe_without_a_small_size_says_so():
    recipe = load_recipe("resnet18").model_copy(update={"small": None})
    with pytest.raises(RecipeError, match=r"resnet18 has no small size"):
        small(recipe)


def test_labels_find_their_class_whatever_their_case_and_a_stand_in_decides_for_its_collection():
    task = load_recipe("shafique-2018").tasks["subtypes"]
    assert task.class_of("L2") == task.class_of("l2", format="all-idb2") == "L2"
    assert task.class_of("Pre") is None
    assert task.class_of("Pre", format="all-aria") == "L2"
    assert task.class_of("l2", format="all-aria") is None


@pytest.mark.parametrize("name", recipe_names())
def test_stand_ins_are_for_formats_that_are_read(name):
    formats = {each.name for each in KNOWN}
    for task in load_recipe(name).tasks.values():
        assert set(task.stand_ins) <= formats


@pytest.mark.data
@pytest.mark.parametrize("name", SEEDS)
def test_every_published_task_can_be_run_on_pictures_that_are_here(name, data_dir):
    # Labels come from the names of files; no picture is decoded.
    labels = {
        "all-aria": {each.label for each in read_all_aria(look(data_dir / "all_aria")).samples},
        "pbc-aml": {each.label for each in read_pbc_aml(look(data_dir / "pbc_aml")).samples},
    }
    for task in load_recipe(name).tasks.values():
        served = [
            format_name
            for format_name, words in labels.items()
            if {task.class_of(word, format=format_name) for word in words} - {None} == set(task.classes)
        ]
        assert served, task.title
