"""The shape of a recipe file: a network, how it is trained, how it is judged, what its paper published.

A recipe is a TOML file. Its ``experiments`` are the rows of the paper's tables: each names a task, and
overrides what differs from the recipe's own settings. Nothing that a paper leaves open is decided in code:
the choice stands in the file, and ``assumptions`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator
from typing_extensions import Self

ColourModel = Literal["rgb", "hsv", "ycbcr", "h-cb-cr"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]

PLAIN_CNN: Final = "plain-cnn"
METRICS: Final = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "recall",
    "f1",
    "training_accuracy",
    "loss",
    "training_loss",
)
MACRO: Final = "macro"
"""Behind a metric's slash: the plain mean over the classes."""


_IN_NO_NAME: Final = frozenset('/\\:*?[]"<>|')
"""What parts folders, what some file system does not take, and what a pattern would take for its own."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(_Part):
    """Where a system was published."""

    authors: str
    title: str
    venue: str
    year: int | None = None
    doi: str | None = None


class HiddenLayer(_Part):
    """A new fully connected layer with ReLU, before the layer that answers."""

    units: PositiveInt
    batch_norm: bool = False
    """Between the layer and its ReLU."""
    dropout: Probability = 0.0
    """Behind the ReLU."""


class NetworkRecipe(_Part):
    """A network.

    ``architecture``: ``plain-cnn`` (for each of ``maps`` a 3x3 convolution without padding, ReLU and 2x2 max
    pooling; then flat), a torchvision name, or ``timm:NAME``. ``replaces`` says from where on the pretrained
    network's layers give way to the new ones: ``head`` (all fully connected layers) or ``last`` (the last one
    alone). The new ones are ``hidden``, then ``dropout``, then the layer that answers.
    """

    architecture: str
    size_px: PositiveInt
    colour: ColourModel = "rgb"
    pretrained: bool = True
    replaces: Literal["head", "last"] = "last"
    frozen_trunk: bool = False
    """The pretrained layers do not learn, and keep their BatchNorm statistics."""
    hidden: tuple[HiddenLayer, ...] = ()
    dropout: Probability = 0.0
    """Before the layer that answers, beside what the pretrained network has of its own."""
    maps: tuple[PositiveInt, ...] = ()

    @model_validator(mode="after")
    def _maps_belong_to_the_plain_cnn(self) -> Self:
        if (self.architecture == PLAIN_CNN) != bool(self.maps):
            raise ValueError(f"maps are for {PLAIN_CNN}, and only for it; this is {self.architecture}")
        if self.architecture == PLAIN_CNN and (self.pretrained or self.frozen_trunk):
            raise ValueError(f"{PLAIN_CNN} has no pretrained weights: pretrained = false, no frozen_trunk")
        return self


class ClassicalRecipe(_Part):
    """A classifier of scikit-learn over features of a network, or over the pixels themselves."""

    features: Literal["network", "pixels"]
    classifier: Literal[
        "decision-tree",
        "linear-discriminant",
        "svm-linear",
        "svm-gaussian",
        "svm-cubic",
        "k-nearest",
        "naive-bayes",
    ]
    neighbours: PositiveInt = 1
    max_splits: PositiveInt | None = None
    standardise: bool = False
    """Every feature is brought to mean 0 and deviation 1 of the training pictures first."""
    size_px: PositiveInt | None = None
    """With ``pixels``: pictures are shrunk to this side first; None leaves them at the network's size."""


class AugmentationRecipe(_Part):
    """Changes of a training picture.

    ``apply``: ``all`` changes are drawn together for each picture and epoch; ``copies`` makes changed copies
    of every picture once, before training, each with one of the changes: see :attr:`versions`.
    """

    apply: Literal["all", "copies"] = "all"
    copies: PositiveInt | None = None
    """With ``copies``: how many there are, the changes taken in turn; None for one of each."""
    keeps_original: bool = True
    """With ``copies``: the unchanged picture stands among them."""
    rotation_degrees: tuple[float, ...] = ()
    """Angles to draw from."""
    rotation_up_to_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Or: any angle between minus and plus this."""
    mirror_horizontal: bool = False
    """Left becomes right."""
    mirror_vertical: bool = False
    """Top becomes bottom."""
    shift_px: tuple[float, float] | None = None
    """Shift along each axis by this many pixels, least and most, either way."""
    shift_height: Fraction = 0.0
    """Shift up or down by at most this share of the height."""
    shift_width: Fraction = 0.0
    zoom: Fraction = 0.0
    """Scale between one minus and one plus this."""
    shear_degrees: Annotated[float, Field(ge=0, lt=90)] = 0.0
    """Shear by at most this angle, either way."""
    fill: Literal["nearest", "black", "white"] = "nearest"
    stain: bool = False
    """Restain the picture at random: a house recipe's habit, no paper's."""

    @property
    def changes(self) -> tuple[AugmentationRecipe, ...]:
        """Each named change as an augmentation of its own."""
        return tuple(
            AugmentationRecipe.model_validate({name: getattr(self, name), "fill": self.fill})
            for name in _CHANGES
            if getattr(self, name) != AugmentationRecipe.model_fields[name].default
        )

    @property
    def versions(self) -> tuple[AugmentationRecipe, ...]:
        """What every picture becomes before training: one augmentation per version of it.

        With ``all`` it stays one picture, and its changes are drawn anew in every epoch.
        """
        if self.apply == "all":
            return (self,)
        changes = self.changes
        number = len(changes) if self.copies is None else self.copies
        copies = tuple(changes[i % len(changes)] for i in range(number))
        return (AugmentationRecipe(), *copies) if self.keeps_original else copies

    @model_validator(mode="after")
    def _copies_have_changes(self) -> Self:
        if self.apply == "copies" and not self.changes:
            raise ValueError("copies of a picture need at least one change")
        if self.apply == "all" and (self.copies is not None or not self.keeps_original):
            raise ValueError('copies and keeps_original are for apply = "copies"')
        return self


_CHANGES: Final = (
    "rotation_degrees",
    "rotation_up_to_degrees",
    "shift_px",
    "shift_height",
    "shift_width",
    "zoom",
    "mirror_horizontal",
    "mirror_vertical",
    "shear_degrees",
    "stain",
)


class TrainingRecipe(_Part):
    """How a network is fitted."""

    optimizer: Literal["sgd", "adam", "rmsprop", "adamw"]
    rate: Annotated[float, Field(gt=0)]
    momentum: Probability = 0.0
    """SGD's and RMSprop's."""
    squares_decay: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """RMSprop's: how much of the running mean of squared gradients stays at each step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """On weights; biases and normalisation layers are left alone."""
    new_layers_factor: Annotated[float, Field(ge=1)] = 1.0
    """New layers learn this many times faster than the pretrained ones."""
    batch: PositiveInt
    epochs: PositiveInt
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """With ``steps``: the rate is multiplied by this ..."""
    decay_every_steps: PositiveInt | None = None
    """... each time so many steps were taken."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    average_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of a moving average of the weights, which is what is judged and kept; None for none."""
    label_smoothing: Probability = 0.0
    equalise_classes: bool = False
    """Every class gives as many training pictures as the smallest has."""
    seed: int = 1

    @model_validator(mode="after")
    def _steps_have_a_length(self) -> Self:
        if (self.schedule == "steps") != (self.decay_every_steps is not None):
            raise ValueError('decay_every_steps is for schedule = "steps", and needed there')
        if self.momentum and self.optimizer not in {"sgd", "rmsprop"}:
            raise ValueError(f"{self.optimizer} takes no momentum")
        return self


class SplitRecipe(_Part):
    """How the paper told training and test pictures apart: by chance, over pictures."""

    kind: Literal["holdout", "folds"]
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """With ``holdout``."""
    folds: Annotated[int, Field(ge=2)] = 10
    """With ``folds``."""
    augments_test: bool = False
    """The paper changed its test pictures as it changed the training ones."""
    splits_after_augmentation: bool = False
    """The paper augmented first, so changed copies of one picture stand on both sides."""


class StandIn(_Part):
    """Another collection's labels in the place of a task's classes, where the right data cannot be had."""

    classes: Mapping[str, tuple[str, ...]]
    because: str
    """A sentence for the report: what this run can and cannot say."""


class Task(_Part):
    """What is told apart: for each class the labels, in any collection's words, that belong to it."""

    title: str
    classes: Mapping[str, tuple[str, ...]]
    positive: str | None = None
    """The class that sensitivity speaks of, where there are two."""
    stand_ins: Mapping[str, StandIn] = Field(default_factory=dict)
    """By the name of the collection's format."""

    def class_of(self, label: str, *, format: str | None = None) -> str | None:  # noqa: A002
        """The class that a collection's label belongs to, whatever its case; None when to no class.

        ``format`` names the collection's format: where there is a stand-in for it, that decides.
        """
        stand_in = self.stand_ins.get(format or "")
        classes = self.classes if stand_in is None else stand_in.classes
        for name, labels in classes.items():
            if label.casefold() in {each.casefold() for each in labels}:
                return name
        return None

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> Self:
        for mapping in (self.classes, *(each.classes for each in self.stand_ins.values())):
            labels = [label for each in mapping.values() for label in each]
            if twice := sorted({label for label in labels if labels.count(label) > 1}):
                raise ValueError(f"{', '.join(twice)} would belong to two classes of {self.title!r}")
            if set(mapping) != set(self.classes):
                raise ValueError(f"a stand-in of {self.title!r} has other classes than the task")
        if len(self.classes) < 2:  # noqa: PLR2004 - one class tells nothing apart
            raise ValueError(f"{self.title!r} has fewer than two classes")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"{self.positive!r} is no class of {self.title!r}")
        return self


class Experiment(_Part):
    """One row of the paper: a task, and what differs from the recipe (``"network.colour" = "hsv"``).

    ``name`` becomes a folder's and a part of files' names; published figures may mean it by a pattern.
    """

    name: str
    title: str
    task: str
    set: Mapping[str, Any] = Field(default_factory=dict)
    classical: ClassicalRecipe | None = None

    @field_validator("name")
    @classmethod
    def _can_name_a_folder(cls, name: str) -> str:
        if not name.strip() or name != name.strip() or name.startswith("."):
            raise ValueError(
                f"{name!r} names no folder: it is empty, begins with a dot, or has a blank at an end"
            )
        if strange := sorted({each for each in name if each in _IN_NO_NAME or not each.isprintable()}):
            raise ValueError(f"{name!r} names no folder: it must be without {' '.join(map(repr, strange))}")
        return name


class PublishedFigure(_Part):
    """A number that the paper prints: shares in percent, losses as they are.

    ``metric`` is one of :data:`METRICS`; alone it speaks of the whole, which for sensitivity, specificity,
    precision, recall and F1 is the task's positive class; ``NAME/CLASS`` is a class's own, ``NAME/macro`` the
    mean over classes. ``fold`` counts from 1 and is None for the whole. An ``experiment`` with ``*`` in it
    stands for the mean over all experiments of such names.
    """

    table: str
    row: str
    experiment: str
    metric: str
    value: float
    fold: PositiveInt | None = None

    @property
    def measure(self) -> str:
        """The metric without the class."""
        return self.metric.partition("/")[0]

    @property
    def of(self) -> str | None:
        """The class (or ``macro``) that the metric speaks of; None for the whole."""
        return self.metric.partition("/")[2] or None

    @model_validator(mode="after")
    def _metric_is_known(self) -> Self:
        if self.measure not in METRICS:
            raise ValueError(f"{self.metric!r} is none of {', '.join(METRICS)}")
        return self


class PublishedConfusion(_Part):
    """A confusion matrix that the paper prints: a row per true class, a column per named one."""

    table: str
    experiment: str
    classes: tuple[str, ...]
    counts: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...]

    @model_validator(mode="after")
    def _square(self) -> Self:
        if {len(self.classes)} != {len(self.counts), *(len(row) for row in self.counts)}:
            raise ValueError(f"{self.table} is not square over {len(self.classes)} classes")
        return self


class Small(_Part):
    """What differs at a size that fits a CPU; the same rows, smaller."""

    differs: str
    """A sentence for the report."""
    epochs_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Of the epochs of each experiment, at least one."""
    set: Mapping[str, Any] = Field(default_factory=dict)
    """Overrides, as an experiment's."""


class Recipe(_Part):
    """A recipe file."""

    name: str
    title: str
    reference: Reference | None = None
    data: str
    """The collection that the recipe was published on, or is meant for, in words."""
    tasks: Mapping[str, Task]
    network: NetworkRecipe
    augmentation: AugmentationRecipe = AugmentationRecipe()
    training: TrainingRecipe
    published_split: SplitRecipe | None = None
    experiments: Annotated[tuple[Experiment, ...], Field(min_length=1)]
    published: tuple[PublishedFigure, ...] = ()
    published_confusions: tuple[PublishedConfusion, ...] = ()
    small: Small | None = None
    assumptions: tuple[str, ...] = ()
    """What the paper leaves open or contradicts itself in, and what stands here instead, a sentence each."""

    def published_for(self, experiment: str) -> tuple[PublishedFigure, ...]:
        """The figures that the paper prints for one experiment, in the order of the paper."""
        return tuple(each for each in self.published if each.experiment == experiment)

    @model_validator(mode="after")
    def _parts_name_each_other(self) -> Self:
        tasks = {each.name: each.task for each in self.experiments}
        if len(tasks) < len(self.experiments):
            raise ValueError("two experiments have the same name")
        for experiment, task in tasks.items():
            if task not in self.tasks:
                raise ValueError(f"experiment {experiment!r} has an unknown task {task!r}")
        figures: tuple[PublishedFigure | PublishedConfusion, ...] = (
            *self.published,
            *self.published_confusions,
        )
        for each in figures:
            meant = [name for name in tasks if fnmatchcase(name, each.experiment)]
            if not meant:
                raise ValueError(f"a figure of {each.table} has an unknown experiment {each.experiment!r}")
            classes = set(self.tasks[tasks[meant[0]]].classes)
            named = set(each.classes) if isinstance(each, PublishedConfusion) else {each.of or MACRO}
            if strangers := sorted(named - classes - {MACRO}):
                raise ValueError(f"a figure of {each.table} has an unknown class {strangers[0]!r}")
        return self
