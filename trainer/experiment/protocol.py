"""Who is trained on and who is held out: honestly, or as the paper did it.

Honest: whole groups on one side, or whole laboratories, augmentation for training alone. Published: by
chance over pictures, and where the paper augmented before it divided, or augmented what it tested on, so is
it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.data.folds import Fold, demand_disjoint, honest_folds, laboratory_folds, published_folds
from trainer.errors import DataError
from trainer.experiment.request import Request
from trainer.experiment.subject import Subject, read_subject
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
    """How many folds an experiment has; by laboratory, the collection is read for that. Raises DataError."""
    if request.hold_out == "laboratory":
        return 1 if request.laboratory else len(laboratories(read_subject(request, recipe)))
    split = split_of(request, recipe)
    return split.folds if split.kind == "folds" else 1


def laboratories(subject: Subject) -> tuple[str, ...]:
    """The laboratories of a task's pictures, in the order of their names: that of their folds."""
    return tuple(sorted({each.laboratory for each in subject.samples}))


def split_in_words(request: Request, recipe: Recipe, subject: Subject) -> str:
    """How training and held-out pictures were told apart, in a sentence."""
    if request.hold_out == "laboratory":
        return _laboratories_in_words(request, subject)
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
        chosen = _honest(subject, request, split, fold=fold, seed=seed)
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


def _honest(subject: Subject, request: Request, split: SplitRecipe, *, fold: int, seed: int) -> Fold:
    if request.hold_out == "laboratory":
        return _without_laboratory(subject, request.laboratory or laboratories(subject)[fold])
    return honest_folds(
        subject.labels.tolist(),
        subject.groups.tolist(),
        folds=split.folds if split.kind == "folds" else None,
        test_share=split.test_share if split.kind == "holdout" else None,
        seed=seed,
    )[fold]


def _without_laboratory(subject: Subject, name: str) -> Fold:
    """The fold that holds a laboratory out. Raises DataError where what is left lacks a class."""
    folds = dict(laboratory_folds([each.laboratory for each in subject.samples], subject.groups.tolist()))
    if name not in folds:
        raise DataError(
            f"{subject.collection} has no laboratory {name!r} for this task.",
            remedy=f"Its laboratories are {', '.join(folds)}.",
        )
    missing = {each: _untaught(subject, fold) for each, fold in folds.items()}
    if missing[name]:
        possible = [each for each, classes in missing.items() if not classes]
        raise DataError(
            f"Without {name} there is no picture of {' and '.join(missing[name])} to train on.",
            remedy=f"Hold out one that can be: --hold-out laboratory={possible[0]}."
            if possible
            else "Tell other classes apart (--class), or give pictures of them from another laboratory.",
        )
    return folds[name]


def _untaught(subject: Subject, fold: Fold) -> list[str]:
    """The classes of which the training side has no picture."""
    taught = set(subject.labels[list(fold.train)].tolist())
    return [name for label, name in enumerate(subject.classes) if label not in taught]


def _laboratories_in_words(request: Request, subject: Subject) -> str:
    names = laboratories(subject)
    if request.laboratory:
        others = ", ".join(each for each in names if each != request.laboratory)
        shape = f"everything of the laboratory {request.laboratory} held out, trained on {others}"
    else:
        told = ", ".join(f"fold {number} is {each}" for number, each in enumerate(names, start=1))
        shape = (
            f"{len(names)} laboratories, each held out whole and judged by a network of the others ({told})"
        )
    return (
        f"{shape}; no group stands on both sides, and only training pictures were changed. The intervals "
        f"redraw the {subject.grouped_by}s within the laboratories held out: how much figures differ from "
        f"one laboratory to the next they cannot tell. {subject.grouping[:1].upper()}{subject.grouping[1:]}."
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
