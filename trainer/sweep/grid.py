"""From experiments and folds to cells, training once what differs only in when it is stopped.

A training whose rate at a step does not depend on how many steps there will be is, after 10 of 100 epochs, in
the very state in which a training of 10 epochs ends. Then one long run that is looked at after 10, 20, ...
epochs answers all the rows: for the epochs 10, 20, 30, 40, 50, 60, 80, 100 it costs 100 epochs, not 390.
This asks two things of the work: that pictures are drawn by seed and epoch alone, and that the last weights
are judged, not the best on the way.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.recipes.recipe import TrainingRecipe
from trainer.sweep.cell import Cell, Row


@dataclass(frozen=True, kw_only=True)
class Point:
    """One experiment of a grid.

    ``arguments`` (JSON) are all of its settings but the number of epochs, and nothing else: points of equal
    arguments are one training. ``foresees_end`` is true where the length of the training changes its course,
    so that it can be no part of a longer one.
    """

    experiment: str
    arguments: Mapping[str, Any]
    epochs: int | None = None
    foresees_end: bool = True


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every point in every fold, run by ``work`` (``module:function``)."""

    work: str
    points: tuple[Point, ...]
    folds: int

    def __post_init__(self) -> None:
        """Refuse a grid with nothing in it, or with two points of one name."""
        if self.folds < 1 or not self.points:
            raise ValueError("a grid needs points and folds")
        names = [each.experiment for each in self.points]
        if len(set(names)) < len(names):
            raise ValueError(f"two points of one name among {', '.join(names)}")

    def cells(self) -> tuple[Cell, ...]:
        """The cells, experiment by experiment in the order of the points, and fold by fold in each.

        A cell that answers several points is named after the longest.
        """
        trainings: defaultdict[str, list[Point]] = defaultdict(list)
        for point in self.points:
            trainings[_training(point)].append(point)
        return tuple(
            self._cell(_by_epochs(points), fold)
            for points in trainings.values()
            for fold in range(self.folds)
        )

    def _cell(self, points: tuple[Point, ...], fold: int) -> Cell:
        return Cell(
            name=f"{points[-1].experiment}/fold-{fold}",
            fold=fold,
            work=self.work,
            arguments=points[-1].arguments,
            rows=tuple(Row(experiment=each.experiment, epochs=each.epochs) for each in points),
        )


def foresees_end(training: TrainingRecipe) -> bool:
    """Whether the number of epochs changes what happens before the last one.

    A cosine does: it comes down to nothing at the end, wherever that is. A constant rate does not, nor do
    steps, a warm-up and a moving average, all of which count from the beginning.
    """
    return training.schedule == "cosine"


def _training(point: Point) -> str:
    """What two points must have in common to be one training."""
    alone = point.experiment if point.foresees_end or point.epochs is None else None
    return json.dumps([alone, dict(point.arguments)], sort_keys=True)


def _by_epochs(points: list[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda each: each.epochs or 0))
