"""What a check of a collection found, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProblemFound(_Part):
    """A file that is broken or labelled wrongly."""

    file: Path
    what: str
    remedy: str


class ClassFound(_Part):
    """One label: its samples, and how many patients and slides they come from, where that is known."""

    label: str
    samples: Count
    share: float
    patients: Count | None
    slides: Count | None


class Spread(_Part):
    """Least, middle and greatest."""

    least: float
    median: float
    greatest: float


class Sizes(_Part):
    """Widths and heights in pixels, how many different ones there are, and the commonest."""

    width_px: Spread
    height_px: Spread
    distinct: Count
    commonest_px: tuple[int, int]
    commonest_count: Count


class Conflict(_Part):
    """Pictures that show the same and are labelled differently."""

    files: tuple[Path, ...]
    labels: tuple[str, ...]


class Duplicates(_Part):
    """Pictures that show the same: ``exact`` with equal pixels, ``near`` by perceptual hash, or both.

    ``turned`` groups show the same only after quarter turns or mirroring; ``groups`` lists the others.
    """

    exact_groups: Count
    exact_pictures: Count
    near_groups: Count
    near_pictures: Count
    turned_groups: Count
    turned_pictures: Count
    across_parts: Count
    across_patients: Count
    groups: tuple[tuple[Path, ...], ...]
    conflicts: tuple[Conflict, ...]


class PartFound(_Part):
    """One of the collection's own parts: a fold or a list."""

    part: str
    samples: Count
    labels: dict[str, int]
    patients: Count | None


class Overlap(_Part):
    """Patients (or, where none are known, slides) that stand in two of the collection's own parts."""

    parts: tuple[str, str]
    of: Literal["patient", "slide"]
    names: tuple[str, ...]


class Identity(_Part):
    """What is known of who the pictures come from, and the groups that honest splits would keep whole."""

    patients: Count | None
    slides: Count | None
    grouped_by: Literal["patient", "slide", "block"]
    groups: Count
    words: str


class Figure(_Part):
    """A balanced accuracy with its 95% interval."""

    value: float
    low: float | None
    high: float | None


class ColourTells(_Part):
    """How well six colour statistics and a nearest neighbour tell the labels, or the laboratories."""

    of: Literal["label", "laboratory"]
    words: tuple[str, ...]
    left_out: tuple[str, ...]
    samples: Count
    groups: Count
    folds: Count
    guessing: float
    honest: Figure
    by_chance: Figure


class CheckReport(_Part):
    """All of it. ``colour`` lacks what could not be asked; ``colour_unasked`` says why."""

    schema_id: Annotated[Literal["leukoscope/data-check/1"], Field(alias="schema")] = (
        "leukoscope/data-check/1"
    )
    folder: Path
    format: str
    licence: str | None
    pictures: Count
    samples: Count
    unreadable: Count
    classes: tuple[ClassFound, ...]
    imbalance: float | None
    laboratories: dict[str, int]
    picture_sizes: Sizes | None
    box_sizes: Sizes | None
    duplicates: Duplicates
    identity: Identity | None
    parts: tuple[PartFound, ...]
    overlaps: tuple[Overlap, ...]
    colour: tuple[ColourTells, ...]
    colour_unasked: tuple[str, ...]
    problems: tuple[ProblemFound, ...]

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def sound(self) -> bool:
        """Whether every file is readable and rightly labelled, as far as a machine can tell."""
        return not self.problems and not self.duplicates.conflicts
