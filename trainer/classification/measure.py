"""What a network answers for cells that it has not seen, kept as arrays, and the figures made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.manifest import Metric
from trainer.augment.recipe import STAIN_ONLY, vary
from trainer.classification.fit import features_of, logits_of_features
from trainer.classification.network import CellNetwork
from trainer.classification.pictures import CellPicture, crops
from trainer.data.cells import CLASSES
from trainer.evaluation.baselines import colour_statistics
from trainer.statistics import Interval, balanced_accuracy, block_bootstrap

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLAST: Final = CLASSES.index("blast")
_JITTER_SEED: Final = 5
_GROUPED_BY: Final = "block of neighbouring file names"


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Answers for n cells: ``logits`` (n, classes) and ``features``, and the same of restained crops.

    ``colours`` are six colour statistics of the crop as it is, ``restained_colours`` of the restained one.
    """

    labels: Labels
    domains: Labels
    blocks: Labels
    series: Labels
    logits: Scores
    features: Scores
    colours: Scores
    restained_logits: Scores
    restained_features: Scores
    restained_colours: Scores

    def only(self, mask: Mask) -> Measured:
        """Some of the cells."""
        return Measured(**{name: values[mask] for name, values in vars(self).items()})

    def restained(self) -> Measured:
        """The same cells as if the restained crop had been the picture."""
        return Measured(
            **{
                **vars(self),
                "logits": self.restained_logits,
                "features": self.restained_features,
                "colours": self.restained_colours,
            }
        )


def measure(
    network: CellNetwork,
    pictures: Sequence[CellPicture],
    *,
    blocks: Labels,
    series: Labels,
    margin: float,
    size_px: int,
) -> Measured:
    """Ask the network for every cell, once as it is and once restained at random (always the same way).

    ``series`` numbers each cell's series of acquisition: blocks are redrawn within it, so that no draw loses
    the only laboratory that knows a class.
    """
    plain = crops(pictures, margin=margin, size_px=size_px)
    rng = np.random.default_rng(_JITTER_SEED)
    restained = np.stack([vary(each, rng, recipe=STAIN_ONLY) for each in plain])
    features, restained_features = features_of(network, plain), features_of(network, restained)
    return Measured(
        labels=np.array([each.label for each in pictures], dtype=np.int64),
        domains=np.array([each.domain for each in pictures], dtype=np.int64),
        blocks=blocks,
        series=series,
        logits=logits_of_features(network, features),
        features=features,
        colours=colour_statistics(plain),
        restained_logits=logits_of_features(network, restained_features),
        restained_features=restained_features,
        restained_colours=colour_statistics(restained),
    )


def balanced_accuracy_metric(cells: Measured, named: Labels, *, name: str, measured_on: str) -> Metric:
    """Balanced accuracy with its block bootstrap interval."""
    return _metric(
        cells,
        lambda chosen: balanced_accuracy(cells.labels[chosen], named[chosen]),
        name=name,
        measured_on=measured_on,
    )


def share_metric(cells: Measured, hit: Mask, *, name: str, measured_on: str) -> Metric:
    """The share of cells for which ``hit`` holds, with its block bootstrap interval."""
    return _metric(cells, lambda chosen: float(hit[chosen].mean()), name=name, measured_on=measured_on)


def error_metric(
    cells: Measured, figure: Callable[[Labels], float], *, name: str, measured_on: str
) -> Metric:
    """Any figure of chosen cells, with its block bootstrap interval."""
    return _metric(cells, figure, name=name, measured_on=measured_on)


def plain_metric(cells: Measured, value: float, *, name: str, measured_on: str) -> Metric:
    """A figure without an interval."""
    return Metric(
        name=name,
        value=value,
        samples=len(cells.labels),
        groups=len(np.unique(cells.blocks)),
        grouped_by=_GROUPED_BY,
        measured_on=measured_on,
    )


def confusion(truth: Labels, named: Labels) -> tuple[tuple[int, ...], ...]:
    """``[i][j]``: cells of class i that were named class j."""
    counts = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(counts, (truth, named), 1)
    return tuple(tuple(int(each) for each in row) for row in counts)


def _metric(cells: Measured, figure: Callable[[Labels], float], *, name: str, measured_on: str) -> Metric:
    found: Interval = block_bootstrap(figure, cells.blocks, strata=cells.series)
    return plain_metric(cells, found.value, name=name, measured_on=measured_on).model_copy(
        update={"low": found.low, "high": found.high}
    )
