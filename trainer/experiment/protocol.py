"""Who is trained on and who is held out: honestly, or as the paper did it.

Honest: whole groups on one side, augmentation for training alone. Published: by chance over pictures, and
where the paper augmented before it divided, or augmented what it tested on, so is it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.data.folds import Fold, demand_disjoint, honest_folds, published_folds
from trainer.experiment.request import Request
from trainer.experiment.subject import Subject
from trainer.pictures.changes import augmented_copies, change
from trainer.recipes.recipe import Recipe, SplitRecipe

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

DEFAULT_SPLIT: Final = SplitRecipe(kind="folds", folds=5)
"""For a recipe that no paper published."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Pictures of one side: pixels (n, S, S, 3), labels (n), groups (n), and a name for each."""

    pixels: Pixels
    labels: Labels
    groups: Labels
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """What one fold trains on, and what it is judged by."""

    train: Part
    held_out: Part


def split_of(request: Request, recipe: Recipe) -> SplitRecipe:
    """How many folds, or how large a hold-out, the request asks for of a resolved recipe."""
    split = recipe.published_split or DEFAULT_SPLIT
    if request.folds is None or request.protocol == "published":
        return split
    if request.folds == 1:
        return split.model_copy(update={"kind": "holdout"})
    return split.model_copy(update={"kind": "folds", "folds": request.folds})


def fold_count(request: Request, recipe: Recipe) -> int:
    """How many folds an experiment has."""
    split = split_of(request, recipe)
    return split.folds if split.kind == "folds" else 1


def split_in_words(request: Request, recipe: Recipe, subject: Subject) -> str:
    """How training and held-out pictures were told apart, in a sentence."""
    split = split_of(request, recipe)
    shape = f"{split.folds} folds" if split.kind == "folds" else f"a hold-out of {split.test_share:.0%}"
    if request.protocol == "honest":
        words = f"{shape}; no group stands on both sides, and only training pictures were changed"
        return f"{words}. {subject.grouping[:1].upper()}{subject.grouping[1:]}."
    words = f"{shape}, by chance over pictures, as in the paper"
    if split.splits_after_augmentation:
        words += "; pictures were augmented first, so changed copies of one picture stand on both sides"
    elif split.augments_test:
        words += "; the held-out pictures were changed as the training ones were"
    return words + "."


def sides(pixels: Pixels, subject: Subject, *, request: Request, recipe: Recipe, fold: int) -> Sides:
    """One fold's pictures; the same for the same request. Raises DataError where there are no such folds."""
    split = split_of(request, recipe)
    seed = recipe.training.seed
    rng = np.random.default_rng([seed, 77])
    whole = Part(
        pixels=pixels,
        labels=subject.labels,
        groups=subject.groups,
        names=tuple(each.name for each in subject.samples),
    )
    if request.protocol == "honest":
        chosen = honest_folds(
            subject.labels.tolist(),
            subject.groups.tolist(),
            folds=split.folds if split.kind == "folds" else None,
            test_share=split.test_share if split.kind == "holdout" else None,
            seed=seed,
        )[fold]
        demand_disjoint(chosen, subject.groups.tolist())
        found = _parted(whole, chosen)
        return Sides(train=_copied(found.train, recipe, rng), held_out=found.held_out)
    if split.splits_after_augmentation:
        whole = _copied(whole, recipe, rng)
        return _parted(whole, published_folds(whole.labels.tolist(), split, seed)[fold])
    found = _parted(whole, published_folds(whole.labels.tolist(), split, seed)[fold])
    return Sides(
        train=_copied(found.train, recipe, rng),
        held_out=_tested_on(found.held_out, recipe, rng) if split.augments_test else found.held_out,
    )


def _parted(whole: Part, fold: Fold) -> Sides:
    return Sides(train=_chosen(whole, fold.train), held_out=_chosen(whole, fold.held_out))


def _chosen(part: Part, indices: tuple[int, ...]) -> Part:
    rows = np.asarray(indices, dtype=np.int64)
    return Part(
        pixels=part.pixels[rows],
        labels=part.labels[rows],
        groups=part.groups[rows],
        names=tuple(part.names[row] for row in indices),
    )


def _copied(part: Part, recipe: Recipe, rng: np.random.Generator) -> Part:
    """Every version of every picture, where the recipe makes copies before training."""
    if recipe.augmentation.apply != "copies":
        return part
    copies = augmented_copies(part.pixels, part.labels, recipe.augmentation, rng)
    count = len(part.names)
    return Part(
        pixels=copies.pixels,
        labels=copies.labels,
        groups=part.groups[copies.origins],
        names=tuple(
            f"{part.names[origin]}#{row // count}" for row, origin in enumerate(copies.origins.tolist())
        ),
    )


def _tested_on(part: Part, recipe: Recipe, rng: np.random.Generator) -> Part:
    """Held-out pictures as a paper that augmented them tested on: copies, or each changed once."""
    if recipe.augmentation.apply == "copies":
        return _copied(part, recipe, rng)
    changed = np.stack([change(each, rng, recipe.augmentation) for each in part.pixels])
    return Part(pixels=changed, labels=part.labels, groups=part.groups, names=part.names)
