"""A small training with everything that several processes could get wrong, for the tests of scale."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from trainer.networks.picture import PictureNetwork
from trainer.recipes.recipe import (
    AugmentationRecipe,
    Experiment,
    HiddenLayer,
    NetworkRecipe,
    Recipe,
    Task,
    TrainingRecipe,
)

SIZE_PX = 16
CLASSES = 3
PICTURES = 43
"""With batches of 8: five whole ones, and one of three pictures, which two processes share unequally."""


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Noise on a ground whose brightness is the class."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, CLASSES, PICTURES)
    noise = rng.integers(0, 120, (PICTURES, SIZE_PX, SIZE_PX, 3))
    return (noise + 40 * labels[:, None, None, None]).astype(np.uint8), labels


def recipe(**training) -> Recipe:
    settings = {"rate": 0.05, "batch": 8, "epochs": 2, "seed": 3}
    settings |= {} if "optimizer" in training else {"optimizer": "sgd", "momentum": 0.9}
    return Recipe(
        name="small",
        title="Small",
        data="noise",
        tasks={"all": Task(title="All", classes={str(label): (str(label),) for label in range(CLASSES)})},
        network=NetworkRecipe(
            architecture="plain-cnn",
            size_px=SIZE_PX,
            pretrained=False,
            maps=(4, 4),
            hidden=(HiddenLayer(units=8),),
        ),
        augmentation=AugmentationRecipe(
            rotation_up_to_degrees=30, mirror_horizontal=True, shift_width=0.1, zoom=0.1, stain=True
        ),
        training=TrainingRecipe(**(settings | training)),
        experiments=(Experiment(name="only", title="Only", task="all"),),
    )


def network(*, batch_norm: bool = False) -> PictureNetwork:
    torch.manual_seed(11)
    trunk = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten()]
    hidden = [nn.Linear(150, 8), nn.ReLU()]
    if batch_norm:
        trunk.insert(1, nn.BatchNorm2d(6))
        hidden.insert(1, nn.BatchNorm1d(8))
    return PictureNetwork(
        colour=nn.Identity(),
        trunk=nn.Sequential(*trunk),
        hidden=nn.Sequential(*hidden),
        head=nn.Linear(8, CLASSES),
        size_px=SIZE_PX,
        mean=(100.0,) * 3,
        deviation=(60.0,) * 3,
        new_trunk=True,
    )
