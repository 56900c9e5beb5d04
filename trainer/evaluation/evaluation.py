"""What evaluation.json holds: every figure with its interval, and the sentences that belong beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError

from trainer.errors import RunError

Metric = Literal[
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "roc_auc",
    "pr_auc",
]
METRICS: Final[tuple[Metric, ...]] = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "f1",
    "roc_auc",
    "pr_auc",
)
LEAKY: Final = "published: pictures of one group stand on both sides"
DISJOINT: Final = "honest: no group stands on both sides"
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Part):
    """A figure and its 95% interval from redrawing whole groups.

    ``value`` is null where it is not defined (no picture of that class, nothing named so); ``low`` and
    ``high`` are null where groups are too few to redraw. ``why`` then says so; it also says when an interval
    is given but should not be relied on. ``pictures`` and ``groups`` are those that the figure is a figure
    of: of a class's sensitivity, the pictures of that class. ``undefined_draws`` of the draws had no value.
    """

    value: FiniteFloat | None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    pictures: NonNegativeInt
    groups: NonNegativeInt
    undefined_draws: NonNegativeInt = 0
    why: str | None = None


class NamedFigures(_Part):
    """The figures of names alone: of a class against all others, or of all classes together.

    Of one class: every figure tells that class from all others, ``accuracy`` too. Of all classes:
    ``accuracy`` is the share of pictures named right, ``balanced_accuracy`` the mean recall; the others are
    the plain means over classes (macro). ``sensitivity`` is recall.
    """

    accuracy: Figure
    balanced_accuracy: Figure
    sensitivity: Figure
    specificity: Figure
    precision: Figure
    f1: Figure


class Figures(NamedFigures):
    """With the areas below curves, which need a score beside the name."""

    roc_auc: Figure
    pr_auc: Figure


class ClassFigures(_Part):
    """How well one class is told from the others; of how many held-out pictures and groups of that class."""

    name: str
    pictures: NonNegativeInt
    groups: NonNegativeInt
    figures: Figures


class FoldFigures(_Part):
    """One fold's held-out pictures."""

    fold: int
    pictures: NonNegativeInt
    groups: NonNegativeInt
    trained_groups: NonNegativeInt
    shared_groups: NonNegativeInt
    """Groups that stand on both sides of this fold."""
    accuracy: Figure
    balanced_accuracy: Figure


class ReliabilityBin(_Part):
    """Pictures whose confidence lies in [low, high): mean confidence and the share named right."""

    low: Share
    high: Share
    pictures: NonNegativeInt
    confidence: Share | None
    accuracy: Share | None


class Calibration(_Part):
    """How far confidence can be believed, before and after one temperature divides the logits.

    ``after`` and its bins are cross-fitted: each half of the groups is judged with the temperature of the
    other half (``half_temperatures``). ``temperature``, fitted on all, is for use, and no figure is its.
    """

    temperature: FiniteFloat | None
    half_temperatures: tuple[FiniteFloat, ...]
    error_before: Figure
    """Expected calibration error."""
    error_after: Figure
    likelihood_before: Figure
    """Mean negative log likelihood, in nats."""
    likelihood_after: Figure
    bins_before: tuple[ReliabilityBin, ...]
    bins_after: tuple[ReliabilityBin, ...]
    words: str


class CurvePoint(_Part):
    """One point of the positive class's ROC and precision-recall curves."""

    threshold: FiniteFloat
    sensitivity: Share
    specificity: Share
    precision: Share | None


class OperatingPoint(_Part):
    """The positive class is named where its probability is at least ``threshold``.

    The threshold of each half of the groups is the highest that reaches the target there; the figures are of
    the other half's pictures. ``threshold``, from all pictures, is for use, and no figure is its.
    """

    positive: str
    target_sensitivity: Share
    threshold: FiniteFloat | None
    half_thresholds: tuple[FiniteFloat, ...]
    sensitivity: Figure
    specificity: Figure
    precision: Figure
    curve: tuple[CurvePoint, ...]
    """Of all pictures, at most some hundred points, for drawing."""
    words: str


class ClassCoverage(_Part):
    """How often the sets of pictures of one class hold that class."""

    name: str
    coverage: Figure


class PredictionSets(_Part):
    """Split-conformal prediction sets at one level, each half of the groups calibrated on the other."""

    level: Share
    kind: Literal["marginal", "by class"]
    coverage: Figure
    mean_size: Figure
    empty: Figure
    """The share of empty sets: pictures unlike those of every class."""
    single: Figure
    """The share of sets that name exactly one class."""
    by_class: tuple[ClassCoverage, ...]
    words: str


class OutOfDistribution(_Part):
    """Distances of held-out pictures from what their fold trained on.

    ``limit`` is the percentile of all held-out distances; ``beyond`` is the share of each half's pictures
    beyond the limit of the other half. ``mistakes`` is the ROC area with which distance tells mistakes from
    right answers. All null, with ``words`` saying why, where the classifier has no features.
    """

    percentile: float
    limit: FiniteFloat | None
    half_limits: tuple[FiniteFloat, ...]
    beyond: Figure
    mistakes: Figure
    accuracy_within: Figure
    accuracy_beyond: Figure
    words: str


class Strangers(_Part):
    """How well distance tells pictures that the network should refuse from those it knows."""

    name: str
    pictures: NonNegativeInt
    groups: NonNegativeInt
    roc_auc: Figure
    refused: Figure
    """The share of strangers beyond the limit."""
    limit: FiniteFloat | None


class ColourFigures(_Part):
    """What colour alone reaches, and by how much the network's same figures are higher.

    Both are of the same pictures and the same redrawn groups. Colour gives names without scores, so there
    are no areas below curves.
    """

    reached: NamedFigures
    difference: NamedFigures
    """Network minus colour."""


class ColourOfClass(ColourFigures):
    """The same, of one class against the others."""

    name: str


class ColourBaseline(_Part):
    """What six colour statistics and the nearest training picture reach, and what the network adds."""

    overall: ColourFigures
    by_class: tuple[ColourOfClass, ...]
    words: str

    def of_class(self, name: str) -> ColourFigures:
        """Of one class against the others. Raises KeyError for a class that is not there."""
        for each in self.by_class:
            if each.name == name:
                return each
        raise KeyError(name)


class ShiftedAccuracy(_Part):
    """The network's answers for the same pictures, changed. Differences are changed minus unchanged."""

    shift: str
    """``stain``, ``blur``, ``exposure`` or ``jpeg``."""
    severity: str
    """In words with its unit: ``2 px standard deviation``."""
    accuracy: Figure
    balanced_accuracy: Figure
    accuracy_difference: Figure
    sensitivity: Figure | None = None
    """Of the positive class, where there is one."""


class Confusion(_Part):
    """Counts summed over folds: rows are true classes, columns what was named."""

    classes: tuple[str, ...]
    counts: tuple[tuple[NonNegativeInt, ...], ...]


class Comparison(_Part):
    """Two runs on the same pictures: McNemar's test, and the difference with an interval over groups."""

    first: str
    second: str
    pictures: NonNegativeInt
    groups: NonNegativeInt
    both_right: NonNegativeInt
    only_first_right: NonNegativeInt
    only_second_right: NonNegativeInt
    both_wrong: NonNegativeInt
    method: Literal["exact binomial", "chi-squared with continuity correction"]
    statistic: FiniteFloat
    """The smaller discordant count of the exact test, else chi-squared with one degree of freedom."""
    p_value: Share
    accuracy_difference: Figure
    """Second minus first."""
    balanced_accuracy_difference: Figure
    words: str


class Evaluation(_Part):
    """All that is known about the answers for held-out pictures."""

    format: Literal["leukoscope-evaluation-2"] = "leukoscope-evaluation-2"
    classes: tuple[str, ...]
    positive: str | None
    pictures: NonNegativeInt
    groups: NonNegativeInt
    grouped_by: str
    protocol: str
    """Stands next to every figure: ``DISJOINT`` or ``LEAKY``."""
    leaking_groups: NonNegativeInt
    """How many groups stand among the training and the held-out pictures of one fold."""
    draws: NonNegativeInt
    seed: int
    overall: Figures
    by_class: tuple[ClassFigures, ...]
    by_fold: tuple[FoldFigures, ...]
    confusion: Confusion
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]
    prediction_sets: tuple[PredictionSets, ...]
    out_of_distribution: OutOfDistribution
    colour_baseline: ColourBaseline
    shifts: tuple[ShiftedAccuracy, ...] = ()
    strangers: tuple[Strangers, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    words: tuple[str, ...]
    """Sentences that must stand in the report, above its figures."""

    @property
    def leaky(self) -> bool:
        """True where pictures of one group stand on both sides: no figure may be read as honest."""
        return self.leaking_groups > 0

    def of_class(self, name: str) -> Figures:
        """The figures of one class against the others. Raises KeyError for a class that is not there."""
        for each in self.by_class:
            if each.name == name:
                return each.figures
        raise KeyError(name)

    def figure(self, metric: str) -> Figure:
        """The figure of a name as a recipe's published figures write it: ``f1`` or ``f1/class``.

        Of two classes with a positive one, the bare names other than the accuracies are the positive class's.
        Raises KeyError for a name that is not there.
        """
        name, whose = self._asked(metric)
        figures = self.overall if whose is None else self.of_class(whose)
        found: Figure = getattr(figures, name)
        return found

    def colour(self, metric: str) -> tuple[Figure, Figure] | None:
        """Colour's figure of that name, and the network's less colour's; None for an area below a curve.

        Raises KeyError for a name that is not there.
        """
        name, whose = self._asked(metric)
        beside = self.colour_baseline.overall if whose is None else self.colour_baseline.of_class(whose)
        if name not in NamedFigures.model_fields:
            return None
        return getattr(beside.reached, name), getattr(beside.difference, name)

    def _asked(self, metric: str) -> tuple[str, str | None]:
        """The figure's own name, and the class that it is of; None for all together."""
        name, _, of_class = metric.partition("/")
        if name not in METRICS:
            raise KeyError(metric)
        if not of_class and len(self.classes) == 2 and "accuracy" not in name:  # noqa: PLR2004
            return name, self.positive
        return name, of_class or None

    def save(self, file: Path) -> None:
        """Replace ``file`` (.json) atomically."""
        partial = file.with_name(f".{file.name}.partial")
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(self.model_dump_json(indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)

    @classmethod
    def load(cls, file: Path) -> Evaluation:
        """Read what :meth:`save` wrote. Raises RunError when the file is missing or not an evaluation."""
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{file} cannot be read as an evaluation: {error}.", remedy="Evaluate the run again."
            ) from error
