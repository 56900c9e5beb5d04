"""What a report says, before it is a page: ``report.json`` holds exactly this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError

from trainer.errors import RunError
from trainer.evaluation.evaluation import Evaluation, Share
from trainer.recipes.recipe import Reference

Protocol = Literal["published", "honest"]
Jpeg = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")]
"""A JPEG file in base64."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassCount(_Part):
    """How much of a class the data hold: ``labels`` are the collection's own words for it."""

    name: str
    labels: tuple[str, ...] = ()
    pictures: NonNegativeInt
    groups: NonNegativeInt


class DataFacts(_Part):
    """The collection, as it was used.

    ``grouping`` says in a sentence what a group is and how it was found out; ``licence`` is None where the
    collection does not tell; ``left_out`` has a sentence for every kind of picture that was not used (broken
    files, duplicates), with its count; ``warnings`` what a reader must know before believing a figure.
    """

    name: str
    format: str
    pictures: NonNegativeInt
    groups: NonNegativeInt
    grouping: str
    licence: str | None
    licence_allows_shipping: bool | None = None
    classes: tuple[ClassCount, ...]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class RunFacts(_Part):
    """How an experiment was run: enough to run it again.

    ``epochs`` is None where nothing was trained by epochs. ``software`` maps a package to its version.
    """

    command: str
    seed: int
    epochs: NonNegativeInt | None
    wall_s: Annotated[FiniteFloat, Field(ge=0)]
    device: str
    software: Mapping[str, str]
    fingerprint: str | None = None
    """SHA-256 over the pictures and labels used, whatever their order."""


class Line(_Part):
    """One curve: a value for each epoch that has one."""

    name: str
    points: tuple[tuple[FiniteFloat, FiniteFloat], ...]


class Panel(_Part):
    """One chart over epochs."""

    title: str
    lines: tuple[Line, ...]


class Mistake(_Part):
    """A held-out picture that got the wrong name. ``saliency`` shows where the network looked."""

    name: str
    true: str
    named: str
    confidence: Share
    picture: Jpeg
    saliency: Jpeg | None = None


class Section(_Part):
    """One experiment under one protocol."""

    name: str
    title: str
    task: str
    network: str
    """In words, with its size and colour model: ``AlexNet, 227 px, RGB, new layer of 4096``."""
    protocol: Protocol
    split: str
    """How training and held-out pictures were told apart, in a sentence."""
    evaluation: Evaluation
    run: RunFacts
    training: tuple[Panel, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    remarks: tuple[str, ...] = ()


class ComparedFigure(_Part):
    """A figure that the paper prints and ours, in percent; one for each protocol that was run.

    ``ours_percent`` is None where it could not be had: ``remark`` then says why. ``table``, ``row`` and
    ``metric`` are the recipe's own words for the published figure.
    """

    table: str
    row: str
    metric: str
    experiment: str
    protocol: Protocol
    published_percent: FiniteFloat
    ours_percent: FiniteFloat | None = None
    low_percent: FiniteFloat | None = None
    high_percent: FiniteFloat | None = None
    groups: NonNegativeInt | None = None
    remark: str = ""

    @property
    def difference_points(self) -> float | None:
        """Ours minus the published one, in percentage points."""
        return None if self.ours_percent is None else self.ours_percent - self.published_percent


class Report(_Part):
    """A recipe's run on a collection, beside what its paper published."""

    format: Literal["leukoscope-report-1"] = "leukoscope-report-1"
    title: str
    recipe: str
    reference: Reference | None
    summary: str
    """What was done, in a few sentences."""
    command: str
    """The one command that makes this report again."""
    data: DataFacts
    experiments: Annotated[tuple[Section, ...], Field(min_length=1)]
    compared: tuple[ComparedFigure, ...] = ()
    assumptions: tuple[str, ...] = ()
    """What the paper leaves open, and what stands here instead."""
    limits: tuple[str, ...] = ()
    """What the networks are known not to do, beside what every report says."""

    @classmethod
    def load(cls, file: Path) -> Report:
        """Read a ``report.json``. Raises RunError when the file is missing or no report."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{file} cannot be read as a report: {error}.", remedy="Write the report again."
            ) from error


def training_panels(
    runs: Mapping[str, Sequence[Mapping[str, float | int | None]]], panels: Mapping[str, Sequence[str]]
) -> tuple[Panel, ...]:
    """Charts of what was recorded at every epoch of ``runs``, by their names (``fold 1``, or empty).

    ``panels`` maps a chart's title to the recorded values that it shows; a value that no run recorded has
    no line, and a chart without lines is left out. Runs number epochs from 0; charts count those finished.
    """
    drawn = []
    for title, names in panels.items():
        lines = []
        for run, rows in runs.items():
            for name in names:
                points = tuple(
                    (float(row["epoch"] or 0) + 1, float(value))
                    for row in rows
                    if (value := row.get(name)) is not None
                )
                if points:
                    said = name.replace("_", " ")
                    lines.append(Line(name=f"{said}, {run}" if run else said, points=points))
        if lines:
            drawn.append(Panel(title=title, lines=tuple(lines)))
    return tuple(drawn)
