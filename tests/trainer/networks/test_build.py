from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from trainer.errors import RecipeError
from trainer.networks.build import build_network
from trainer.recipes.recipe import NetworkRecipe
from trainer.recipes.shelf import load_recipe, recipe_names, small

HOUSE = tuple(each for each in recipe_names() if load_recipe(each).reference is None)


def network_of(architecture, *, size_px=64, classes=3, **settings):
    recipe = NetworkRecipe(architecture=architecture, size_px=size_px, **settings)
    return build_network(recipe, classes=classes, weights=None)


@pytest.mark.parametrize("name", HOUSE)
def test_every_house_recipe_builds_and_answers_a_batch_of_bytes(name):
    recipe = small(load_recipe(name)).network
    network = build_network(recipe, classes=5, weights=None).eval()
    pictures = torch.randint(0, 256, (2, recipe.size_px, recipe.size_px, 3), dtype=torch.uint8)
    with torch.no_grad():
        answer = network(pictures)
        assert torch.equal(network(pictures.float()).logits, answer.logits)
    assert answer.logits.shape == (2, 5)
    assert answer.features.shape == (2, network.feature_count)
    assert torch.isfinite(answer.logits).all()


OTHERS = (
    "densenet121 googlenet inception_v3 mnasnet0_5 regnet_y_400mf resnext50_32x4d shufflenet_v2_x0_5 "
    "squeezenet1_1 swin_t vgg11_bn"
)


@pytest.mark.parametrize("architecture", OTHERS.split())
def test_other_classifiers_of_torchvision_are_cut_and_continued_too(architecture):
    network = network_of(architecture, size_px=96).eval()
    with torch.no_grad():
        answer = network(torch.zeros(2, 96, 96, 3, dtype=torch.uint8))
    assert answer.logits.shape == (2, 3)
    # ImageNet's thousand answers are gone.
    assert not [each for each in network.trunk.parameters() if each.shape[0] == 1000]


def test_the_last_layer_or_the_whole_head_gives_way():
    with torch.device("meta"):
        last, head = (
            network_of("vgg16", replaces=each, hidden=({"units": 16},)) for each in ("last", "head")
        )
    assert (last.hidden[0].in_features, head.hidden[0].in_features) == (4096, 512 * 7 * 7)
    # No dropout of the removed layers is left before the new ones.
    assert not [each for each in head.modules() if isinstance(each, nn.Dropout)]
    assert len([each for each in last.modules() if isinstance(each, nn.Dropout)]) == 2


def test_hidden_layers_stand_as_the_recipe_orders_them():
    hidden = ({"units": 12, "batch_norm": True, "dropout": 0.25}, {"units": 6})
    network = network_of("resnet18", hidden=hidden, dropout=0.5)
    assert [type(each) for each in network.hidden] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
        nn.Dropout,
        nn.Linear,
        nn.ReLU,
        nn.Dropout,
    ]
    assert (network.hidden[3].p, network.hidden[6].p) == (0.25, 0.5)
    assert network.head.in_features == 6


def test_new_layers_begin_with_hes_numbers_and_zero_biases():
    torch.manual_seed(7)
    network = network_of("plain-cnn", pretrained=False, maps=(64, 64), hidden=({"units": 256},))
    for layer, fan_in in ((network.trunk[0], 27), (network.trunk[3], 576), (network.hidden[0], 64 * 14 * 14)):
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert not layer.bias.any()
    assert not network.head.bias.any()


def test_a_picture_does_not_fade_in_an_alexnet_that_begins_with_noise():
    torch.manual_seed(3)
    network = network_of("alexnet", size_px=95).eval()
    pictures = torch.randint(0, 256, (8, 95, 95, 3), dtype=torch.uint8)
    with torch.no_grad():
        features = network(pictures).features
    # Under the first numbers that torch gives them they would differ by 0.0008 from picture to picture.
    assert 0.01 < features.std(dim=0).mean() < 1


def test_the_same_seed_builds_the_same_network():
    def built():
        torch.manual_seed(11)
        return network_of("mobilenet_v3_small").state_dict()

    first, second = built(), built()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_pretrained_layers_get_imagenets_statistics_and_the_plain_cnn_plain_shares():
    seen = []
    pretrained = network_of("resnet18", size_px=32).eval()
    plain = network_of("plain-cnn", size_px=32, pretrained=False, maps=(4,)).eval()
    for network in (pretrained, plain):
        network.trunk.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        network(torch.tensor([255, 0, 51], dtype=torch.uint8).expand(1, 32, 32, 3))
    assert [each[0, :, 5, 5].tolist() for each in seen] == [
        pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225], abs=1e-5),
        pytest.approx([1, 0, 0.2]),
    ]


def test_the_features_are_what_the_answering_layer_is_given():
    network = network_of("mobilenet_v3_small", hidden=({"units": 9},)).eval()
    pictures = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    answer = network(pictures)
    assert answer.features.shape == (2, 9)
    assert torch.equal(network.head(answer.features), answer.logits)
    assert torch.equal(network.features(pictures), answer.features)


def test_a_frozen_trunk_is_left_out_of_the_groups_and_stays_in_eval_mode():
    network = network_of("resnet18", frozen_trunk=True).train()
    assert not network.trunk.training
    assert network.hidden.training
    assert network.head.training
    groups = network.parameter_groups(0.1, 2)
    assert [(each["name"], each["lr"]) for each in groups] == [("new", 0.2), ("new biases", 0.2)]
    assert [each for group in groups for each in group["params"]] == [network.head.weight, network.head.bias]


def test_the_plain_cnn_is_new_from_its_first_layer_on():
    network = network_of("plain-cnn", pretrained=False, maps=(4,))
    assert {each["name"] for each in network.parameter_groups(0.1, 2)} == {"new", "new biases"}


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [
        (
            NetworkRecipe(architecture="alexnet", size_px=32),
            r"alexnet does not take pictures of 32 px: .*size_px",
        ),
        (NetworkRecipe(architecture="vit_b_16", size_px=96), r"vit_b_16 does not take pictures of 96 px"),
        (NetworkRecipe(architecture="resnet19", size_px=64), r"no architecture 'resnet19'.*timm:NAME"),
        (NetworkRecipe(architecture="fcn_resnet50", size_px=64), r"no architecture 'fcn_resnet50'"),
        (NetworkRecipe(architecture="timm:resnet19t", size_px=64), r"timm has no network 'resnet19t'"),
        (
            NetworkRecipe(architecture="plain-cnn", size_px=8, pretrained=False, maps=(4, 4, 4)),
            r"Nothing of 8 px is left after 3 convolutions",
        ),
    ],
)
def test_what_cannot_be_built_is_named_with_a_remedy(recipe, fault):
    with pytest.raises(RecipeError, match=fault):
        build_network(recipe, classes=2, weights=None)


def test_without_timm_a_recipe_of_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(RecipeError, match=r"timm:resnet10t needs timm.*leukoscope\[timm\]"):
        network_of("timm:resnet10t")


def test_a_file_fills_a_network_of_timm(tmp_path):
    import timm

    torch.manual_seed(4)
    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    recipe = NetworkRecipe(architecture="timm:resnet10t", size_px=64)
    network = build_network(recipe, classes=2, weights=tmp_path / "weights.pth")
    kept = network.trunk.state_dict()
    assert set(state) - set(kept) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[key]) for key, value in kept.items())
