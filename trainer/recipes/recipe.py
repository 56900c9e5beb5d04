"""The shape of a recipe file: a network, how it is trained, how it is judged, what its paper published.

A recipe is a TOML file. Its ``experiments`` are the rows of the paper's tables: each names a task, and
overrides what differs from the recipe's own settings. Nothing that a paper leaves open is decided in code:
the choice stands in the file, and ``assumptions`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

ColourModel = Literal["rgb", "hsv", "ycbcr", "h-cb-cr"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(_Part):
    """Where a system was published."""

    authors: str
    title: str
    venue: str
    year: int
    doi: str | None = None


class HiddenLayer(_Part):
    """A new fully connected layer with ReLU, before the layer that answers."""

    units: PositiveInt
    batch_norm: bool = False
    dropout: Probability = 0.0


class NetworkRecipe(_Part):
    """A network.

    ``architecture``: ``plain-cnn`` (built from ``maps``), a torchvision name, or ``timm:NAME``. ``replaces``
    says from where on the pretrained network's layers give way to the new ones: ``head`` (all fully connected
    layers) or ``last`` (the last one alone).
    """

    architecture: str
    size_px: PositiveInt
    colour: ColourModel = "rgb"
    pretrained: bool = True
    replaces: Literal["head", "last"] = "last"
    frozen_trunk: bool = False
    hidden: tuple[HiddenLayer, ...] = ()
    dropout: Probability = 0.0
    maps: tuple[PositiveInt, ...] = ()


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
    """Geometric changes of a training picture.

    ``apply``: ``all`` changes are drawn together for each picture and epoch; ``copies`` makes one changed
    copy of every picture per named change, once, beside the picture itself.
    """

    apply: Literal["all", "copies"] = "all"
    rotation_degrees: tuple[float, ...] = ()
    """Angles to draw from."""
    rotation_up_to_degrees: float = 0.0
    """Or: any angle between minus and plus this."""
    mirror_horizontal: bool = False
    mirror_vertical: bool = False
    shift_px: tuple[float, float] | None = None
    """Shift along each axis by this many pixels, least and most, either way."""
    shift_width: Fraction = 0.0
    shift_height: Fraction = 0.0
    zoom: Fraction = 0.0
    shear_degrees: float = 0.0
    fill: Literal["nearest", "black", "white"] = "nearest"
    stain: bool = False
    """Restain the picture at random: a house recipe's habit, no paper's."""


class TrainingRecipe(_Part):
    """How a network is fitted."""

    optimizer: Literal["sgd", "adam", "rmsprop", "adamw"]
    rate: Annotated[float, Field(gt=0)]
    momentum: Probability = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
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
    label_smoothing: Probability = 0.0
    equalise_classes: bool = False
    """Every class gives as many training pictures as the smallest has."""
    seed: int = 1


class SplitRecipe(_Part):
    """How the paper told training and test pictures apart: by chance, over pictures."""

    kind: Literal["holdout", "folds"]
    test_share: Fraction = 0.2
    folds: PositiveInt = 10
    augments_test: bool = False
    """The paper changed its test pictures as it changed the training ones."""
    splits_after_augmentation: bool = False
    """The paper augmented first, so changed copies of one picture stand on both sides."""


class Task(_Part):
    """What is told apart: for each class the labels, in any collection's words, that belong to it."""

    title: str
    classes: Mapping[str, tuple[str, ...]]
    positive: str | None = None
    """The class that sensitivity speaks of, where there are two."""


class Experiment(_Part):
    """One row of the paper: a task, and what differs from the recipe (``"network.colour" = "hsv"``)."""

    name: str
    title: str
    task: str
    set: Mapping[str, Any] = Field(default_factory=dict)
    classical: ClassicalRecipe | None = None


class PublishedFigure(_Part):
    """A number that the paper prints, in percent as it prints it.

    ``metric`` is one of evaluation's names (``accuracy``, ``sensitivity``, ``specificity``, ``precision``,
    ``f1``, ``training_accuracy``), with ``/class`` behind it where it is a class's own.
    """

    table: str
    row: str
    experiment: str
    metric: str
    value: float


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
    assumptions: tuple[str, ...] = ()
    """What the paper leaves open, and what stands here instead, a sentence each."""
