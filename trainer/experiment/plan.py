"""From a request to the cells of its sweep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from trainer.experiment.protocol import fold_count
from trainer.experiment.request import Request
from trainer.recipes.recipe import Recipe
from trainer.recipes.shelf import find_experiment
from trainer.sweep.cell import Cell
from trainer.sweep.grid import Grid
from trainer.sweep.plan import point_of

WORK: Final = "trainer.experiment.runner:run_fold"


def chosen_experiments(request: Request, only: Sequence[str]) -> tuple[str, ...]:
    """The names of the experiments to run, in the recipe's order. Raises RecipeError for an unknown one."""
    recipe = request.loaded()
    wanted = {find_experiment(recipe, name).name for name in only}
    return tuple(each.name for each in recipe.experiments if not wanted or each.name in wanted)


def cells(request: Request, experiments: Sequence[str]) -> tuple[Cell, ...]:
    """Every chosen experiment in every fold; trainings that differ only in their end are one."""
    by_folds: defaultdict[int, list[Recipe]] = defaultdict(list)
    for name in experiments:
        recipe = request.resolved(name)
        by_folds[fold_count(request, recipe)].append(recipe)
    asked = {"request": request.model_dump(mode="json")}
    return tuple(
        cell
        for folds, recipes in by_folds.items()
        for cell in Grid(
            work=WORK, points=tuple(point_of(each, arguments=asked) for each in recipes), folds=folds
        ).cells()
    )
