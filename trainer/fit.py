"""The training loop that every network here uses: seeded, resumable, on one processor or many GPUs.

Whatever happens inside epoch ``e`` depends on the seed, on ``e`` and on the weights that epoch ``e - 1``
left, and on nothing else. So a run that was killed goes on from its last whole epoch, and on a CPU it ends
with the same weights, to the bit, as one that was never stopped.

Of several processes each takes its share of every batch, and the gradients are averaged by how many samples
each share held: the steps are those of one process with the whole batch. Two things differ. Dropout draws
for each process by itself; and batch normalisation sees the whole batch only because its layers are
exchanged for ones that share their statistics (`trainer.shared_norm`), where they learn.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from trainer.errors import TrainerError
from trainer.fabric import ONE_PROCESSOR
from trainer.run import Checkpoint, RunDirectory
from trainer.shared_norm import shared_batch_norm

Batch = TypeVar("Batch")
_REDRAWN_EVERY_S: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[Batch]):
    """What is trained, on what, and how it is judged.

    ``batches(rng)`` gives one epoch's batches, ``steps_per_epoch`` of them, all chance drawn from ``rng``;
    of several processes, each gives its own share of every batch. ``share(batch)`` says how many samples of
    it are this process's and how many the whole batch holds; without it, shares are taken as equal.
    ``losses(network, batch)`` gives named scalars, means over the share; ``"loss"`` is the one that is
    minimised. ``evaluate(network)`` gets the serving weights in eval mode, under ``no_grad``, in the first
    process alone; ``score`` names the one of its figures (higher is better) that decides which checkpoint is
    kept as the best, None keeps none.
    ``average_decay`` keeps an exponential moving average of the weights, and evaluates and ships that.
    ``rate_factor(step, steps)`` is what the optimiser's rates are multiplied by; None warms up in a line and
    falls in a half cosine to ``final_rate``. ``compiled`` compiles the network's forward and backward pass.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Callable[[np.random.Generator], Iterable[Batch]]
    steps_per_epoch: int
    losses: Callable[[nn.Module, Batch], Mapping[str, Tensor]]
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    score: str | None
    epochs: int
    seed: int
    share: Callable[[Batch], tuple[int, int]] | None = None
    rate_factor: Callable[[int, int], float] | None = None
    warmup_steps: int = 0
    final_rate: float = 0.02
    average_decay: float | None = None
    largest_gradient_norm: float | None = 10.0
    evaluate_every: int = 1
    curves: Mapping[str, tuple[str, ...]] | None = None
    compiled: bool = False


def cosine(step: int, *, steps: int, warmup_steps: int, final: float) -> float:
    """Factor on the learning rate: up in a straight line, then down a half cosine to ``final``."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def fit(
    recipe: Recipe[Batch], run: RunDirectory, *, quiet: bool = False, fabric: Fabric | None = None
) -> Mapping[str, float]:
    """Train to the end, from the last whole epoch when the run has one; returns the best epoch's score.

    ``fabric`` is a launched one (`trainer.fabric`); without it the training takes one processor. Of several
    processes the first alone writes into ``run``. Afterwards the network holds the weights of the last step.
    Raises TrainerError when the loss stops being a number, or when another process of the training is gone.
    On KeyboardInterrupt the last whole epoch stays.
    """
    fabric = fabric or ONE_PROCESSOR.launch()
    shared = shared_batch_norm(recipe.network, processes=fabric.world_size, device=fabric.device)
    try:
        with shared:
            return _Fitting(recipe, run, fabric=fabric, quiet=quiet).to_the_end()
    except RuntimeError as error:
        if fabric.world_size > 1 and is_lost_connection(error):
            raise TrainerError(
                f"Process {fabric.global_rank} of {fabric.world_size} lost the others: {error}",
                remedy="See what ended the other process, then resume: the last whole epoch is kept.",
            ) from error
        raise


class _Fitting(Generic[Batch]):
    """One call of `fit`: the network on its device, the weights to serve, where the run stands."""

    def __init__(self, recipe: Recipe[Batch], run: RunDirectory, *, fabric: Fabric, quiet: bool) -> None:
        self._recipe = recipe
        self._run = run
        self._fabric = fabric
        self._quiet = quiet or not fabric.is_global_zero
        self._optimizer = recipe.optimizer
        self._drawn_at_s = -math.inf
        self._rates = [float(group["lr"]) for group in recipe.optimizer.param_groups]
        network = cast("nn.Module", torch.compile(recipe.network)) if recipe.compiled else recipe.network
        self._network, self._stepper = fabric.setup(network, recipe.optimizer)
        # References: the optimiser and `load_state_dict` write into these very tensors.
        self._weights = recipe.network.state_dict()
        self._serving = self._weights
        if recipe.average_decay is not None:
            self._serving = {key: value.detach().clone() for key, value in self._weights.items()}

    def to_the_end(self) -> Mapping[str, float]:
        first, best = self._resume()
        recipe = self._recipe
        for epoch in range(first, recipe.epochs):
            began = time.perf_counter()
            values = self._train(epoch)
            values |= {"rate": self._optimizer.param_groups[0]["lr"], "seconds": time.perf_counter() - began}
            last = epoch + 1 == recipe.epochs
            judged = last or (epoch + 1) % recipe.evaluate_every == 0
            if judged:
                values |= self._evaluate()
            values["peak_memory_mib"] = _peak_memory_mib(self._fabric.device)
            improved = judged and recipe.score is not None and values[recipe.score] > best
            best = values[recipe.score] if improved and recipe.score else best
            if self._fabric.is_global_zero:
                self._keep(epoch, values, best=best, improved=improved)
        return {} if recipe.score is None else {recipe.score: best}

    def _train(self, epoch: int) -> dict[str, float]:
        """One epoch; the means of its losses over all samples, and the seconds it waited for batches."""
        recipe = self._recipe
        torch.manual_seed(recipe.seed * 100_003 + epoch + self._fabric.global_rank * 1_000_000_007)
        steps = recipe.epochs * recipe.steps_per_epoch
        sums: defaultdict[str, float] = defaultdict(float)
        counted = 0.0
        waited = _Waited(recipe.batches(np.random.default_rng([recipe.seed, epoch])))
        self._network.train()
        bar = tqdm(
            waited,
            total=recipe.steps_per_epoch,
            desc=f"epoch {epoch + 1}/{recipe.epochs}",
            disable=self._quiet,
        )
        for taken, batch in enumerate(bar):
            step = epoch * recipe.steps_per_epoch + taken
            self._set_rates(step, steps)
            own, whole = recipe.share(batch) if recipe.share else (1, self._fabric.world_size)
            losses = recipe.losses(self._network, self._fabric.to_device(batch))
            self._descend(losses["loss"], own=own, whole=whole, epoch=epoch)
            self._average(step)
            for name, value in losses.items():
                sums[name] += float(value.detach()) * own
            counted += own
            bar.set_postfix(loss=f"{sums['loss'] / max(counted, 1):.3f}")
        means = self._means(sums, counted)
        return {f"train_{name}": mean for name, mean in means.items()} | {"waited_seconds": waited.seconds}

    def _set_rates(self, step: int, steps: int) -> None:
        recipe = self._recipe
        if recipe.rate_factor is None:
            factor = cosine(step, steps=steps, warmup_steps=recipe.warmup_steps, final=recipe.final_rate)
        else:
            factor = recipe.rate_factor(step, steps)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def _descend(self, loss: Tensor, *, own: int, whole: int, epoch: int) -> None:
        if not bool(torch.isfinite(loss)):
            raise TrainerError(
                f"The loss became {float(loss.detach())} in epoch {epoch + 1}.",
                remedy="Lower the learning rate and resume: the last whole epoch is kept.",
            )
        processes = self._fabric.world_size
        # The processes' gradients will be averaged as equals: a larger share must weigh more beforehand.
        weighed = loss if own * processes == whole else loss * (own * processes / whole)
        self._optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(weighed)
        if self._recipe.largest_gradient_norm is not None:
            # Not Fabric's own clipping: that sums in the optimiser's order of parameters, which rounds
            # otherwise, and it takes the infinite gradients of a first 16-bit step for an error.
            self._fabric.strategy.precision.unscale_gradients(self._optimizer)
            nn.utils.clip_grad_norm_(self._recipe.network.parameters(), self._recipe.largest_gradient_norm)
        self._stepper.step()

    @torch.no_grad()
    def _average(self, step: int) -> None:
        if self._recipe.average_decay is None:
            return
        decay = _decay(self._recipe.average_decay, step)
        for key, value in self._weights.items():
            if value.is_floating_point():
                self._serving[key].lerp_(value, 1 - decay)
            else:
                self._serving[key].copy_(value)

    def _means(self, sums: Mapping[str, float], counted: float) -> dict[str, float]:
        """Means over every process's samples."""
        if self._fabric.world_size > 1:
            own = torch.tensor([*sums.values(), counted], dtype=torch.float64, device=self._fabric.device)
            *totals, counted = cast("Tensor", self._fabric.all_reduce(own, reduce_op="sum")).tolist()
            sums = dict(zip(sums, totals, strict=True))
        return {name: total / counted for name, total in sums.items()}

    def _evaluate(self) -> dict[str, float]:
        """The figures of the serving weights: found in the first process, known in all."""
        values: dict[str, float] = {}
        if self._fabric.is_global_zero:
            values = _judge(self._recipe, None if self._serving is self._weights else self._serving)
        found: dict[str, float] = self._fabric.broadcast(values)
        return found

    def _keep(self, epoch: int, values: Mapping[str, float], *, best: float, improved: bool) -> None:
        checkpoint = Checkpoint(
            epoch=epoch,
            network=self._weights,
            serving=self._serving,
            optimizer=self._optimizer.state_dict(),
            best_score=best,
        )
        if scaler := self._fabric.strategy.precision.state_dict():
            checkpoint["precision"] = scaler
        self._run.record(epoch=epoch, values=values)
        if improved:
            self._run.save("best", checkpoint)
        # Last of all: an epoch counts as done when this file says so.
        self._run.save("last", checkpoint)
        last = epoch + 1 == self._recipe.epochs
        # Drawing takes as long as a short epoch: only what somebody may look at is drawn.
        if self._recipe.curves and (last or time.monotonic() - self._drawn_at_s > _REDRAWN_EVERY_S):
            self._run.draw_curves(self._recipe.curves)
            self._drawn_at_s = time.monotonic()

    def _resume(self) -> tuple[int, float]:
        """The first epoch to train and the best score so far, as the first process's files say."""
        fabric, network = self._fabric, self._recipe.network
        found = self._run.load("last") if fabric.is_global_zero else None
        if fabric.is_global_zero:
            self._run.rewind_metrics(epochs=0 if found is None else found["epoch"] + 1)
        if fabric.world_size > 1:
            found = fabric.broadcast(found)
        if found is None:
            return 0, -math.inf
        network.load_state_dict(found["network"])
        self._optimizer.load_state_dict(found["optimizer"])
        if self._serving is not self._weights:
            for key, value in found["serving"].items():
                self._serving[key].copy_(value)
        if "precision" in found:
            fabric.strategy.precision.load_state_dict(found["precision"])
        return found["epoch"] + 1, found["best_score"]


class _Waited(Generic[Batch]):
    """The same items, with the seconds that one had to wait for them."""

    def __init__(self, items: Iterable[Batch]) -> None:
        self._items = items
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        began = time.perf_counter()
        for item in self._items:
            self.seconds += time.perf_counter() - began
            yield item
            began = time.perf_counter()


def _judge(recipe: Recipe[Any], serving: Mapping[str, Tensor] | None) -> dict[str, float]:
    """The recipe's figures, of other weights than the network's own where ``serving`` is given."""
    network = recipe.network
    training = None
    if serving is not None:
        training = {key: value.detach().clone() for key, value in network.state_dict().items()}
        network.load_state_dict(serving)
    network.eval()
    try:
        with torch.no_grad():
            return dict(recipe.evaluate(network))
    finally:
        if training is not None:
            network.load_state_dict(training)


def _decay(target: float, step: int) -> float:
    """Young averages forget fast: otherwise the first epochs would be judged by their starting weights."""
    return min(target, (1 + step) / (10 + step))


def is_lost_connection(error: RuntimeError) -> bool:
    """Whether a collective call failed because another process is gone."""
    words = str(error).lower()
    return isinstance(error, torch.distributed.DistError) or "closed by peer" in words or "gloo" in words


def _peak_memory_mib(device: torch.device) -> float:
    """The most memory this process has held: the GPU's where it trains on one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)
