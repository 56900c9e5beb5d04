"""From a request to the cells of its sweep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from trainer.experiment.protocol import fold_count
from trainer.experiment.request import Request
from trainer.recipes.recipe import Recipe
from trainer.recipes.shelf import find_experiment
from trainer.sweep.cell import Cell
from trainer.sweep.cell_directory import CELL
from trainer.sweep.grid import Grid, Point
from trainer.sweep.plan import point_of
from trainer.sweep.run import CELLS

WORK: Final = "trainer.experiment.runner:run_fold"


def chosen_experiments(request: Request, only: Sequence[str]) -> tuple[str, ...]:
    """The names of the experiments to run, in the recipe's order. Raises RecipeError for an unknown one."""
    recipe = request.loaded()
    wanted = {find_experiment(recipe, name).name for name in only}
    return tuple(each.name for each in recipe.experiments if not wanted or each.name in wanted)


def cells(request: Request, experiments: Sequence[str]) -> tuple[Cell, ...]:
    """Every chosen experiment in every fold; trainings that differ only in their end are one."""
    by_folds: defaultdict[int, list[Point]] = defaultdict(list)
    for name in experiments:
        recipe = request.resolved(name)
        by_folds[fold_count(request, recipe)].append(_point(request, recipe))
    return tuple(
        cell
        for folds, points in by_folds.items()
        for cell in Grid(work=WORK, points=tuple(points), folds=folds).cells()
    )


def begun_cells(request: Request, folder: Path) -> tuple[Cell, ...]:
    """The cells that a sweep's folder holds, of the recipe as it stands now, by their names.

    They may be others than those of all experiments together: of a training that answers several, a part that
    was asked for alone is a cell of its own.
    """
    wanted = {
        each.name: _point(request, request.resolved(each.name)).arguments
        for each in request.loaded().experiments
    }
    found: list[Cell] = []
    for file in sorted((folder / CELLS).rglob(CELL)):
        # What is no cell's document was cut off before the cell was begun, and is written anew.
        with suppress(ValueError):
            cell = Cell.of_document(file.read_text("utf-8"))
            if all(wanted.get(row.experiment) == cell.arguments for row in cell.rows):
                found.append(cell)
    return tuple(found)


def _point(request: Request, recipe: Recipe) -> Point:
    return point_of(recipe, arguments={"request": request.model_dump(mode="json")})
