"""A recipe's network that tells three colours, whole and with a fault planted in it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.networks.build import build_network
from trainer.networks.picture import PictureNetwork
from trainer.quantization.pictures import LabelledPictures, PictureSubject
from trainer.quantization.symmetric import LARGEST_CODE
from trainer.recipes.recipe import Experiment, NetworkRecipe, Recipe, Task, TrainingRecipe

CLASSES = ("red", "green", "blue")
SIZE_PX = 16
BAD_LAYER = "trunk.3"
BRIGHTNESS = len(CLASSES)
"""The first convolution's map beside those of the colours."""
RECIPE = Recipe(
    name="colours",
    title="Three colours",
    data="generated",
    tasks={"colour": Task(title="Colours", classes={name: (name,) for name in CLASSES})},
    network=NetworkRecipe(architecture="plain-cnn", size_px=SIZE_PX, maps=(8, 8), pretrained=False),
    training=TrainingRecipe(optimizer="adamw", rate=0.003, batch=16, epochs=10),
    experiments=(Experiment(name="colour", title="Colours", task="colour"),),
)


def coloured(count: int, *, seed: int, groups: int = 8) -> LabelledPictures:
    """Noisy pictures, each a little more of one colour than of the others."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    pixels = rng.normal(120, 40, (count, SIZE_PX, SIZE_PX, 3))
    pixels[np.arange(count), :, :, labels] += 12
    return LabelledPictures(
        pixels=pixels.clip(0, 255).astype(np.uint8), labels=labels, groups=(np.arange(count) // 3) % groups
    )


@torch.no_grad()
def with_an_outlier_channel(network: PictureNetwork, factor: float = 400.0) -> PictureNetwork:
    """The same function with one channel so large that a common scale leaves nothing of the others.

    The brightness that the first convolution tells grows; the second convolution takes it back by as much.
    """
    faulty = copy.deepcopy(network)
    first, second = faulty.get_submodule("trunk.0"), faulty.get_submodule(BAD_LAYER)
    first.weight[BRIGHTNESS] *= factor
    first.bias[BRIGHTNESS] *= factor
    second.weight[:, BRIGHTNESS] /= factor
    return faulty


@torch.no_grad()
def with_a_useless_large_weight(network: PictureNetwork) -> PictureNetwork:
    """The same function, but its second convolution multiplies a map that is always dark by a large weight.

    That weight sets the step of the codes of its whole output channel, so that those of use, which are 1,
    lie just under half a step: rounding makes them 0, and training on lifts them over it within a few steps.
    """
    faulty = copy.deepcopy(network)
    faulty.get_submodule(BAD_LAYER).weight[:, BRIGHTNESS + 1] = 2.002 * LARGEST_CODE
    return faulty


@pytest.fixture(scope="session")
def colour_network() -> PictureNetwork:
    """A network set by hand, so that it and what rounding does to it are the same on every machine.

    Each of its first maps tells one colour, averaged over 3x3 pixels, and one tells the brightness; the
    second ones what a colour has beyond the brightness; the head sums that up. Other maps tell nothing.
    """
    network = build_network(RECIPE.network, classes=len(CLASSES), weights=None)
    first, second, head = (network.get_submodule(name) for name in ("trunk.0", BAD_LAYER, "head"))
    with torch.no_grad():
        for layer in (first, second, head):
            layer.weight.zero_()
            layer.bias.zero_()
        for colour in range(len(CLASSES)):
            first.weight[colour, colour] = 1 / 9
            first.weight[BRIGHTNESS, colour] = 1 / 27
            second.weight[colour, colour] = 1.0
            second.weight[colour, BRIGHTNESS] = -1.0
            head.weight[colour].reshape(second.out_channels, -1)[colour] = 4.0
        second.bias[: len(CLASSES)] = 1.0  # so that a colour that is missing is told too
    return network.eval()


def subject_of(network: PictureNetwork, *, held_out: int = 240) -> PictureSubject:
    return PictureSubject(
        network=network,
        recipe=RECIPE,
        classes=CLASSES,
        train=coloured(240, seed=0),
        held_out=coloured(held_out, seed=1),
        grouped_by="slide",
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The float run's directory, as far as a report names it."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "last.pt").write_bytes(b"weights")
    return folder
