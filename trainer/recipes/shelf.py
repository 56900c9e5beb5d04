"""The shelf: the recipes that come with the trainer, and a person's own files beside them.

A file may begin with ``extends = "NAME"``: it is then laid over that recipe, table by table, and everything
that is not a table (lists too) is replaced. A file whose name begins with an underscore is only there to be
extended, and is not listed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from trainer.errors import RecipeError
from trainer.recipes.recipe import (
    AugmentationRecipe,
    Experiment,
    NetworkRecipe,
    Recipe,
    SplitRecipe,
    TrainingRecipe,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER: Final = Path(__file__).parent
_CHANGEABLE: Final[Mapping[str, type[BaseModel]]] = {
    "network": NetworkRecipe,
    "augmentation": AugmentationRecipe,
    "training": TrainingRecipe,
    "published_split": SplitRecipe,
}
_FIELDS_REMEDY: Final = "See trainer/recipes/recipe.py for what a recipe may hold."


def recipe_names() -> tuple[str, ...]:
    """The recipes on the shelf, in alphabetical order."""
    return tuple(sorted(each.stem for each in _FOLDER.glob("[!_]*.toml")))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe of the shelf by its name, or a file by its path.

    Every experiment is resolved once, so that a loaded recipe has no row that fails later. Raises RecipeError
    with the file, the key and what to do.
    """
    file = _find(name_or_path, beside=None)
    try:
        recipe = Recipe.model_validate(_table(file, above=()))
    except ValidationError as error:
        raise _invalid(file.name, error) from error
    for experiment in recipe.experiments:
        apply(recipe, experiment.name)
    if recipe.small is not None:
        small(recipe)
    return recipe


def find_experiment(recipe: Recipe, experiment: str) -> Experiment:
    """The experiment of that name. Raises RecipeError with the names that there are."""
    for each in recipe.experiments:
        if each.name == experiment:
            return each
    raise RecipeError(
        f"Recipe {recipe.name} has no experiment {experiment!r}.",
        remedy=f"It has {', '.join(each.name for each in recipe.experiments)}.",
    )


def apply(recipe: Recipe, experiment: str) -> Recipe:
    """The recipe as this experiment runs it: overrides resolved, no other experiment and no other's figures.

    Raises RecipeError for an unknown experiment, key or value.
    """
    row = find_experiment(recipe, experiment)
    changed = override(recipe, row.set, where=f"experiment {experiment}")
    return changed.model_copy(
        update={
            "experiments": (row.model_copy(update={"set": {}}),),
            "published": recipe.published_for(experiment),
            "published_confusions": tuple(
                each for each in recipe.published_confusions if each.experiment == experiment
            ),
        }
    )


def small(recipe: Recipe) -> Recipe:
    """The recipe at its CPU size: apply an experiment first, for its epochs count here.

    Raises RecipeError when the recipe names no such size.
    """
    if recipe.small is None:
        raise RecipeError(
            f"Recipe {recipe.name} has no small size.",
            remedy='Add a [small] table with "differs", "epochs_share" and what to "set".',
        )
    epochs = max(1, round(recipe.training.epochs * recipe.small.epochs_share))
    return override(recipe, {"training.epochs": epochs, **recipe.small.set}, where="[small]")


def override(recipe: Recipe, changes: Mapping[str, Any], *, where: str = "command line") -> Recipe:
    """The recipe with dotted keys changed (``{"network.colour": "hsv"}``) and validated again.

    A key is a setting of ``network``, ``augmentation``, ``training`` or ``published_split``, or one of these
    as a whole; ``where`` names the place that asked, for the error. Raises RecipeError for an unknown key or
    a value that does not fit.
    """
    place = f"{recipe.name}, {where}"
    tables: dict[str, Any] = {}
    for key, value in changes.items():
        part, _, setting = key.partition(".")
        if part not in _CHANGEABLE:
            raise RecipeError(
                f"{place}: {key!r} cannot be changed.",
                remedy=f"Settings begin with {', '.join(_CHANGEABLE)}.",
            )
        if not setting:
            tables[part] = value
            continue
        table = tables.setdefault(part, _dumped(getattr(recipe, part)))
        if not isinstance(table, dict) or setting not in table:
            raise RecipeError(
                f"{place}: there is no setting {key!r}.",
                remedy=f"{part} has {', '.join(table)}." if table else f"Give {part} as a whole.",
            )
        table[setting] = value
    return recipe.model_copy(update={part: _part(part, table, place) for part, table in tables.items()})


def _part(part: str, table: object, place: str) -> BaseModel:
    try:
        return _CHANGEABLE[part].model_validate(table)
    except ValidationError as error:
        raise _invalid(place, error, within=(part,)) from error


def _dumped(part: BaseModel | None) -> dict[str, Any] | None:
    return None if part is None else part.model_dump()


def _find(name_or_path: str | Path, *, beside: Path | None) -> Path:
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return path
    places = (_FOLDER,) if beside is None else (beside, _FOLDER)
    for folder in places:
        file = folder / f"{path}.toml"
        if path.name == str(path) and file.is_file():
            return file
    raise RecipeError(
        f"There is no recipe {str(name_or_path)!r}.",
        remedy=f"Take one of {', '.join(recipe_names())}, or the path of a .toml file.",
    )


def _table(file: Path, *, above: tuple[Path, ...]) -> dict[str, Any]:
    """The file's table, laid over the recipe that it extends; ``above`` extend it."""
    if file in above:
        raise RecipeError(f"{file} extends itself.", remedy='Remove "extends" from one of the files.')
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{file} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file} is not TOML: {error}.", remedy="Mend the file there.") from error
    base = table.pop("extends", None)
    if base is None:
        return table
    return _laid_over(_table(_find(base, beside=file.parent), above=(*above, file)), table)


def _laid_over(base: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in table.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = _laid_over(under, value)
        else:
            merged[key] = value
    return merged


def _invalid(place: str, error: ValidationError, *, within: tuple[str, ...] = ()) -> RecipeError:
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(step) for step in (*within, *fault["loc"])) or "the whole"
        faults.append(f"{key}: {fault['msg'].removeprefix('Value error, ')}")
    return RecipeError(f"{place} is not a recipe: {'; '.join(faults)}.", remedy=_FIELDS_REMEDY)
