from __future__ import annotations

import pytest
import torch

from trainer.networks.build import build_network
from trainer.optimization import FINAL_SHARE, build_optimizer, rate_factor
from trainer.recipes.recipe import NetworkRecipe, TrainingRecipe


def training(**changed):
    return TrainingRecipe.model_validate(
        {"optimizer": "sgd", "rate": 0.01, "batch": 4, "epochs": 2, **changed}
    )


@pytest.fixture
def network():
    torch.manual_seed(1)
    recipe = NetworkRecipe(architecture="resnet18", size_px=32, hidden=({"units": 8, "batch_norm": True},))
    return build_network(recipe, classes=2, weights=None)


def rate_of(optimizer, parameter):
    (group,) = (each for each in optimizer.param_groups if any(p is parameter for p in each["params"]))
    return group["lr"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("rmsprop", torch.optim.RMSprop),
        ("adamw", torch.optim.AdamW),
    ],
)
def test_each_optimiser_learns_every_parameter_once_and_new_layers_faster(network, name, kind):
    optimizer = build_optimizer(training(optimizer=name, new_layers_factor=7), network)
    learnt = [each for group in optimizer.param_groups for each in group["params"]]
    assert type(optimizer) is kind
    assert len(learnt) == len({id(each) for each in learnt}) == len(list(network.parameters()))
    assert rate_of(optimizer, network.trunk.conv1.weight) == pytest.approx(0.01)
    assert rate_of(optimizer, network.hidden[0].weight) == pytest.approx(0.07)
    assert rate_of(optimizer, network.head.bias) == pytest.approx(0.07)


def test_weights_decay_and_biases_and_norms_do_not(network):
    optimizer = build_optimizer(training(weight_decay=0.1), network)
    decay = {id(each): group["weight_decay"] for group in optimizer.param_groups for each in group["params"]}
    assert {decay[id(each)] for each in network.parameters() if each.ndim > 1} == {0.1}
    assert {decay[id(each)] for each in network.parameters() if each.ndim == 1} == {0.0}


def test_momentum_and_the_mean_square_take_the_recipes_numbers(network):
    assert build_optimizer(training(momentum=0.9), network).param_groups[0]["momentum"] == 0.9
    rmsprop = build_optimizer(training(optimizer="rmsprop", squares_decay=0.95), network)
    assert rmsprop.param_groups[0]["alpha"] == 0.95


def test_a_step_moves_weights_by_their_groups_rate(network):
    optimizer = build_optimizer(training(new_layers_factor=3), network)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    for each in network.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()
    moved = {name: (before[name] - each.detach()).mean().item() for name, each in network.named_parameters()}
    assert moved["trunk.conv1.weight"] == pytest.approx(0.01, rel=1e-3)
    assert moved["head.weight"] == pytest.approx(0.03, rel=1e-3)


def test_a_constant_rate_stays():
    assert {rate_factor(training(), step, 100) for step in range(100)} == {1.0}


def test_a_rate_that_falls_in_steps_falls_after_each_whole_number_of_them():
    falling = training(schedule="steps", decay=0.5, decay_every_steps=10)
    assert [rate_factor(falling, step, 100) for step in (0, 9, 10, 19, 20, 30)] == [
        1,
        1,
        0.5,
        0.5,
        0.25,
        0.125,
    ]


def test_a_cosine_falls_from_one_to_its_final_share_with_the_half_way_between():
    cosine = training(schedule="cosine")
    assert rate_factor(cosine, 0, 100) == 1
    assert rate_factor(cosine, 50, 100) == pytest.approx((1 + FINAL_SHARE) / 2)
    assert rate_factor(cosine, 100, 100) == pytest.approx(FINAL_SHARE)
    factors = [rate_factor(cosine, step, 100) for step in range(101)]
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warm_up_rises_in_a_straight_line_to_the_full_rate(schedule):
    warmed = training(schedule=schedule, warmup_steps=4)
    assert [rate_factor(warmed, step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
