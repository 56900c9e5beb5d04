from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2

from trainer.errors import WeightsError
from trainer.networks.mobilenet_v2 import freeze_batch_norm, mobilenet_v2_trunk


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(3)
    return mobilenet_v2(weights=None).state_dict()


def test_half_precision_weights_are_read_as_float32(tmp_path, state):
    file = tmp_path / "weights.pth"
    torch.save(
        {key: value.half() if value.is_floating_point() else value for key, value in state.items()}, file
    )
    trunk = mobilenet_v2_trunk(weights=file, blocks=4)
    weight = trunk[0][0].weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["features.0.0.weight"].half().float())
    assert trunk.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 24, 16, 16)


def test_missing_weights_say_how_to_get_some(tmp_path):
    with pytest.raises(WeightsError, match=r"no pretrained weights at .*none\.pth.*--from-scratch"):
        mobilenet_v2_trunk(weights=tmp_path / "none.pth")


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        mobilenet_v2_trunk(weights=file)


def test_another_networks_weights_are_refused(tmp_path, state):
    file = tmp_path / "weights.pth"
    torch.save({key: value for key, value in state.items() if "features.7" not in key}, file)
    with pytest.raises(WeightsError, match=r"keys differ, first 'features\.7\."):
        mobilenet_v2_trunk(weights=file)


def test_frozen_batch_norm_neither_learns_nor_follows_the_batch():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    freeze_batch_norm(network)
    before = {key: value.clone() for key, value in network[1].state_dict().items()}
    network(torch.randn(8, 3, 5, 5)).sum().backward()
    assert all(torch.equal(before[key], value) for key, value in network[1].state_dict().items())
    assert network[1].weight.grad is None
    assert network[0].weight.grad is not None
