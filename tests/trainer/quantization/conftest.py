"""A recipe's network that learnt to tell three colours, whole and with a fault planted in it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.networks.build import build_network
from trainer.networks.picture import PictureNetwork
from trainer.quantization.pictures import LabelledPictures, PictureSubject
from trainer.recipes.recipe import Experiment, NetworkRecipe, Recipe, Task, TrainingRecipe
from trainer.run import RunDirectory
from trainer.training import train

CLASSES = ("red", "green", "blue")
SIZE_PX = 16
BAD_LAYER = "trunk.3"
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

    What the first convolution's ReLU lets through grows in one channel, and the second convolution takes it
    back by as much.
    """
    faulty = copy.deepcopy(network)
    first, second = faulty.get_submodule("trunk.0"), faulty.get_submodule(BAD_LAYER)
    strongest = int(first.weight.flatten(1).norm(dim=1).argmin())
    first.weight[strongest] *= factor
    first.bias[strongest] *= factor
    second.weight[:, strongest] /= factor
    return faulty


@pytest.fixture(scope="session")
def colour_network(tmp_path_factory: pytest.TempPathFactory) -> PictureNetwork:
    torch.manual_seed(0)
    network = build_network(RECIPE.network, classes=len(CLASSES), weights=None)
    pictures, none = coloured(240, seed=0), coloured(0, seed=0)
    train(
        network,
        recipe=RECIPE,
        pixels=pictures.pixels,
        labels=pictures.labels,
        held_out_pixels=none.pixels,
        held_out_labels=none.labels,
        run=RunDirectory.begin(tmp_path_factory.mktemp("colours") / "run", {}, resume=False),
        quiet=True,
    )
    return network


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
