"""What the five papers publish, asked of the objects that are built from their recipes.

Layers, shapes and answers are the built module's, rates and decays the built optimiser's, copies and splits
those of the code that makes them; nothing here reads a number off a recipe and compares it with itself.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from trainer.data.folds import published_folds
from trainer.networks.build import build_network
from trainer.optimization import build_optimizer, rate_factor
from trainer.pictures.batches import PictureSource
from trainer.pictures.changes import Placement, augmented_copies, named_changes
from trainer.recipes.shelf import apply, load_recipe


@cache
def recipe_of(name, experiment):
    return apply(load_recipe(name), experiment)


@cache
def built(name, experiment):
    """The network of one row at its full size, every layer of it, on torch's device without numbers."""
    with torch.device("meta"):
        return with_numbers(name, experiment)


def with_numbers(name, experiment, **changed):
    recipe = recipe_of(name, experiment)
    classes = len(recipe.tasks[recipe.experiments[0].task].classes)
    return build_network(recipe.network.model_copy(update=changed), classes=classes, weights=None).eval()


def convolutions(network):
    return [each for each in network.modules() if isinstance(each, nn.Conv2d)]


def full_layers(network):
    return [
        (each.in_features, each.out_features) for each in network.modules() if isinstance(each, nn.Linear)
    ]


def answers(network, pictures=1):
    with torch.no_grad(), torch.device("meta"):
        return network(torch.zeros(pictures, network.size_px, network.size_px, 3, dtype=torch.uint8))


def optimizer_of(name, experiment):
    return build_optimizer(recipe_of(name, experiment).training, built(name, experiment))


def rates(optimizer, network):
    """The learning rates of the trunk's, the hidden layers' and the head's parameters."""
    rate_of = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    return [
        {rate_of[id(each)] for each in part.parameters() if id(each) in rate_of}
        for part in (network.trunk, network.hidden, network.head)
    ]


def source_of(name, experiment, labels):
    recipe = recipe_of(name, experiment)
    return PictureSource(
        pixels=np.zeros((len(labels), 8, 8, 3), dtype=np.uint8),
        labels=np.array(labels),
        size=recipe.training.batch,
        augmentation=recipe.augmentation.model_copy(update={"apply": "all"}),
        seed=1,
        equalised=recipe.training.equalise_classes,
    )


def copies_of(name, experiment, labels):
    """As many flat pictures of 4 px as there are labels, and what the recipe makes of them."""
    pixels = np.zeros((len(labels), 4, 4, 3), dtype=np.uint8)
    return augmented_copies(
        pixels, np.array(labels), recipe_of(name, experiment).augmentation, np.random.default_rng(1)
    )


# Shafique and Tehsin 2018


@pytest.mark.parametrize(
    ("experiment", "units", "classes"),
    [
        ("detection", 1024, 2),
        ("detection-2048", 2048, 2),
        ("detection-3072", 3072, 2),
        ("detection-4096", 4096, 2),
        ("subtypes", 1024, 4),
        ("subtypes-4096", 4096, 4),
    ],
)
def test_shafique_replaces_alexnets_last_layer_by_two(experiment, units, classes):
    network = built("shafique-2018", experiment)
    assert len(convolutions(network)) == 5
    assert sum(isinstance(each, nn.MaxPool2d) for each in network.modules()) == 3
    assert full_layers(network) == [(9216, 4096), (4096, 4096), (4096, units), (units, classes)]
    assert [type(each) for each in network.hidden] == [nn.Linear, nn.ReLU]
    assert network.size_px == 227
    assert answers(network).logits.shape == (1, classes)


def test_shafique_has_four_colour_models_that_give_alexnet_other_pictures():
    picture = torch.tensor([200, 40, 120], dtype=torch.uint8).expand(1, 3, 3, 3)
    channels = {
        row: network.colour(picture.float().permute(0, 3, 1, 2))[0, :, 0, 0].tolist()
        for row in ("subtypes", "subtypes-hsv", "subtypes-ycbcr", "subtypes-h-cb-cr")
        for network in [with_numbers("shafique-2018", row, architecture="squeezenet1_1")]
    }
    assert channels["subtypes"] == pytest.approx([200 / 255, 40 / 255, 120 / 255])
    assert channels["subtypes-hsv"] == pytest.approx([11 / 12, 0.8, 200 / 255])
    assert channels["subtypes-ycbcr"][0] == pytest.approx((16 + 51.3584 + 20.1652 + 11.7487) / 255, abs=1e-4)
    assert channels["subtypes-h-cb-cr"] == [channels["subtypes-hsv"][0], *channels["subtypes-ycbcr"][1:]]


def test_shafiques_new_layers_learn_faster_than_the_old_and_all_learn():
    network, optimizer = built("shafique-2018", "detection"), optimizer_of("shafique-2018", "detection")
    (old,), (hidden,), (head,) = rates(optimizer, network)
    assert hidden == head == pytest.approx(20 * old)
    assert sum(each.numel() for group in optimizer.param_groups for each in group["params"]) == sum(
        each.numel() for each in network.parameters()
    )
    assert isinstance(optimizer, torch.optim.SGD)


def test_shafique_steps_28_pictures_at_a_time_up_to_100_epochs_with_classes_equalised():
    source = source_of("shafique-2018", "subtypes", [0] * 160 + [1] * 92 + [2] * 49 + [3] * 156)
    batches = list(source.epoch(np.random.default_rng(0)))
    seen = torch.cat([each.labels for each in batches])
    assert len(batches[0].labels) == 28
    assert torch.bincount(seen).tolist() == [49, 49, 49, 49]
    assert recipe_of("shafique-2018", "subtypes").training.epochs == 100


def test_shafiques_split_tests_on_304_of_the_760_pictures_after_augmentation():
    split = recipe_of("shafique-2018", "detection").published_split
    (fold,) = published_folds([0] * 500 + [1] * 260, split, seed=1)
    assert (len(fold.train), len(fold.held_out)) == (456, 304)
    assert split.splits_after_augmentation
    assert set(named_changes(recipe_of("shafique-2018", "detection").augmentation)) == {
        "rotation",
        "mirror horizontal",
    }


# Loey, Naman and Zayed 2020


def test_loeys_features_are_4096_of_the_untouched_alexnet():
    network = built("loey-2020", "svm-cubic")
    assert answers(network).features.shape == (1, 4096)
    assert full_layers(network) == [(9216, 4096), (4096, 4096), (4096, 2)]
    assert network.size_px == 227
    assert len(network.hidden) == 0


def test_loey_fine_tunes_by_sgd_at_a_constant_0_0001_with_batches_of_5_for_6_epochs():
    optimizer = optimizer_of("loey-2020", "cnn-holdout")
    training = recipe_of("loey-2020", "cnn-holdout").training
    (old,), _, (new,) = rates(optimizer, built("loey-2020", "cnn-holdout"))
    assert isinstance(optimizer, torch.optim.SGD)
    assert (old, new) == (pytest.approx(1e-4), pytest.approx(20e-4))
    assert {rate_factor(training, step, 6 * 450) for step in (0, 1, 450, 2699)} == {1.0}
    source = source_of("loey-2020", "cnn-holdout", [0, 1] * 1125)
    assert source.steps() * training.epochs == 450 * 6
    assert [len(each.labels) for each in source.epoch(np.random.default_rng(0))][:3] == [5, 5, 5]


def test_loeys_564_pictures_become_2820():
    copies = copies_of("loey-2020", "cnn-folds", [0] * 282 + [1] * 282)
    assert len(copies.pixels) == 2820
    assert np.bincount(copies.labels).tolist() == [1410, 1410]
    assert np.bincount(copies.origins).tolist() == [5] * 564


def test_loey_turns_25_to_125_degrees_in_steps_of_5_and_shifts_15_to_25_px():
    changes = named_changes(recipe_of("loey-2020", "cnn-folds").augmentation)
    rng = np.random.default_rng(3)
    drawn = [changes["rotation"](rng, (227, 227), Placement()).turn_degrees for _ in range(2000)]
    assert {abs(each) for each in drawn} == set(range(25, 126, 5))
    assert {np.sign(each) for each in drawn} == {-1, 1}
    moved = [changes["shift"](rng, (227, 227), Placement()) for _ in range(500)]
    reached = np.abs([(each.right_px, each.down_px) for each in moved])
    assert 15 <= reached.min() < 15.5
    assert 24.5 < reached.max() <= 25
    assert changes["mirror horizontal"](rng, (227, 227), Placement()).mirror_horizontal
    assert len(changes) == 3


def test_loeys_splits_are_ten_folds_and_80_to_20():
    labels = [0] * 1410 + [1] * 1410
    folds = published_folds(labels, recipe_of("loey-2020", "cnn-folds").published_split, seed=1)
    assert [len(each.held_out) for each in folds] == [282] * 10
    (holdout,) = published_folds(labels, recipe_of("loey-2020", "cnn-holdout").published_split, seed=1)
    assert (len(holdout.train), len(holdout.held_out)) == (2256, 564)


# Ahmed et al. 2019


@pytest.mark.parametrize(
    ("experiment", "classes"), [("exp-1", 2), ("exp-2", 2), ("exp-3a", 5), ("exp-3c", 5)]
)
def test_ahmeds_cnn_is_two_convolutions_and_one_dense_layer_from_scratch(experiment, classes):
    network = built("ahmed-2019", experiment)
    assert [type(each) for each in network.trunk] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d] * 2 + [nn.Flatten]
    assert [(each.out_channels, each.kernel_size, each.padding) for each in convolutions(network)] == [
        (32, (3, 3), (0, 0)),
        (32, (3, 3), (0, 0)),
    ]
    assert {each.kernel_size for each in network.trunk if isinstance(each, nn.MaxPool2d)} == {2}
    assert [type(each) for each in network.hidden] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert network.hidden[3].p == 0.1
    # 64 px lose 2 and halve, twice: 64, 31, 14.
    assert full_layers(network) == [(14 * 14 * 32, 128), (128, classes)]
    assert answers(network).logits.shape == (1, classes)


@pytest.mark.parametrize(
    ("experiment", "kind", "rate", "epochs"),
    [
        ("exp-2", torch.optim.SGD, 0.001, 25),
        ("exp-3a", torch.optim.SGD, 0.001, 25),
        ("exp-3b", torch.optim.SGD, 0.001, 100),
        ("exp-3c", torch.optim.Adam, 0.001, 25),
    ],
)
def test_ahmed_compares_optimisers_and_epochs_at_batches_of_32(experiment, kind, rate, epochs):
    optimizer = optimizer_of("ahmed-2019", experiment)
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {rate}
    source = source_of("ahmed-2019", experiment, [0, 1] * 490)
    assert [len(each.labels) for each in source.epoch(np.random.default_rng(0))][:2] == [32, 32]
    assert recipe_of("ahmed-2019", experiment).training.epochs == epochs


def test_ahmeds_seven_changes_make_1225_of_175_pictures_with_no_original_among_them():
    recipe = recipe_of("ahmed-2019", "exp-2")
    assert list(named_changes(recipe.augmentation)) == [
        "rotation",
        "height shift",
        "width shift",
        "zoom",
        "mirror horizontal",
        "mirror vertical",
        "shear",
    ]
    assert len(copies_of("ahmed-2019", "exp-2", [0] * 175).pixels) == 1225
    assert recipe.published_split.augments_test
    assert not recipe.published_split.splits_after_augmentation


def test_ahmeds_changes_reach_40_degrees_40_and_30_percent_and_20_degrees():
    changes = named_changes(recipe_of("ahmed-2019", "exp-2").augmentation)
    rng = np.random.default_rng(4)

    def reach(name, value):
        return max(abs(value(changes[name](rng, (100, 100), Placement()))) for _ in range(1000))

    assert 39 < reach("rotation", lambda each: each.turn_degrees) <= 40
    assert 39 < reach("height shift", lambda each: each.down_px) <= 40
    assert 39 < reach("width shift", lambda each: each.right_px) <= 40
    assert 0.29 < reach("zoom", lambda each: each.zoom - 1) <= 0.3
    assert 19 < reach("shear", lambda each: each.shear_degrees) <= 20


def test_ahmeds_first_experiment_changes_no_picture():
    copies = copies_of("ahmed-2019", "exp-1", [0] * 9)
    assert len(copies.pixels) == 9
    assert not named_changes(recipe_of("ahmed-2019", "exp-1").augmentation)
    assert not recipe_of("ahmed-2019", "exp-1").published_split.augments_test


def test_ahmeds_five_folds_train_on_140_of_175_pictures_a_class_which_seven_copies_make_980():
    split = recipe_of("ahmed-2019", "exp-2").published_split
    for fold in published_folds([0] * 175 + [1] * 175, split, seed=1):
        assert (len(fold.train) / 2 * 7, len(fold.held_out) / 2 * 7) == (980, 245)
    assert len(published_folds([0] * 175 + [1] * 175, split, seed=1)) == 5


# Fata et al. 2023


def test_fatas_vgg16_ends_in_512_units_and_two_classes():
    network = built("fata-2023", "vgg16-adam-100")
    assert len(convolutions(network)) == 13
    assert full_layers(network) == [(25088, 512), (512, 2)]
    assert [type(each) for each in network.hidden] == [nn.Linear, nn.ReLU]
    assert answers(network).logits.shape == (1, 2)


def test_fatas_resnet50_ends_in_512_units_and_two_classes():
    network = built("fata-2023", "resnet50-rmsprop-80")
    weighted = len(convolutions(network.trunk)) - 4  # the four shortcuts are not counted in the 50
    assert weighted + 1 == 50
    assert full_layers(network) == [(2048, 512), (512, 2)]
    assert answers(network).logits.shape == (1, 2)


def test_fatas_pretrained_layers_neither_learn_nor_follow_the_batch():
    network = with_numbers("fata-2023", "resnet50-adam-10").train()
    before = network.trunk.bn1.running_mean.clone()
    network(torch.full((2, 224, 224, 3), 200, dtype=torch.uint8)).logits.sum().backward()
    new = [*network.hidden.parameters(), *network.head.parameters()]
    assert torch.equal(network.trunk.bn1.running_mean, before)
    assert all(each.grad is None for each in network.trunk.parameters())
    assert all(each.grad is not None for each in new)
    optimizer = build_optimizer(recipe_of("fata-2023", "resnet50-adam-10").training, network)
    learning = {id(each) for group in optimizer.param_groups for each in group["params"]}
    assert learning == {id(each) for each in new}


@pytest.mark.parametrize(
    ("experiment", "kind"),
    [
        ("vgg16-adam-10", torch.optim.Adam),
        ("vgg16-rmsprop-100", torch.optim.RMSprop),
        ("resnet50-adam-40", torch.optim.Adam),
        ("resnet50-rmsprop-80", torch.optim.RMSprop),
    ],
)
def test_fatas_rate_begins_at_0_0001_and_falls_by_0_95_every_900_steps(experiment, kind):
    optimizer = optimizer_of("fata-2023", experiment)
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4}
    training = recipe_of("fata-2023", experiment).training
    # 8,528 training cells in batches of 32 are 267 steps an epoch.
    at = {
        step: 1e-4 * rate_factor(training, step, 267 * training.epochs) for step in (0, 899, 900, 1799, 1800)
    }
    assert at == {
        0: pytest.approx(1e-4),
        899: pytest.approx(1e-4),
        900: pytest.approx(0.95e-4),
        1799: pytest.approx(0.95e-4),
        1800: pytest.approx(0.9025e-4),
    }


def test_fata_runs_every_network_optimiser_and_number_of_epochs_once():
    rows = {
        (recipe.network.architecture, recipe.training.optimizer, recipe.training.epochs)
        for each in load_recipe("fata-2023").experiments
        for recipe in [recipe_of("fata-2023", each.name)]
    }
    epochs = (10, 20, 30, 40, 50, 60, 80, 100)
    assert rows == {(a, o, e) for a in ("vgg16", "resnet50") for o in ("adam", "rmsprop") for e in epochs}
    assert len(load_recipe("fata-2023").experiments) == len(rows)


@pytest.mark.parametrize("name", ["fata-2023", "vimala-2023"])
def test_the_split_of_c_nmc_is_8528_to_2133_of_its_10661_cells(name):
    split = load_recipe(name).published_split
    (fold,) = published_folds([0] * 7272 + [1] * 3389, split, seed=1)
    assert (len(fold.train), len(fold.held_out)) == (8528, 2133)


def test_fata_steps_32_pictures_at_a_time_and_changes_none():
    source = source_of("fata-2023", "vgg16-adam-10", [0] * 8528)
    assert source.steps() == 267
    assert not named_changes(recipe_of("fata-2023", "vgg16-adam-10").augmentation)


# Vimala Vinnarasi et al.


@pytest.mark.parametrize(
    ("experiment", "layers", "full"),
    [
        ("alexnet", 5, [(9216, 4096), (4096, 4096), (4096, 2)]),
        ("vgg16", 13, [(25088, 4096), (4096, 4096), (4096, 2)]),
        ("cnn", 3, [(26 * 26 * 128, 128), (128, 2)]),
    ],
)
def test_vimalas_networks_have_their_layers_and_dropout(experiment, layers, full):
    network = built("vimala-2023", experiment)
    assert len(convolutions(network)) == layers
    assert full_layers(network) == full
    dropped = [each.p for each in network.modules() if isinstance(each, nn.Dropout)]
    assert dropped
    assert set(dropped) == {0.5}
    assert network.size_px == 224


@pytest.mark.parametrize("experiment", ["cnn", "alexnet", "vgg16"])
def test_vimala_trains_all_layers_by_sgd_at_0_00001_for_15_epochs(experiment):
    network, optimizer = built("vimala-2023", experiment), optimizer_of("vimala-2023", experiment)
    training = recipe_of("vimala-2023", experiment).training
    assert type(optimizer) is torch.optim.SGD
    assert {group["lr"] * rate_factor(training, 0, 100) for group in optimizer.param_groups} == {1e-5}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    assert training.epochs == 15
