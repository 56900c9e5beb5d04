"""The optimiser of a recipe, and how its rate changes over the steps: pure rules."""

from __future__ import annotations

import math
from typing import Final

from torch import optim

from trainer.networks.picture import PictureNetwork
from trainer.recipes.recipe import TrainingRecipe

FINAL_SHARE: Final = 0.02
"""Of the rate, what a cosine schedule ends with."""


def build_optimizer(training: TrainingRecipe, network: PictureNetwork) -> optim.Optimizer:
    """The recipe's optimiser over what ``network`` learns, new layers at their own rate."""
    groups = network.parameter_groups(training.rate, training.new_layers_factor)
    rate, weight_decay = training.rate, training.weight_decay
    if training.optimizer == "sgd":
        return optim.SGD(groups, lr=rate, momentum=training.momentum, weight_decay=weight_decay)
    if training.optimizer == "rmsprop":
        return optim.RMSprop(
            groups,
            lr=rate,
            alpha=training.squares_decay,
            momentum=training.momentum,
            weight_decay=weight_decay,
        )
    if training.optimizer == "adam":
        return optim.Adam(groups, lr=rate, weight_decay=weight_decay)
    return optim.AdamW(groups, lr=rate, weight_decay=weight_decay)


def rate_factor(training: TrainingRecipe, step: int, steps: int) -> float:
    """What every group's rate is multiplied by at ``step`` (from 0) of ``steps``.

    ``constant``: 1. ``steps``: ``decay`` to the power of how many times ``decay_every_steps`` were taken.
    ``cosine``: half a cosine down to :data:`FINAL_SHARE`, over the steps after the warm-up (Loshchilov and
    Hutter, arXiv:1608.03983, without restarts). Before each, ``warmup_steps`` in a straight line up.
    """
    if step < training.warmup_steps:
        return (step + 1) / training.warmup_steps
    if training.schedule == "steps" and training.decay_every_steps is not None:
        return float(training.decay ** (step // training.decay_every_steps))
    if training.schedule == "cosine":
        progress = (step - training.warmup_steps) / max(1, steps - training.warmup_steps)
        return FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return 1.0
