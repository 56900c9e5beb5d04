"""What a person asks for: a recipe, a collection, a protocol, and what is to differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from trainer.errors import RecipeError, RunError
from trainer.fabric import FabricSettings, Precision
from trainer.recipes.recipe import Recipe, Task
from trainer.recipes.shelf import apply, load_recipe, override, small

REQUEST: Final = "request.json"
_LATER: Final = ("hold_out", "laboratory")
Protocol = Literal["honest", "published"]


class Request(BaseModel):
    """Everything that decides what an experiment gives; any process on any host can go on from it.

    ``classes`` maps a task's classes to a collection's labels, in the place of what the recipe says.
    ``at_most`` pictures of each class are used, drawn evenly from its groups. ``folds`` is for the honest
    protocol.
    Paths become absolute, so that a process with another working folder finds the same files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    data: Path
    format: str | None = None
    broken: Literal["fatal", "skip"] = "fatal"
    protocol: Protocol = "honest"
    small: bool = False
    changes: Mapping[str, Any] = Field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    at_most: Annotated[int, Field(ge=1)] | None = None
    folds: Annotated[int, Field(ge=1)] | None = None
    """1 means one hold-out."""
    hold_out: Literal["laboratory"] | None = None
    """Of the honest protocol: whole laboratories are held out, each in turn, in the place of folds."""
    laboratory: str | None = None
    """With ``hold_out``: this laboratory alone."""
    weights: str | None = None
    from_scratch: bool = False
    precision: Precision = "32-true"
    accelerator: str = "auto"
    compile: bool = False
    channels_last: bool = False
    keep_networks: bool = False
    """Keep each fold's trained network, not only what it answered."""

    @model_serializer(mode="wrap")
    def _as_it_was_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what was not asked for: so requests from before there was such a question stay the same."""
        document: dict[str, Any] = serialize(self)
        return {name: value for name, value in document.items() if name not in _LATER or value is not None}

    @field_validator("data")
    @classmethod
    def _found_from_anywhere(cls, folder: Path) -> Path:
        return folder.absolute()

    @field_validator("recipe", "weights")
    @classmethod
    def _file_found_from_anywhere(cls, name_or_file: str | None) -> str | None:
        """A name stays what it is; files have a suffix, which no name of weights has."""
        if name_or_file is None or not Path(name_or_file).suffix:
            return name_or_file
        return str(Path(name_or_file).absolute())

    def loaded(self) -> Recipe:
        """The recipe as it stands on the shelf or in its file."""
        return load_recipe(self.recipe)

    def resolved(self, experiment: str) -> Recipe:
        """The recipe as this request runs one experiment of it. Raises RecipeError."""
        recipe = apply(self.loaded(), experiment)
        if self.small:
            recipe = small(recipe)
        if self.from_scratch and recipe.network.frozen_trunk:
            # A trunk of noise that never learns would make every figure one of chance.
            recipe = override(recipe, {"network.frozen_trunk": False}, where="--from-scratch")
        return override(recipe, self.changes) if self.changes else recipe

    def task(self, recipe: Recipe) -> Task:
        """The task of a resolved recipe, with this request's own mapping of classes where it has one.

        Raises RecipeError where the mapping names other classes than the task has.
        """
        task = recipe.tasks[recipe.experiments[0].task]
        if not self.classes:
            return task
        if set(self.classes) != set(task.classes):
            raise RecipeError(
                f"--class names {', '.join(sorted(self.classes))}; {task.title!r} tells apart "
                f"{', '.join(task.classes)}.",
                remedy="Give a --class CLASS=LABEL,LABEL for each of these.",
            )
        try:
            # In the task's order, for it numbers the classes, whatever order they were given in.
            classes = {name: self.classes[name] for name in task.classes}
            return Task.model_validate({**task.model_dump(), "classes": classes, "stand_ins": {}})
        except ValidationError as error:
            raise RecipeError(
                f"--class cannot be used: {_message(error)}.",
                remedy="Give every label to one class.",
            ) from error

    def fabric(self, *, devices: int | Literal["auto"] = 1) -> FabricSettings:
        """What each training runs on."""
        return FabricSettings(
            accelerator=self.accelerator,
            devices=devices,
            precision=self.precision,
            compile=self.compile,
            channels_last=self.channels_last,
        )

    def save(self, folder: Path) -> None:
        """Write ``request.json``. Raises RunError where the folder holds another request."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / REQUEST
        if file.exists() and (differing := _differing(Request.load(folder), self)):
            raise RunError(
                f"{folder} was begun with another request ({', '.join(differing)} differ).",
                remedy="Give the same options to go on there, or choose another --out.",
            )
        partial = folder / f".{REQUEST}.partial"
        partial.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")
        partial.replace(file)

    @classmethod
    def load(cls, folder: Path) -> Request:
        """The request that a folder was begun with. Raises RunError when there is none."""
        try:
            return cls.model_validate_json((folder / REQUEST).read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{folder / REQUEST} cannot be read: {error}.",
                remedy="Name a folder that `leukoscope-trainer reproduce --out` made.",
            ) from error


def _differing(one: Request, other: Request) -> list[str]:
    """The settings in which two requests differ, as their files tell them."""
    first, second = one.model_dump(mode="json"), other.model_dump(mode="json")
    return [name for name in first | second if first.get(name) != second.get(name)]


def _message(error: ValidationError) -> str:
    return str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
