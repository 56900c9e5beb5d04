from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
from torchvision import models

from trainer.errors import WeightsError
from trainer.networks.build import build_network, chosen_weights
from trainer.networks.pretrained import DEFAULT, load_state, read_state, remedy
from trainer.recipes.recipe import NetworkRecipe

RECIPE = NetworkRecipe(architecture="resnet18", size_px=32)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(2)
    return models.resnet18(weights=None).state_dict()


@pytest.fixture
def saved(tmp_path):
    def save(content):
        file = tmp_path / "weights.pth"
        torch.save(content, file)
        return file

    return save


def test_a_file_fills_every_kept_layer_and_leaves_the_new_one_alone(saved, state):
    network = build_network(RECIPE, classes=3, weights=saved(state))
    kept = network.trunk.state_dict()
    assert set(state) - set(kept) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[key]) for key, value in kept.items())
    assert network.head.weight.shape == (3, 512)


def test_a_file_without_the_layer_that_is_replaced_is_enough(saved, state):
    trunk = {key: value for key, value in state.items() if not key.startswith("fc.")}
    network = build_network(RECIPE, classes=2, weights=saved(trunk))
    assert torch.equal(network.trunk.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize(
    "wrapped",
    [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": {f"module.{k}": s[k] for k in s}}],
)
def test_a_checkpoint_that_holds_a_state_dict_is_read(saved, state, wrapped):
    read = read_state(saved(wrapped(state)), architecture="resnet18")
    assert set(read) == set(state)
    assert torch.equal(read["conv1.weight"], state["conv1.weight"])


def test_half_precision_becomes_float32_and_counters_stay_whole(saved, state):
    halved = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    read = read_state(saved(halved), architecture="resnet18")
    assert read["conv1.weight"].dtype == torch.float32
    assert read["bn1.num_batches_tracked"].dtype == torch.int64


def test_weights_of_another_architecture_are_refused_with_the_first_key(saved):
    file = saved(models.squeezenet1_1(weights=None).state_dict())
    with pytest.raises(WeightsError, match=r"weights\.pth does not fit ResNet: \d+ keys differ, first "):
        build_network(RECIPE, classes=2, weights=file)


def test_weights_of_another_width_are_refused(saved):
    file = saved(models.resnet34(weights=None).state_dict())
    with pytest.raises(WeightsError, match="keys differ"):
        build_network(RECIPE, classes=2, weights=file)
    with pytest.raises(WeightsError, match=r"does not fit Linear: 1 keys differ, first 'weight'"):
        load_state(
            torch.nn.Linear(2, 3, bias=False), {"weight": torch.zeros(3, 4)}, without=(), source="a file"
        )


def test_a_file_that_holds_something_else_is_refused(saved):
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state(saved({"epoch": 3}), architecture="resnet18")


def test_a_missing_file_says_where_to_fetch_weights_and_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        build_network(RECIPE, classes=2, weights=tmp_path / "none.pth")
    said = str(caught.value)
    assert f"no pretrained weights at {tmp_path / 'none.pth'}" in said
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in said
    assert str(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in said
    assert "--weights FILE" in said
    assert "--from-scratch" in said


def test_without_a_connection_a_name_says_the_same(monkeypatch, tmp_path):
    def unreachable(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(WeightsError, match=r"could not be fetched: .*no route to host") as caught:
        build_network(RECIPE, classes=2, weights=DEFAULT)
    assert "resnet18-f37072fd.pth" in caught.value.remedy
    assert "--from-scratch" in caught.value.remedy


def test_a_file_put_where_the_error_said_is_found_by_name(monkeypatch, tmp_path, state):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    assert str(place) in remedy("resnet18")
    place.parent.mkdir(parents=True)
    torch.save(state, place)
    network = build_network(RECIPE, classes=2, weights=DEFAULT)
    assert torch.equal(network.trunk.conv1.weight, state["conv1.weight"])


def test_noise_is_a_deliberate_choice():
    assert chosen_weights(RECIPE, weights=None, from_scratch=False) == DEFAULT
    assert chosen_weights(RECIPE, weights="file.pth", from_scratch=False) == "file.pth"
    assert chosen_weights(RECIPE, weights=None, from_scratch=True) is None
    plain = NetworkRecipe(architecture="plain-cnn", size_px=32, pretrained=False, maps=(4,))
    assert chosen_weights(plain, weights=None, from_scratch=False) is None
    with pytest.raises(WeightsError, match="Leave one of the two away"):
        chosen_weights(RECIPE, weights="file.pth", from_scratch=True)


def test_weights_for_the_plain_cnn_are_refused():
    plain = NetworkRecipe(architecture="plain-cnn", size_px=32, pretrained=False, maps=(4,))
    with pytest.raises(WeightsError, match="plain-cnn has no pretrained weights"):
        build_network(plain, classes=2, weights="file.pth")


@pytest.mark.data
def test_the_local_mobilenet_loads_whole(data_dir):
    file = data_dir / "weights" / "mobilenet_v2.pth"
    network = build_network(NetworkRecipe(architecture="mobilenet_v2", size_px=96), classes=2, weights=file)
    kept = torch.load(file, weights_only=True)
    assert torch.equal(network.trunk.features[18][0].weight, kept["features.18.0.weight"].float())
