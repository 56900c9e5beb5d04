"""How far two runs of the same network lie apart: pure comparison of answers, no runtime.

Raw arrays cannot be compared place by place: two objects of nearly equal score may change places. So
objects are paired by kind and overlap first. Every figure is a share, so that one tolerance fits all:
a difference of scores or probabilities as it is, an edge of a box as a share of the box's longer side, a
distance as a share of the distance limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.manifest import Classifier
from edge.contract.taxonomy import ObjectKind
from edge.engine.protocol import Outputs

SCORE_FLOOR: Final = 0.1
"""Objects below this score are noise on every network; they are not compared."""

PAIRING_IOU: Final = 0.5
"""Boxes that overlap less than this are two objects, not one that moved."""

OUT_OF_DISTRIBUTION: Final = "out of distribution"
DOUBTFUL: Final = "doubtful"
NOTHING: Final = "nothing"

Box = NDArray[Any] | tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """The objects of one picture: boxes (n, 4) in pixels, scores (n,) falling, indices of kinds (n,)."""

    boxes_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    kinds: NDArray[np.int64]

    def above(self, score: float) -> Detections:
        """Those whose score is at least ``score``."""
        kept = self.scores >= score
        return Detections(boxes_px=self.boxes_px[kept], scores=self.scores[kept], kinds=self.kinds[kept])


@dataclass(frozen=True, kw_only=True)
class CellAnswer:
    """A classifier's answer for one cell."""

    probabilities: tuple[float, ...]
    distance: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One object or cell under two runs; ``expected`` and ``found`` are what a station would have said.

    ``alone_by`` is for an object that one run alone gave: how far its score lies above that from which it is
    shown, 0 where it is not shown.
    """

    picture: str
    expected: str
    found: str
    value: float
    alone_by: float | None = None

    @property
    def in_reading(self) -> float:
        """How far apart the runs lie in what a person reads.

        That is the difference itself, but for an object that one run alone gave: the other run may have held
        it just below what is shown, so ``alone_by`` is all that is certain.
        """
        return self.value if self.alone_by is None else self.alone_by

    @property
    def agreed(self) -> bool:
        """Whether a person would have read the same."""
        return self.expected == self.found

    @property
    def shown(self) -> bool:
        """Whether a person would have read anything at all, under one run or the other."""
        return self.expected != NOTHING or self.found != NOTHING


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """All differences of a comparison."""

    differences: tuple[Difference, ...]

    @property
    def largest(self) -> Difference | None:
        """The worst one; None when nothing was compared."""
        return max(self.differences, key=lambda each: each.value, default=None)

    @property
    def largest_difference(self) -> float:
        """Its value; 0 when nothing was compared."""
        return self.largest.value if self.largest else 0.0

    @property
    def largest_in_reading(self) -> float:
        """The largest difference in what a person reads; 0 when nothing was compared."""
        return max((each.in_reading for each in self.differences), default=0.0)

    @property
    def mean_difference(self) -> float:
        """The mean over all objects and cells; 0 when nothing was compared."""
        return float(np.mean([each.value for each in self.differences])) if self.differences else 0.0

    @property
    def changed(self) -> tuple[Difference, ...]:
        """Those that a person would have read otherwise."""
        return tuple(each for each in self.differences if not each.agreed)

    @property
    def agreed_share(self) -> float:
        """The share that a person would have read the same; 1 when nothing was compared."""
        return 1 - self.changed_share

    @property
    def shown(self) -> Agreement:
        """Those alone that a person would have read, under one run or the other."""
        return Agreement(differences=tuple(each for each in self.differences if each.shown))

    @property
    def changed_share(self) -> float:
        """The share that a person would have read otherwise; 0 when nothing was compared."""
        return len(self.changed) / len(self.differences) if self.differences else 0.0

    def by_answer(self) -> dict[str, Agreement]:
        """The same, split by what was expected."""
        answers = sorted({each.expected for each in self.differences})
        return {
            answer: Agreement(differences=tuple(each for each in self.differences if each.expected == answer))
            for answer in answers
        }


def detections(outputs: Outputs, *, picture: int) -> Detections:
    """One picture's objects from a detector's outputs."""
    return Detections(
        boxes_px=outputs["boxes"][picture],
        scores=outputs["scores"][picture],
        kinds=outputs["kinds"][picture],
    )


def cell_answer(outputs: Outputs, *, picture: int) -> CellAnswer:
    """One cell's answer from a classifier's outputs."""
    return CellAnswer(
        probabilities=tuple(float(each) for each in outputs["probabilities"][picture]),
        distance=float(outputs["distance"][picture]),
    )


def compare_detections(
    *,
    picture: str,
    expected: Detections,
    found: Detections,
    kinds: Sequence[ObjectKind],
    limits: Mapping[ObjectKind, float],
) -> tuple[Difference, ...]:
    """The differences of one picture's objects, each object of ``expected`` paired with at most one.

    An object without a partner counts with its whole score: the other run gave it none. ``limits`` are the
    scores from which a station shows an object, by kind.
    """
    expected = expected.above(SCORE_FLOOR)
    unpaired = set(range(len(found.scores)))
    differences = []
    for box, score, kind in zip(expected.boxes_px, expected.scores, expected.kinds, strict=True):
        name = kinds[int(kind)]
        partner = _partner(box, int(kind), found=found, unpaired=unpaired)
        found_score, value = 0.0, float(score)
        if partner is not None:
            unpaired.discard(partner)
            found_score = float(found.scores[partner])
            edge_share = np.abs(found.boxes_px[partner] - box).max() / max(
                box[2] - box[0], box[3] - box[1], 1
            )
            value = max(abs(found_score - float(score)), float(edge_share))
        differences.append(
            Difference(
                picture=picture,
                expected=_shown(name, float(score), limits),
                found=_shown(name, found_score, limits),
                value=value,
                alone_by=max(0.0, float(score) - limits[name]) if partner is None else None,
            )
        )
    for place in sorted(unpaired):
        if (score := float(found.scores[place])) > SCORE_FLOOR:
            name = kinds[int(found.kinds[place])]
            # Its partner may lie just below the floor, where it was not written down.
            differences.append(
                Difference(
                    picture=picture,
                    expected=NOTHING,
                    found=_shown(name, score, limits),
                    value=score - SCORE_FLOOR,
                    alone_by=max(0.0, score - limits[name]),
                )
            )
    return tuple(differences)


def compare_cell(
    *, picture: str, expected: CellAnswer, found: CellAnswer, classifier: Classifier
) -> Difference:
    """The difference of one cell's answers; infinite where the found one is not made of numbers."""
    distance = abs(found.distance - expected.distance) / max(abs(classifier.distance_limit.value), 1e-9)
    probabilities = [
        abs(one - other) for one, other in zip(expected.probabilities, found.probabilities, strict=True)
    ]
    # Comparisons with NaN are false, so that a maximum would hide it.
    sound = all(math.isfinite(each) for each in (*found.probabilities, found.distance))
    return Difference(
        picture=picture,
        expected=_named(expected, classifier),
        found=_named(found, classifier),
        value=max(*probabilities, distance) if sound else math.inf,
    )


def _partner(box: NDArray[np.float32], kind: int, *, found: Detections, unpaired: set[int]) -> int | None:
    candidates = [place for place in unpaired if found.kinds[place] == kind and found.scores[place] > 0]
    overlaps = {place: overlap(box, found.boxes_px[place]) for place in candidates}
    best = max(candidates, key=lambda place: (overlaps[place], -place), default=None)
    return best if best is not None and overlaps[best] >= PAIRING_IOU else None


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, x0, y0, x1, y1; 0 where they do not touch."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = float(width * height)
    areas = float((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]))
    return common / (areas - common)


def _shown(kind: ObjectKind, score: float, limits: Mapping[ObjectKind, float]) -> str:
    return kind.value if score >= limits[kind] else NOTHING


def _named(answer: CellAnswer, classifier: Classifier) -> str:
    if answer.distance > classifier.distance_limit.value:
        return OUT_OF_DISTRIBUTION
    best = int(np.argmax(answer.probabilities))
    if answer.probabilities[best] < classifier.doubtful_below.value:
        return DOUBTFUL
    return classifier.classes[best]
