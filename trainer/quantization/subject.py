"""What quantization must know of a trained run, whatever its network does."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainer.fit import Recipe
from trainer.quantization.report import Judgement, Refit
from trainer.run import RunDirectory


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Batches of pictures as the network takes them; ``source`` says in words what they show."""

    batches: Sequence[Tensor]
    source: str

    @property
    def pictures(self) -> int:
        """How many there are."""
        return sum(len(each) for each in self.batches)

    @property
    def digest(self) -> str:
        """SHA-256 over all pixels, in their order."""
        found = hashlib.sha256()
        for batch in self.batches:
            found.update(batch.contiguous().numpy().tobytes())
        return found.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A network's answers to the tuning pictures: its output ``signals``, and its figure in points."""

    signals: tuple[Tensor, ...]
    points: float


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How far a network learns on with rounded layers.

    ``rate`` is in parts of the rate it was trained at. For the first ``following`` part of the steps the
    ranges move with what is seen, then they stand still.
    """

    epochs: int = 5
    rate: float = 0.05
    following: float = 0.5


class Subject(Protocol):
    """A trained run.

    Calibration and tuning pictures come from what it was trained on, changed as its training changed them;
    no picture is in both. What is held out is for `judge` alone.
    """

    @property
    def task(self) -> str:
        """What the network does, in a word."""
        ...

    @property
    def network(self) -> nn.Module:
        """The network in float, in eval mode."""
        ...

    def example(self) -> Tensor:
        """A small batch of noise as the network takes it."""
        ...

    def calibration(self) -> Calibration:
        """Pictures to find ranges on."""
        ...

    def tune(self, network: nn.Module) -> Tuned:
        """The answers of a version of the network to the tuning pictures."""
        ...

    def judge(self, network: nn.Module, *, against: nn.Module | None = None) -> Judgement | None:
        """What a version of the network costs on held-out pictures; None where there are none.

        The cost is that over the network in float, or over the version ``against``.
        """
        ...

    def refit(self, network: nn.Module, run: RunDirectory) -> Refit | None:
        """Fit anew for a version of the network what was fitted after the training, and leave it in ``run``.

        From training pictures alone. None where nothing was fitted.
        """
        ...

    def recipe(self, network: nn.Module, tuning: FineTuning) -> Recipe[Any]:
        """How a version of the network learns on: as the run was trained, at a lower rate."""
        ...


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far a version of a network lies from another on the tuning pictures.

    ``noise`` is the mean square change of its output signals in parts of their variance, averaged over the
    signals; unlike the figure it moves with every change. ``points`` is what the figure lost.
    """

    noise: float
    points: float


def deviation(before: Tuned, after: Tuned) -> Deviation:
    """Compare two versions' answers."""
    noises = [
        float((new - old).square().mean() / old.var().clamp(min=torch.finfo(torch.float32).tiny))
        for old, new in zip(before.signals, after.signals, strict=True)
    ]
    # What is left of a difference of two equal sums of shares is no loss.
    return Deviation(noise=sum(noises) / len(noises), points=round(before.points - after.points, 9))
