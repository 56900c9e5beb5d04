"""A recipe's network and its pictures as quantization sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.errors import DataError
from trainer.evaluation.halves import class_strata
from trainer.fabric import ONE_PROCESSOR
from trainer.fit import Recipe as Fitting
from trainer.networks.picture import PictureNetwork
from trainer.pictures.batches import PictureBatch
from trainer.pictures.changes import change
from trainer.quantization.costs import classifier_costs, one_answer_points
from trainer.quantization.report import Judgement, Refit
from trainer.quantization.subject import Calibration, FineTuning, Tuned
from trainer.recipes.recipe import Recipe
from trainer.run import RunDirectory
from trainer.statistics import balanced_accuracy
from trainer.training import answer, fitting

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
_BATCH: Final = 32
_SEED: Final = 17
_TUNING_EVERY: Final = 4
"""Of each class's training groups every fourth gives tuning pictures, the others calibration pictures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPictures:
    """Pictures uint8 (n, S, S, 3), their classes (n), and the numbers (n) of the groups they come from."""

    pixels: Pixels
    labels: Labels
    groups: Labels

    def where(self, mask: NDArray[np.bool_]) -> LabelledPictures:
        """Some of them."""
        return LabelledPictures(pixels=self.pixels[mask], labels=self.labels[mask], groups=self.groups[mask])


class PictureSubject:
    """Calibrates and tunes on training pictures of different groups, changed as the recipe changes them.

    Raises DataError where the training pictures come from one group alone, of which nothing could be put
    aside.
    """

    task: Final = "pictures"

    def __init__(
        self,
        *,
        network: PictureNetwork,
        recipe: Recipe,
        classes: tuple[str, ...],
        train: LabelledPictures,
        held_out: LabelledPictures,
        grouped_by: str,
        measured_on: str = "held-out pictures",
        calibration_pictures: int = 128,
        tuning_pictures: int = 128,
    ) -> None:
        if len(np.unique(train.groups)) < 2:  # noqa: PLR2004 - one to calibrate on, one to tune on
            raise DataError(
                "All training pictures come from one group: none could be put aside to compare versions on.",
                remedy="Give pictures of more patients, slides or blocks.",
            )
        self._network = network.eval()
        self._recipe = recipe
        self._classes = classes
        self._train = train
        self._held_out = held_out
        self._grouped_by = grouped_by
        self._measured_on = measured_on
        self._calibration_pictures = calibration_pictures
        self._tuning_pictures = tuning_pictures

    @property
    def network(self) -> PictureNetwork:
        """The network in float, in eval mode."""
        return self._network

    def example(self) -> Tensor:
        """A small batch of noise."""
        size = self._network.size_px
        return torch.randint(0, 256, (2, size, size, 3), generator=torch.Generator().manual_seed(0)).byte()

    def calibration(self) -> Calibration:
        """Changed training pictures of three of four groups."""
        chosen = self._changed(tuning=False, count=self._calibration_pictures)
        return Calibration(
            batches=[
                torch.from_numpy(chosen.pixels[at : at + _BATCH])
                for at in range(0, len(chosen.pixels), _BATCH)
            ],
            source="training pictures of three of four groups, changed as in training",
        )

    def tune(self, network: nn.Module) -> Tuned:
        """Logits and features of changed pictures of the other training groups."""
        said = answer(network, self._tuning.pixels)
        points = 100 * balanced_accuracy(self._tuning.labels, said.logits.argmax(axis=1))
        return Tuned(signals=(torch.from_numpy(said.logits), torch.from_numpy(said.features)), points=points)

    def judge(self, network: nn.Module, *, against: nn.Module | None = None) -> Judgement | None:
        """The loss of balanced accuracy and of each class's recall on the held-out pictures.

        Groups are redrawn within classes, so that no draw loses one.
        """
        held_out = self._held_out
        if len(held_out.labels) == 0:
            return None
        total, each = classifier_costs(
            held_out.labels,
            before=answer(against or self._network, held_out.pixels).logits.argmax(axis=1),
            after=answer(network, held_out.pixels).logits.argmax(axis=1),
            classes=self._classes,
            groups=held_out.groups,
            strata=class_strata(held_out.labels, held_out.groups),
        )
        return Judgement(
            figure="balanced accuracy",
            total=total,
            by_class=each,
            measured_on=self._measured_on,
            grouped_by=self._grouped_by,
            groups=len(np.unique(held_out.groups)),
            one_answer_points=one_answer_points(each),
        )

    def refit(self, network: nn.Module, run: RunDirectory) -> Refit | None:  # noqa: ARG002 - as every subject
        """Nothing: a recipe's file answers what its softmax gives, and features."""
        return None

    def recipe(self, network: nn.Module, tuning: FineTuning) -> Fitting[PictureBatch]:
        """The recipe's own pictures, batches and loss, at a lower rate."""
        if not isinstance(network, PictureNetwork):
            raise TypeError("a recipe's training needs a PictureNetwork")
        training = self._recipe.training
        slowed = training.model_copy(update={"epochs": tuning.epochs, "rate": tuning.rate * training.rate})
        network.trunk.requires_grad_(requires_grad=not network.frozen_trunk)
        return fitting(
            network,
            recipe=self._recipe.model_copy(update={"training": slowed}),
            pixels=self._train.pixels,
            labels=self._train.labels,
            watch=dict,
            processes=ONE_PROCESSOR.launch(),
        )

    @cached_property
    def _tuning(self) -> LabelledPictures:
        return self._changed(tuning=True, count=self._tuning_pictures)

    def _changed(self, *, tuning: bool, count: int) -> LabelledPictures:
        """Pictures of one part of the training groups, class after class in turn, drawn and changed anew."""
        rng = np.random.default_rng([_SEED, int(tuning)])
        mine = self._train.where(np.isin(self._train.groups, _put_aside(self._train)) == tuning)
        members = [np.flatnonzero(mine.labels == label) for label in np.unique(mine.labels)]
        drawn = np.array([int(rng.choice(members[at % len(members)])) for at in range(count)])
        pixels = np.stack([change(mine.pixels[at], rng, self._recipe.augmentation) for at in drawn])
        return LabelledPictures(pixels=pixels, labels=mine.labels[drawn], groups=mine.groups[drawn])


def _put_aside(train: LabelledPictures) -> Labels:
    """The groups that give tuning pictures: of each class some, but never all.

    A class with one group alone calibrates; where every class has only one, the first group is put aside.
    """
    strata = class_strata(train.labels, train.groups)
    of_class = [np.unique(train.groups[strata == each]) for each in np.unique(strata)]
    chosen = [groups[::_TUNING_EVERY] for groups in of_class if len(groups) > 1]
    return np.concatenate(chosen) if chosen else of_class[0]
