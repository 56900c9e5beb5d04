"""Which pictures are trained on and which are held out: honestly, by groups, or as papers did, by chance.

Groups (patients, slides, blocks of acquisition) come from ``trainer.data.grouping``. Labels may be names or
numbers. Every index stands in exactly one side of a fold, and the same seed gives the same folds.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp
from sklearn.model_selection import (
    GroupShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from trainer.errors import DataError, EvaluationError
from trainer.recipes.recipe import SplitRecipe

Indices = NDArray[np.int64]
Marked = NDArray[np.bool_]
Counts = NDArray[np.int64]
"""(groups, classes) how many pictures of each class a group has."""

_BOTH_SIDES: Final = 2
_DRAWS: Final = 200
_SEARCH_NODES: Final = 2000
_SLACK: Final = 0.1
"""What a search does not count: a share that is off by so much of itself. Without it, it would not end."""
_SEARCH_GAP: Final = 0.2
_NEAR_ENOUGH: Final = 0.05
_NAMED: Final = 6


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Indices, ascending, of what is trained on and of what is held out."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def honest_folds(
    labels: Sequence[Hashable],
    groups: Sequence[int],
    *,
    folds: int | None = None,
    test_share: float | None = None,
    seed: int = 0,
) -> tuple[Fold, ...]:
    """Folds that part no group: ``folds`` of them, or one hold-out of about ``test_share`` of each class.

    Over the folds every picture is held out exactly once. Every class stands on both sides of each fold;
    classes are kept in proportion as far as the groups allow. Raises DataError, naming the class, its groups
    and the remedy, where no such folds are found; ValueError unless exactly one of ``folds`` and
    ``test_share`` is given.
    """
    if (folds is None) == (test_share is None):
        raise ValueError("give either folds or test_share")
    table = _Table.of(labels, groups)
    if folds is not None:
        if folds < _BOTH_SIDES:
            raise ValueError(f"{folds} folds: at least 2 are needed")
        table.demand_spread(folds, what=f"{folds} folds need")
        part_of = _parts(table, folds=folds, seed=seed)
        return tuple(table.fold(part_of == part) for part in range(folds))
    table.demand_spread(_BOTH_SIDES, what="a hold-out needs")
    return (table.fold(_held_out(table, share=_checked(test_share), seed=seed)),)


def laboratory_folds(laboratories: Sequence[str], groups: Sequence[int]) -> tuple[tuple[str, Fold], ...]:
    """Each laboratory's name with the fold that holds all of it out, in the order of their names.

    A group that a duplicate welds across laboratories is held out whole. A class that one laboratory alone
    has is not trained on when that one is left out: the labels do not matter here. Raises DataError where
    there is one laboratory, or where leaving one out leaves nothing.
    """
    names = sorted(set(laboratories))
    if len(names) < _BOTH_SIDES:
        raise DataError(
            f"All pictures are of one laboratory, {names[0]!r}: none can be left out."
            if names
            else "There are no pictures.",
            remedy="Give pictures of a second laboratory.",
        )
    numbers = np.array(groups, dtype=np.int64)
    of = np.array(laboratories)
    folds: list[tuple[str, Fold]] = []
    for name in names:
        held = np.isin(numbers, numbers[of == name])
        if held.all():
            raise DataError(
                f"Every group has a picture of {name!r}: leaving it out leaves nothing to train on.",
                remedy="Look at the duplicates between laboratories with `leukoscope-trainer data check`.",
            )
        folds.append((name, _fold(held)))
    return tuple(folds)


def published_folds(labels: Sequence[Hashable], split: SplitRecipe, seed: int) -> tuple[Fold, ...]:
    """Folds by chance over pictures, classes in proportion, as papers made them: patients are on both sides.

    Raises DataError where a class has too few pictures.
    """
    classes, of = np.unique([str(each) for each in labels], return_inverse=True)
    counts = np.bincount(of, minlength=len(classes))
    least = split.folds if split.kind == "folds" else _BOTH_SIDES
    for name, count in zip(classes, counts, strict=True):
        if count < least:
            raise DataError(
                f"The class {str(name)!r} has {count} pictures, and the published split needs {least}.",
                remedy="Give more pictures of it, or take the honest protocol with fewer folds.",
            )
    if split.kind == "folds":
        splitter = StratifiedKFold(split.folds, shuffle=True, random_state=seed)
    else:
        splitter = StratifiedShuffleSplit(1, test_size=_checked(split.test_share), random_state=seed)
    nothing = np.zeros(len(of))
    try:
        parts = list(splitter.split(nothing, of))
    except ValueError as error:
        raise DataError(
            f"The published split cannot be made of {len(of)} pictures: {error}.",
            remedy="Give more pictures.",
        ) from error
    return tuple(_fold(np.isin(np.arange(len(of)), held_out)) for _, held_out in parts)


def demand_disjoint(fold: Fold, groups: Sequence[int]) -> None:
    """Raise EvaluationError, naming the groups, where one of them stands on both sides of a fold."""
    shared = sorted({groups[index] for index in fold.train} & {groups[index] for index in fold.held_out})
    if shared:
        named = ", ".join(map(str, shared[:_NAMED])) + (", ..." if len(shared) > _NAMED else "")
        count = f"{len(shared)} group{'s stand' if len(shared) > 1 else ' stands'}"
        raise EvaluationError(
            f"{count} both in training and in what is held out: {named}.",
            remedy="No figure is given for such a split; split by groups (--protocol honest).",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """Classes and groups as numbers counted from 0, and how many pictures of each class a group has."""

    classes: tuple[str, ...]
    label_of: Indices
    group_of: Indices
    counts: Counts

    @classmethod
    def of(cls, labels: Sequence[Hashable], groups: Sequence[int]) -> _Table:
        if len(labels) != len(groups):
            raise ValueError(f"{len(labels)} labels and {len(groups)} groups")
        if not labels:
            raise DataError("There are no pictures to split.", remedy="Check the folder that was read.")
        classes, label_of = np.unique([str(each) for each in labels], return_inverse=True)
        numbers, group_of = np.unique(np.asarray(groups), return_inverse=True)
        counts = np.zeros((len(numbers), len(classes)), dtype=np.int64)
        np.add.at(counts, (group_of, label_of), 1)
        return cls(
            classes=tuple(str(each) for each in classes),
            label_of=label_of.astype(np.int64),
            group_of=group_of.astype(np.int64),
            counts=counts,
        )

    @property
    def spread(self) -> Indices:
        """In how many groups each class stands."""
        return np.asarray((self.counts > 0).sum(axis=0), dtype=np.int64)

    def demand_spread(self, least: int, *, what: str) -> None:
        """Raise DataError where a class stands in fewer groups than there are sides to hold it."""
        rarest = int(self.spread.argmin())
        count = int(self.spread[rarest])
        if count < least:
            fewer = f"Ask for at most {count} folds, or give" if count > 1 else "Leave the class out, or give"
            raise DataError(
                f"The class {self.classes[rarest]!r} stands in {count} group{'s' if count > 1 else ''} "
                f"({int(self.counts[:, rarest].sum())} pictures), and {what} at least {least}.",
                remedy=f"{fewer} pictures of it from more patients or slides.",
            )

    def fold(self, held_groups: Marked) -> Fold:
        """The fold that holds out the groups marked."""
        return _fold(held_groups[self.group_of])


def _parts(table: _Table, *, folds: int, seed: int) -> Indices:
    """The part that each group is dealt to, every class in every part."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    part_of = np.zeros(len(table.counts), dtype=np.int64)
    for part, (_, held_out) in enumerate(
        splitter.split(np.zeros(len(table.label_of)), table.label_of, table.group_of)
    ):
        part_of[table.group_of[held_out]] = part
    covered = all((table.counts[part_of == part].sum(axis=0) > 0).all() for part in range(folds))
    return part_of if covered else _search(table, shares=[1 / folds] * folds, seed=seed)


def _held_out(table: _Table, *, share: float, seed: int) -> Marked:
    """Which groups to hold out: about ``share`` of each class.

    The first of many draws that comes near enough, else the nearest that has every class on both sides.
    """
    groups = np.arange(len(table.counts))
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    held = np.zeros((_DRAWS, len(groups)), dtype=bool)
    draws = GroupShuffleSplit(_DRAWS, test_size=count, random_state=seed)
    for draw, (_, chosen) in enumerate(draws.split(groups, groups=groups)):
        held[draw, chosen] = True
    holding = held @ (table.counts > 0).astype(np.int64)  # of two bool matrices it would be bool
    covers = ((holding > 0) & (holding < table.spread)).all(axis=1)
    if not covers.any():
        return np.asarray(_search(table, shares=[1 - share, share], seed=seed) == 1)
    shares = held @ table.counts / table.counts.sum(axis=0)
    off = np.where(covers, np.abs(shares - share).max(axis=1), np.inf)
    near = np.flatnonzero(off <= _NEAR_ENOUGH)
    return np.asarray(held[near[0] if len(near) else off.argmin()])


def _search(table: _Table, *, shares: Sequence[float], seed: int) -> Indices:
    """The part of each group, every class in every part, by integer programming.

    For what shuffling and greed do not find. With x[g, p] = 1 where group g goes to part p, minimises how far
    each part's share of each class is off. Raises DataError where there is no such deal.
    """
    parts, classes = len(shares), len(table.classes)
    order = np.random.default_rng(seed).permutation(len(table.counts))
    counts = table.counts[order]
    groups = len(counts)
    dealt, off = groups * parts, classes * parts
    side = sparse.eye_array(parts)
    once = sparse.hstack([sparse.kron(sparse.eye_array(groups), np.ones((1, parts))), _nothing(groups, off)])
    present = sparse.hstack([sparse.kron((counts > 0).astype(float).T, side), _nothing(off, off)])
    share = sparse.kron((counts / counts.sum(axis=0)).T, side)
    apart = sparse.eye_array(off)
    wanted = np.tile(shares, classes)
    found = milp(
        np.concatenate([np.zeros(dealt), np.ones(off)]),
        integrality=np.concatenate([np.ones(dealt), np.zeros(off)]),
        bounds=Bounds(np.concatenate([np.zeros(dealt), _SLACK * wanted]), 1),
        constraints=[
            LinearConstraint(once, 1, 1),
            LinearConstraint(present, 1, np.inf),
            LinearConstraint(sparse.hstack([share, -apart]), -np.inf, wanted),
            LinearConstraint(sparse.hstack([share, apart]), wanted, np.inf),
        ],
        options={"node_limit": _SEARCH_NODES, "mip_rel_gap": _SEARCH_GAP},
    )
    if found.x is None:
        rarest = int(table.spread.argmin())
        raise DataError(
            f"No way was found to deal {groups} groups to {parts} sides with every class on each: too many "
            f"groups hold several classes. The class {table.classes[rarest]!r} stands in the fewest, "
            f"{int(table.spread[rarest])}.",
            remedy="Ask for fewer folds, or give pictures of it from more patients or slides.",
        )
    part_of = np.zeros(groups, dtype=np.int64)
    part_of[order] = found.x[:dealt].reshape(groups, parts).argmax(axis=1)
    return part_of


def _nothing(rows: int, columns: int) -> sparse.coo_array:
    return sparse.coo_array((rows, columns))


def _fold(held: Marked) -> Fold:
    return Fold(train=tuple(np.flatnonzero(~held).tolist()), held_out=tuple(np.flatnonzero(held).tolist()))


def _checked(share: float | None) -> float:
    if share is None or not 0 < share < 1:
        raise DataError(
            f"A held-out share of {share} leaves a side empty.", remedy="Give one between 0 and 1."
        )
    return share
