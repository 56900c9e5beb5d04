"""From a recipe to the cells of its sweep: what a plan is asked, and how an experiment becomes a point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from trainer.recipes.recipe import Recipe
from trainer.sweep.cell import Cell
from trainer.sweep.grid import Point, foresees_end

Judging = Literal["honest", "published"]
_SETTINGS = ("network", "augmentation", "training", "published_split")


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What the command line asks for: a recipe's name or file, the data, and how it is to be judged.

    ``changes`` are settings by their dotted keys, as an experiment's own (``{"training.batch": 8}``).
    """

    recipe: str
    data: Path
    protocol: Judging = "honest"
    changes: Mapping[str, Any] = field(default_factory=dict)


class Plan(Protocol):
    """Turns a recipe into cells; it reads what it must (recipe, number of folds) and trains nothing."""

    def __call__(self, request: PlanRequest) -> tuple[Cell, ...]:
        """The cells, always the same for the same request."""


def point_of(recipe: Recipe, *, arguments: Mapping[str, Any]) -> Point:
    """The point of a recipe that was resolved for one experiment (``trainer.recipes.shelf.apply``).

    Its arguments are ``arguments``, which must be equal for all experiments of the grid, and ``settings``:
    everything the experiment sets but the number of epochs. So a sweep is not gone on with by mistake after a
    recipe was changed. An experiment with a classical classifier has no epochs.
    """
    (experiment,) = recipe.experiments
    settings = recipe.model_dump(mode="json", include=set(_SETTINGS))
    del settings["training"]["epochs"]
    settings["task"] = recipe.tasks[experiment.task].model_dump(mode="json")
    if experiment.classical is not None:
        settings["classical"] = experiment.classical.model_dump(mode="json")
    return Point(
        experiment=experiment.name,
        arguments={**arguments, "settings": settings},
        epochs=None if experiment.classical is not None else recipe.training.epochs,
        foresees_end=foresees_end(recipe.training),
    )
