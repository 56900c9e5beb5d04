"""Trains the cell classifier on some of the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainer.classification.batches import BatchRecipe, CellBatch, batches
from trainer.classification.network import CellNetwork
from trainer.classification.pictures import DOMAINS, CellPicture, crops
from trainer.classification.variation import CellVariation
from trainer.data.cells import CLASSES
from trainer.fit import Recipe, fit
from trainer.run import RunDirectory
from trainer.statistics import balanced_accuracy

Pixels = NDArray[np.uint8]

_CURVES: Final = {
    "loss": ("train_loss", "train_class", "train_domain"),
    "held-out cells": ("balanced_accuracy", "accuracy"),
}


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe:
    """Everything that decides what a training gives, but its data."""

    size_px: int = 96
    crop_margin: float = 1.2
    epochs: int = 8
    rate: float = 1.2e-3
    weight_decay: float = 2e-3
    frozen_blocks: int = 0
    reversal: float = 0.0
    average_decay: float = 0.995
    virtual_per_class: int = 150
    seed: int = 1
    batch: BatchRecipe = field(default_factory=BatchRecipe)
    variation: CellVariation = field(default_factory=CellVariation)

    def configuration(self) -> dict[str, Any]:
        """As it is written into the run directory."""
        return asdict(self)


def fit_classifier(
    recipe: ClassifierRecipe,
    run: RunDirectory,
    *,
    train: Sequence[CellPicture],
    held_out: Sequence[CellPicture],
    weights: str | Path | None,
    quiet: bool = False,
) -> Mapping[str, float]:
    """Train on ``train`` and watch ``held_out``; goes on where the run was interrupted.

    The last epoch's averaged weights are what is used, never the epoch that looked best: choosing by the
    held-out cells would spoil them as a measure.
    """
    torch.manual_seed(recipe.seed)
    network = CellNetwork(
        classes=len(CLASSES),
        domains=len(DOMAINS) if recipe.reversal else 0,
        frozen_blocks=recipe.frozen_blocks,
        weights=weights,
    ).to(memory_format=torch.channels_last)
    prepared = training_recipe(recipe, network, train=train, held_out=held_out)
    return fit(prepared, run, quiet=quiet)


def training_recipe(
    recipe: ClassifierRecipe,
    network: CellNetwork,
    *,
    train: Sequence[CellPicture],
    held_out: Sequence[CellPicture],
) -> Recipe[CellBatch]:
    """The recipe for ``network`` as the training loop takes it."""
    labels = np.array([each.label for each in held_out])
    pixels = crops(held_out, margin=recipe.crop_margin, size_px=recipe.size_px) if held_out else None

    def losses(model: nn.Module, batch: CellBatch) -> Mapping[str, Tensor]:
        answer = model(batch.cells.float(), reversal=recipe.reversal)
        named = functional.cross_entropy(answer.logits, batch.targets)
        if answer.domain_logits is None:
            return {"loss": named, "class": named}
        domain = functional.cross_entropy(answer.domain_logits, batch.domains, ignore_index=-1)
        return {"loss": named + domain, "class": named, "domain": domain}

    def evaluate(_: nn.Module) -> Mapping[str, float]:
        if pixels is None:
            return {"balanced_accuracy": 0.0}
        named = logits_of_features(network, features_of(network, pixels)).argmax(axis=1)
        return {
            "balanced_accuracy": balanced_accuracy(labels, named),
            "accuracy": float((labels == named).mean()),
        }

    return Recipe(
        network=network,
        optimizer=torch.optim.AdamW(
            [each for each in network.parameters() if each.requires_grad],
            lr=recipe.rate,
            weight_decay=recipe.weight_decay,
        ),
        batches=batches(
            train,
            classes=len(CLASSES),
            recipe=recipe.batch,
            variation=recipe.variation,
            margin=recipe.crop_margin,
            size_px=recipe.size_px,
        ),
        steps_per_epoch=recipe.batch.steps,
        losses=losses,
        evaluate=evaluate,
        score="balanced_accuracy",
        epochs=recipe.epochs,
        seed=recipe.seed,
        warmup_steps=30,
        average_decay=recipe.average_decay,
        evaluate_every=4,
        curves=_CURVES,
    )


@torch.no_grad()
def features_of(network: CellNetwork, pixels: Pixels, *, batch: int = 64) -> NDArray[np.float32]:
    """Features (n, FEATURES) of cells uint8 (n, S, S, 3); the network must be in eval mode."""
    parts = [
        network.features(torch.from_numpy(pixels[start : start + batch]).float()).numpy()
        for start in range(0, len(pixels), batch)
    ]
    return np.concatenate(parts)


@torch.no_grad()
def logits_of_features(network: CellNetwork, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Class logits (n, classes) of features; the network must be in eval mode."""
    return np.asarray(network.head(torch.from_numpy(features)).numpy(), dtype=np.float32)
