"""From a recipe and pictures to a trained network, and from a network and pictures to its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainer.fabric import ONE_PROCESSOR, FabricSettings
from trainer.fit import Recipe as Fitting
from trainer.fit import fit
from trainer.networks.picture import PictureNetwork
from trainer.optimization import build_optimizer, rate_factor
from trainer.pictures.batches import PictureBatch, PictureSource
from trainer.recipes.recipe import Recipe
from trainer.run import MetricValue, RunDirectory

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Scores = NDArray[np.float32]

_CURVES: Final = {
    "loss": ("train_loss", "held_out_loss"),
    "accuracy": ("train_accuracy", "held_out_accuracy"),
}


class Answers(NamedTuple):
    """What a network says of n pictures: logits (n, classes) and features (n, features), float32."""

    logits: Scores
    features: Scores


def train(
    network: PictureNetwork,
    *,
    recipe: Recipe,
    pixels: Pixels,
    labels: Labels,
    held_out_pixels: Pixels,
    held_out_labels: Labels,
    run: RunDirectory,
    fabric: FabricSettings = ONE_PROCESSOR,
    quiet: bool = False,
) -> tuple[Mapping[str, MetricValue], ...]:
    """Train ``network`` as the recipe says, or go on where ``run`` was interrupted; one record an epoch.

    ``pixels`` are uint8 (n, S, S, 3) of the recipe's size, ``labels`` (n) number its classes. The held-out
    pictures (there may be none) are only watched: the last epoch's weights are what is used, for choosing
    by held-out pictures would spoil them as a measure. Afterwards ``network`` holds these weights (their
    moving average where the recipe keeps one), in eval mode, on the device it was trained on; of several
    processes, in every one of them, and every one is given the records.

    A record has ``train_loss`` and ``train_accuracy`` (of the changed pictures, on the way),
    ``held_out_loss`` and ``held_out_accuracy``, ``rate``, ``seconds``, ``waited_seconds`` (for pictures) and
    ``peak_memory_mib``. Copies of pictures are not made here, since they may have to be made before a split:
    see `trainer.pictures.changes.augmented_copies`. Raises TrainerError as `trainer.fit.fit` does.
    """
    processes = fabric.launch()
    if fabric.channels_last:
        network.to(memory_format=torch.channels_last)
    fit(
        fitting(
            network,
            recipe=recipe,
            pixels=pixels,
            labels=labels,
            watch=lambda: watched(network, held_out_pixels, held_out_labels),
            processes=processes,
            compiled=fabric.compile,
        ),
        run,
        quiet=quiet,
        fabric=processes,
    )
    kept = (run.require("last")["serving"], run.metrics()) if processes.is_global_zero else ({}, [])
    if processes.world_size > 1:
        kept = processes.broadcast(kept)
    network.load_state_dict(kept[0])
    network.eval()
    return tuple(kept[1])


def fitting(
    network: PictureNetwork,
    *,
    recipe: Recipe,
    pixels: Pixels,
    labels: Labels,
    watch: Callable[[], Mapping[str, float]],
    processes: Fabric,
    compiled: bool = False,
) -> Fitting[PictureBatch]:
    """The recipe for ``network`` as the training loop takes it; ``watch`` gives each epoch's figures."""
    training = recipe.training
    source = PictureSource(
        pixels=pixels,
        labels=np.asarray(labels, dtype=np.int64),
        size=training.batch,
        augmentation=recipe.augmentation,
        seed=training.seed,
        equalised=training.equalise_classes,
    )

    def losses(model: nn.Module, batch: PictureBatch) -> Mapping[str, Tensor]:
        logits = model(batch.pixels).logits
        loss = functional.cross_entropy(logits, batch.labels, label_smoothing=training.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(dim=1) == batch.labels).float().mean()}

    return Fitting(
        network=network,
        optimizer=build_optimizer(training, network),
        batches=lambda rng: source.epoch(rng, rank=processes.global_rank, processes=processes.world_size),
        steps_per_epoch=source.steps(),
        share=lambda batch: (batch.own, batch.whole),
        losses=losses,
        evaluate=lambda _: watch(),
        score=None,
        epochs=training.epochs,
        seed=training.seed,
        rate_factor=lambda step, steps: rate_factor(training, step, steps),
        average_decay=training.average_decay,
        largest_gradient_norm=None,
        curves=_CURVES,
        compiled=compiled,
    )


def watched(network: nn.Module, pixels: Pixels, labels: Labels) -> Mapping[str, float]:
    """Loss and accuracy on held-out pictures; nothing of none."""
    if len(pixels) == 0:
        return {}
    logits = torch.from_numpy(answer(network, pixels).logits)
    truth = torch.as_tensor(np.asarray(labels, dtype=np.int64))
    return {
        "held_out_loss": float(functional.cross_entropy(logits, truth)),
        "held_out_accuracy": float((logits.argmax(dim=1) == truth).float().mean()),
    }


@torch.no_grad()
def answer(network: nn.Module, pixels: Pixels, batch: int = 64) -> Answers:
    """The network's answers for pictures uint8 (n, S, S, 3), ``batch`` at a time, in eval mode.

    Runs where the network's weights are, and leaves the network in the mode it was in.
    """
    device = next(network.parameters()).device
    before = network.training
    network.eval()
    logits: list[Scores] = []
    features: list[Scores] = []
    try:
        for start in range(0, max(1, len(pixels)), batch):
            # Copied: a mapped file's pixels cannot be written to, and torch warns of such.
            part = torch.from_numpy(np.array(pixels[start : start + batch]))
            said = network(part.to(device))
            logits.append(said.logits.float().cpu().numpy())
            features.append(said.features.float().cpu().numpy())
    finally:
        network.train(before)
    return Answers(logits=np.concatenate(logits), features=np.concatenate(features))
