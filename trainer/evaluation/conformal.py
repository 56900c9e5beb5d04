"""Sets of classes that hold the true one as often as promised, as far as pictures are exchangeable.

Split conformal prediction (Vovk, Gammerman and Shafer 2005; Papadopoulos et al. 2002) with the score of
least ambiguous sets, one minus the probability of the true class (Sadinle, Lei and Wasserman, JASA 2019), and
its class-conditional (Mondrian) form.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.evaluation import ClassCoverage, Figure, PredictionSets
from trainer.evaluation.halves import Halves
from trainer.evaluation.intervals import Redrawn

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]
Sets = NDArray[np.bool_]
Kind = Literal["marginal", "by class"]

LEVELS: Final = (0.90, 0.95)
KINDS: Final[tuple[Kind, ...]] = ("marginal", "by class")
_ROUNDING: Final = 1e-9
_ONE_GROUP = "All pictures are of one group: sets cannot be judged on pictures they were not calibrated on."
_WORDS: Final = (
    "Sets of each half of the groups were calibrated on the other half. Their promise holds for exchangeable "
    "pictures: pictures of another laboratory are not, and pictures of one {word} are alike, so coverage may "
    "miss the level by more than single pictures would."
)


def least_probability(own: Scores, *, level: float) -> float:
    """The probability that a class needs to enter a set.

    ``own`` (n) are calibration pictures' probabilities of their true class. The ceil((n + 1) level)-th
    highest; with too few pictures for the level it is 0, and every class enters.
    """
    needed = int(np.ceil((len(own) + 1) * level - _ROUNDING))
    if needed > len(own):
        return 0.0
    return float(np.sort(own)[::-1][needed - 1])


def sets(probabilities: Scores, *, calibration: Scores, labels: Labels, level: float, kind: Kind) -> Sets:
    """Which classes are in the set of each picture (n, classes).

    ``calibration`` are the probabilities of other pictures, ``labels`` their true classes.
    """
    own = calibration[np.arange(len(labels)), labels]
    classes = range(probabilities.shape[1])
    if kind == "marginal":
        least = [least_probability(own, level=level)] * len(classes)
    else:
        least = [least_probability(own[labels == each], level=level) for each in classes]
    return np.asarray(probabilities >= np.asarray(least, dtype=np.float32))


def prediction_sets(
    probabilities: Scores,
    labels: Labels,
    half: Halves,
    drawn: Redrawn,
    *,
    classes: tuple[str, ...],
    level: float,
    kind: Kind,
) -> PredictionSets:
    """Sets at one level, each half of the groups calibrated on the other, and how they fare."""
    inside = np.ones(probabilities.shape, dtype=bool)
    for side in (0, 1):
        own, other = half == side, half != side
        inside[own] = sets(
            probabilities[own],
            calibration=probabilities[other],
            labels=labels[other],
            level=level,
            kind=kind,
        )
    size = inside.sum(axis=1)
    covered = inside[np.arange(len(labels)), labels]
    judged = len(np.unique(half)) > 1
    absent = Figure(value=None, pictures=len(labels), groups=len(np.unique(drawn.groups)), why=_ONE_GROUP)
    return PredictionSets(
        level=level,
        kind=kind,
        coverage=drawn.share(covered) if judged else absent,
        mean_size=drawn.mean(size) if judged else absent,
        empty=drawn.share(size == 0) if judged else absent,
        single=drawn.share(size == 1) if judged else absent,
        by_class=tuple(
            ClassCoverage(
                name=name,
                coverage=drawn.share(covered, of=labels == each, undefined=f"no picture of {name}"),
            )
            for each, name in enumerate(classes)
            if judged
        ),
        words=_WORDS.format(word=drawn.word) if judged else _ONE_GROUP,
    )
