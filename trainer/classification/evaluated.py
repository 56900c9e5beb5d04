"""What a run answers for its training and held-out cells, and the operating point that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.classification.corpus import Corpus
from trainer.classification.deploy import load_network
from trainer.classification.fit import ClassifierRecipe
from trainer.classification.measure import Measured, measure
from trainer.classification.network import CellNetwork
from trainer.classification.pictures import CellPicture
from trainer.data.splits import Split
from trainer.errors import RunError
from trainer.evaluation import calibration
from trainer.evaluation.distance import DistanceModel, fit_distance
from trainer.run import RunDirectory

DOUBTFUL_SHARE: Final = 0.10
LIMIT_PERCENTILE: Final = 97.5


Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What the house run's held-out cells decide for every run of the recipe.

    ``limit_ratio`` is the distance limit over the median distance of the training cells.
    """

    temperature: float
    doubtful_below: float
    limit_ratio: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """A run's answers with the distance model that belongs to it.

    ``train`` holds the drawn cells too, without block or series (-1).
    """

    train: Measured
    held_out: Measured | None
    distance: DistanceModel
    median_distance: float

    def unseen(self) -> Measured:
        """The held-out cells. Raises RunError for a run that trained on everything."""
        if self.held_out is None:
            raise RunError(
                "This run has no held-out cells: it trained on all.",
                remedy="Name an evaluated cross-validation with --measured.",
            )
        return self.held_out

    def doubtful(self, cells: Measured, point: OperatingPoint) -> NDArray[np.bool_]:
        """Which cells come out as doubtful or out of distribution."""
        confidence = calibration.softmax(cells.logits, temperature=point.temperature).max(axis=1)
        far = self.distance(cells.features) > point.limit_ratio * self.median_distance
        return np.asarray((confidence < point.doubtful_below) | far)


def answers(run: RunDirectory, corpus: Corpus, split: Split, recipe: ClassifierRecipe) -> Evaluated:
    """Ask a run's network for its training and its held-out cells, and fit its distance."""
    return answers_of(load_network(run), corpus, split, recipe)


def answers_of(network: CellNetwork, corpus: Corpus, split: Split, recipe: ClassifierRecipe) -> Evaluated:
    """The same of a network at hand, in eval mode: any version of a run's."""

    def ask(pictures: Sequence[CellPicture], blocks: Labels, series: Labels) -> Measured:
        return measure(
            network,
            pictures,
            blocks=blocks,
            series=series,
            margin=recipe.crop_margin,
            size_px=recipe.size_px,
        )

    def real(indices: Sequence[int]) -> tuple[Sequence[CellPicture], Labels, Labels]:
        return corpus.chosen(indices), corpus.blocks_of(indices), corpus.series_of(indices)

    pictures, blocks, series = real(split.train)
    nowhere = np.full(len(corpus.virtual), -1, dtype=np.int64)
    train = ask(
        [*pictures, *corpus.virtual],
        np.concatenate([blocks, nowhere]),
        np.concatenate([series, nowhere]),
    )
    model = fit_distance(
        np.concatenate([train.features, train.restained_features]),
        np.concatenate([train.labels, train.labels]),
        np.concatenate([train.domains, train.domains]),
    )
    return Evaluated(
        train=train,
        held_out=ask(*real(split.held_out)) if split.held_out else None,
        distance=model,
        median_distance=float(np.median(model(train.features))),
    )


def operating_point(house: Evaluated) -> OperatingPoint:
    """Temperature and limits from the house run's held-out cells."""
    cells = house.unseen()
    temperature = calibration.fit_temperature(cells.logits, cells.labels)
    probabilities = calibration.softmax(cells.logits, temperature=temperature)
    right = probabilities.argmax(axis=1) == cells.labels
    limit = float(np.percentile(house.distance(cells.features), LIMIT_PERCENTILE))
    return OperatingPoint(
        temperature=temperature,
        doubtful_below=float(np.quantile(probabilities.max(axis=1)[right], DOUBTFUL_SHARE)),
        limit_ratio=limit / house.median_distance,
    )
