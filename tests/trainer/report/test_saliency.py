"""Where a network looked: held against networks of which it is known where they must look."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from trainer.errors import RunError
from trainer.networks.build import build_network
from trainer.recipes.recipe import NetworkRecipe
from trainer.report.saliency import last_maps, overlay, saliency

SIZE_PX = 32


class Answer(NamedTuple):
    logits: Tensor
    features: Tensor


class Network(nn.Module):
    """A trunk as the trainer's networks hold one: camera bytes in, an answer with logits out."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels: Tensor) -> Answer:
        logits = self.trunk(pixels.float().permute(0, 3, 1, 2) / 255 - 0.5)
        return Answer(logits=logits, features=logits)


def plain_cnn(classes: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * (SIZE_PX // 4) ** 2, classes),
    )  # fmt: skip


def corner_pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise, a blob in any quarter, and its colour, which is the class; the quarter says nothing of it."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(90, 160, (count, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    labels, quarters = rng.integers(0, 2, count), rng.integers(0, 4, count)
    half = SIZE_PX // 2
    for picture, label, quarter in zip(pictures, labels, quarters, strict=True):
        top, left = (half * (quarter // 2) + 4, half * (quarter % 2) + 4)
        picture[top : top + 8, left : left + 8] = (200, 60, 60) if label else (60, 60, 200)
    return pictures, labels, quarters


def mass_in_quarter(maps: np.ndarray, quarters: np.ndarray) -> float:
    """The mean share of a map's mass that lies in the blob's quarter; a zero map has none there."""
    half, shares = SIZE_PX // 2, []
    for heat, quarter in zip(maps, quarters, strict=True):
        top, left = half * (quarter // 2), half * (quarter % 2)
        shares.append(heat[top : top + half, left : left + half].sum() / max(float(heat.sum()), 1e-9))
    return float(np.mean(shares))


@pytest.fixture(scope="module")
def trained() -> Network:
    torch.manual_seed(3)
    network = Network(plain_cnn()).train()
    pictures, labels, _ = corner_pictures(256, seed=1)
    pixels, truth = torch.from_numpy(pictures), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(60):
        rows = slice(32 * (step % 8), 32 * (step % 8) + 32)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(pixels[rows]).logits, truth[rows]).backward()
        optimizer.step()
    return network.eval()


def test_the_map_lies_on_the_part_of_the_picture_that_decides(trained: Network) -> None:
    pictures, labels, quarters = corner_pictures(64, seed=2)
    with torch.no_grad():
        named = trained(torch.from_numpy(pictures)).logits.argmax(1).numpy()
    assert (named == labels).mean() > 0.95, "the network never learned the task"

    maps = saliency(trained, pictures, named.tolist())

    assert mass_in_quarter(maps, quarters) >= 0.6
    chance = np.random.default_rng(0).random(maps.shape, dtype=np.float32)
    assert mass_in_quarter(chance, quarters) < 0.3, "the measure would pass anything"
    assert mass_in_quarter(maps, (quarters + 1) % 4) < 0.3


def test_what_the_map_marks_is_what_the_answer_hangs_on(trained: Network) -> None:
    """Occlusion: grey over the marked pixels costs more than grey over as many of the least marked."""
    pictures, labels, _ = corner_pictures(32, seed=5)
    maps = saliency(trained, pictures, labels.tolist())
    order = np.argsort(maps.reshape(len(maps), -1), axis=1)
    covered = order.shape[1] // 8

    def log_odds_with(pixels_of: np.ndarray) -> float:
        changed = pictures.reshape(len(pictures), -1, 3).copy()
        np.put_along_axis(changed, pixels_of[..., None], 125, axis=1)
        with torch.no_grad():
            logits = trained(torch.from_numpy(changed.reshape(pictures.shape))).logits.numpy()
        rows = np.arange(len(labels))
        return float((logits[rows, labels] - logits[rows, 1 - labels]).mean())

    assert log_odds_with(order[:, -covered:]) < log_odds_with(order[:, :covered]) - 1


def test_maps_are_shares_of_the_picture_s_own_size_and_leave_the_network_as_it_was(trained: Network) -> None:
    pictures, labels, _ = corner_pictures(11, seed=3)
    trained.train()
    trained.trunk[1].eval()
    trained.trunk[0].weight.grad = torch.ones_like(trained.trunk[0].weight)
    before = {key: value.clone() for key, value in trained.state_dict().items()}
    try:
        maps = saliency(trained, pictures, labels.tolist())
        assert trained.training
        assert trained.trunk[0].training
        assert not trained.trunk[1].training
        assert torch.equal(trained.trunk[0].weight.grad, torch.ones_like(trained.trunk[0].weight))
        assert all(torch.equal(value, before[key]) for key, value in trained.state_dict().items())
    finally:
        trained.trunk[0].weight.grad = None
        trained.eval()
    assert maps.shape == (11, SIZE_PX, SIZE_PX)
    assert maps.dtype == np.float32
    assert maps.min() == 0
    assert maps.max() == 1
    again = saliency(trained, pictures[8:], labels[8:].tolist())
    np.testing.assert_allclose(again, maps[8:], atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "layer", "size_px"),
    [
        ("alexnet", "features.11", 96),
        ("vgg16", "features.29", 64),
        ("resnet50", "layer4", 64),
        ("mobilenet_v2", "features", 64),
        ("mobilenet_v3_small", "features", 64),
        ("efficientnet_b0", "features", 64),
        ("convnext_tiny", "features", 64),
    ],
)
def test_the_last_maps_are_found_in_every_family_also_with_a_frozen_trunk(
    architecture: str, layer: str, size_px: int
) -> None:
    torch.manual_seed(0)
    network = Network(torchvision.models.get_model(architecture, weights=None, num_classes=3)).eval()
    next(iter(network.trunk.children())).requires_grad_(requires_grad=False)
    pixels = np.random.default_rng(0).integers(0, 255, (1, size_px, size_px, 3), dtype=np.uint8)
    found = last_maps(network, torch.from_numpy(pixels).float())
    assert found is network.trunk.get_submodule(layer)
    maps = saliency(network, np.repeat(pixels, 3, axis=0), [0, 1, 2])
    assert maps.max() == 1


@pytest.mark.parametrize(
    ("recipe", "layer"),
    [
        (NetworkRecipe(architecture="plain-cnn", size_px=32, maps=(4, 4), pretrained=False), "trunk.4"),
        (NetworkRecipe(architecture="resnet18", size_px=64, frozen_trunk=True), "trunk.layer4"),
    ],
)
def test_the_recipes_networks_show_where_they_looked(recipe: NetworkRecipe, layer: str) -> None:
    torch.manual_seed(0)
    network = build_network(recipe, classes=2, weights=None)
    shape = (4, recipe.size_px, recipe.size_px, 3)
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    found = last_maps(network.eval(), torch.from_numpy(pixels).float())
    assert next(name for name, module in network.named_modules() if module is found) == layer
    maps = saliency(network, pixels, [0, 0, 1, 1])
    assert maps.shape == shape[:3]
    assert maps.max() == 1


def test_a_network_without_maps_says_that_it_has_none() -> None:
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE_PX**2, 2)))
    with pytest.raises(RunError, match="no convolution") as refused:
        saliency(network, np.zeros((1, SIZE_PX, SIZE_PX, 3), dtype=np.uint8), [0])
    assert "without saliency" in refused.value.remedy


def test_no_pictures_are_no_maps_and_a_class_is_needed_for_each(trained: Network) -> None:
    none = np.zeros((0, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    assert saliency(trained, none, []).shape == (0, SIZE_PX, SIZE_PX)
    with pytest.raises(ValueError, match="2 classes for 0 pictures"):
        saliency(trained, none, [0, 1])


def test_the_overlay_keeps_the_stain_where_it_is_hot_and_greys_the_rest() -> None:
    picture = np.full((64, 64, 3), (150, 60, 170), dtype=np.uint8)
    heat = np.zeros((64, 64), dtype=np.float32)
    heat[16:48, 16:48] = 1
    drawn = overlay(picture, heat)
    assert drawn[32, 32].tolist() == [150, 60, 170]
    assert len(set(drawn[4, 4].tolist())) == 1
    assert drawn[4, 4, 0] < 100

    def yellow(shown: np.ndarray) -> np.ndarray:
        return shown[..., 1].astype(int) - shown[..., 2] > 100

    assert yellow(drawn)[16, 20:44].all()
    assert yellow(drawn).sum() < 600
    assert not yellow(overlay(picture, np.zeros_like(heat))).any()
