"""The training loop that every network here uses: seeded, resumable, with a moving average.

Whatever happens inside epoch ``e`` depends on the seed, on ``e`` and on the weights that epoch ``e - 1``
left, and on nothing else. So a run that was killed goes on from its last whole epoch, and on a CPU it ends
with the same weights, to the bit, as one that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from trainer.errors import TrainerError
from trainer.run import Checkpoint, RunDirectory

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[Batch]):
    """What is trained, on what, and how it is judged.

    ``batches(rng)`` gives one epoch's batches, ``steps_per_epoch`` of them, all chance drawn from ``rng``.
    ``losses(network, batch)`` gives named scalars; ``"loss"`` is the one that is minimised.
    ``evaluate(network)`` gets the serving weights in eval mode, under ``no_grad``; ``score`` names the one of
    its figures (higher is better) that decides which checkpoint is kept as the best.
    ``average_decay`` keeps an exponential moving average of the weights, and evaluates and ships that.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Callable[[np.random.Generator], Iterable[Batch]]
    steps_per_epoch: int
    losses: Callable[[nn.Module, Batch], Mapping[str, Tensor]]
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    score: str
    epochs: int
    seed: int
    warmup_steps: int = 0
    final_rate: float = 0.02
    average_decay: float | None = None
    largest_gradient_norm: float = 10.0
    evaluate_every: int = 1
    curves: Mapping[str, tuple[str, ...]] | None = None


def cosine(step: int, *, steps: int, warmup_steps: int, final: float) -> float:
    """Factor on the learning rate: up in a straight line, then down a half cosine to ``final``."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def fit(recipe: Recipe[Batch], run: RunDirectory, *, quiet: bool = False) -> Mapping[str, float]:
    """Train to the end, from the last whole epoch when the run has one; returns the best epoch's score.

    Raises TrainerError when the loss stops being a number. On KeyboardInterrupt the last whole epoch stays.
    """
    network, optimizer = recipe.network, recipe.optimizer
    base_rates = [float(group["lr"]) for group in optimizer.param_groups]
    serving = {key: value.detach().clone() for key, value in network.state_dict().items()}
    first, best = _resume(recipe, run, serving)
    steps = recipe.epochs * recipe.steps_per_epoch
    for epoch in range(first, recipe.epochs):
        began = time.perf_counter()
        rng = np.random.default_rng([recipe.seed, epoch])
        torch.manual_seed(recipe.seed * 100_003 + epoch)
        sums: defaultdict[str, float] = defaultdict(float)
        network.train()
        bar = tqdm(
            recipe.batches(rng),
            total=recipe.steps_per_epoch,
            desc=f"epoch {epoch + 1}/{recipe.epochs}",
            disable=quiet,
        )
        taken = 0
        for taken, batch in enumerate(bar, start=1):
            step = epoch * recipe.steps_per_epoch + taken - 1
            factor = cosine(step, steps=steps, warmup_steps=recipe.warmup_steps, final=recipe.final_rate)
            for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
                group["lr"] = rate * factor
            losses = recipe.losses(network, batch)
            _descend(recipe, losses["loss"], epoch=epoch)
            _average(serving, network, decay=_decay(recipe.average_decay, step))
            for name, value in losses.items():
                sums[name] += float(value.detach())
            bar.set_postfix(loss=f"{sums['loss'] / taken:.3f}")
        values = {f"train_{name}": total / taken for name, total in sums.items()}
        values |= {"rate": optimizer.param_groups[0]["lr"], "seconds": time.perf_counter() - began}
        last = epoch + 1 == recipe.epochs
        judged = last or (epoch + 1) % recipe.evaluate_every == 0
        if judged:
            values |= _evaluate(recipe, serving)
        improved = judged and values[recipe.score] > best
        best = values[recipe.score] if improved else best
        checkpoint = Checkpoint(
            epoch=epoch,
            network=network.state_dict(),
            serving=serving,
            optimizer=optimizer.state_dict(),
            best_score=best,
        )
        run.record(epoch=epoch, values=values)
        if improved:
            run.save("best", checkpoint)
        # Last of all: an epoch counts as done when this file says so.
        run.save("last", checkpoint)
        if recipe.curves:
            run.draw_curves(recipe.curves)
    return {recipe.score: best}


def _resume(recipe: Recipe[Any], run: RunDirectory, serving: dict[str, Tensor]) -> tuple[int, float]:
    found = run.load("last")
    if found is None:
        run.rewind_metrics(epochs=0)
        return 0, -math.inf
    recipe.network.load_state_dict(found["network"])
    recipe.optimizer.load_state_dict(found["optimizer"])
    for key, value in found["serving"].items():
        serving[key].copy_(value)
    run.rewind_metrics(epochs=found["epoch"] + 1)
    return found["epoch"] + 1, found["best_score"]


def _descend(recipe: Recipe[Any], loss: Tensor, *, epoch: int) -> None:
    if not bool(torch.isfinite(loss)):
        raise TrainerError(
            f"The loss became {float(loss.detach())} in epoch {epoch + 1}.",
            remedy="Lower the learning rate and resume: the last whole epoch is kept.",
        )
    recipe.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(recipe.network.parameters(), recipe.largest_gradient_norm)
    recipe.optimizer.step()


def _decay(target: float | None, step: int) -> float:
    """Young averages forget fast: otherwise the first epochs would be judged by their starting weights."""
    return 0.0 if target is None else min(target, (1 + step) / (10 + step))


@torch.no_grad()
def _average(serving: dict[str, Tensor], network: nn.Module, *, decay: float) -> None:
    for key, value in network.state_dict().items():
        if value.is_floating_point() and decay > 0:
            serving[key].lerp_(value, 1 - decay)
        else:
            serving[key].copy_(value)


def _evaluate(recipe: Recipe[Any], serving: Mapping[str, Tensor]) -> dict[str, float]:
    network = recipe.network
    training = {key: value.detach().clone() for key, value in network.state_dict().items()}
    network.load_state_dict(serving)
    network.eval()
    try:
        with torch.no_grad():
            return dict(recipe.evaluate(network))
    finally:
        network.load_state_dict(training)
