"""How an experiment of a recipe becomes a point of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.recipes.recipe import Recipe
from trainer.sweep.grid import Point, foresees_end

_SETTINGS = ("network", "augmentation", "training", "published_split")


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
