"""The golden set: proves on the device itself that an engine answers as the exported network did.

The bundle carries frames and cells at the networks' input size, and the FP32 answers to them. A runtime
that was built for another chip, a wrong precision or a miscompiled kernel shows here before it sees a
patient's smear.

FP32 computes the function that was trained, in another order at most: every answer must lie within the
tolerance, those too that stay below what a station shows. A coarser precision, for which the manifest names a
share in ``changed``, is judged by two limits:

- no answer that a person would read, under either run, may differ by more than the tolerance in what is read;
  and
- at most that share of each network's such answers may be read otherwise (another class, doubtful, or an
  object that came or went).

An object that came or went differs by what its score exceeds the one from which it is shown, and an object
that neither run shows not at all. The detector keeps the best of objects that overlap and holds the others
down; where two are nearly as good, the least rounding exchanges them, and the score of the other jumps: by
0.15 in FP16, where not one answer changed, and by 0.37 in INT8 with half of the layers in float, where 1 of
630 did. Such jumps say nothing about whether an engine is right. A white cell that is lost still differs by
far more than any tolerance.

The set finds an engine that answers otherwise, not every fault in one. Every range cut to a half, or every
step ten times as large, fails by far; one layer's range cut to a quarter was found in half of the cases, and
one layer's steps four times as large in none, for the networks still found and named the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundle import Bundle
from edge.contract.manifest import Precision, RelativePath
from edge.contract.taxonomy import ObjectKind
from edge.engine.agreement import (
    Agreement,
    CellAnswer,
    Detections,
    cell_answer,
    compare_cell,
    compare_detections,
    detections,
)
from edge.engine.protocol import Engine
from edge.errors import BundleError, EngineError
from edge.frame import Pixels

SCHEMA: Final = "leukoscope/golden/1"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GoldenObject(_Part):
    """One object of a frame; the box is in pixels of the detector's input."""

    object: ObjectKind
    score: Annotated[float, Field(ge=0, le=1)]
    box_px: tuple[float, float, float, float]


class GoldenCell(_Part):
    """The answer for one cell; the probabilities stand in the order of the manifest's classes."""

    probabilities: tuple[float, ...]
    distance: float


class GoldenAnswers(_Part):
    """The file of answers: every golden picture with what the FP32 networks said of it."""

    schema_id: Annotated[Literal["leukoscope/golden/1"], Field(alias="schema")] = SCHEMA
    frames: Mapping[RelativePath, tuple[GoldenObject, ...]]
    cells: Mapping[RelativePath, GoldenCell]

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


@dataclass(frozen=True, kw_only=True)
class GoldenReport:
    """What a golden check found, for both networks."""

    precision: Precision
    tolerance: float
    changed: float | None
    """The largest share of answers that may be read otherwise; None where differences alone are judged."""
    frames: int
    cells: int
    objects: Agreement
    names: Agreement

    @property
    def judged(self) -> tuple[Agreement, Agreement]:
        """The answers that the limits hold for, of the detector and of the classifier."""
        if self.changed is None:
            return self.objects, self.names
        return self.objects.shown, self.names.shown

    @property
    def largest_difference(self) -> float:
        """Of all judged scores, probabilities, boxes and distances; see :mod:`edge.engine.agreement`."""
        if self.changed is None:
            return max(each.largest_difference for each in self.judged)
        return max(each.largest_in_reading for each in self.judged)

    @property
    def changed_share(self) -> float:
        """The share of judged answers that a person would read otherwise, of the worse network."""
        return max(each.changed_share for each in self.judged)

    @property
    def agreed_share(self) -> float:
        """The share of judged objects and cells that a person would have read the same."""
        objects, names = self.judged
        return Agreement(differences=objects.differences + names.differences).agreed_share

    @property
    def passed(self) -> bool:
        """Whether the engines may serve."""
        within = self.largest_difference <= self.tolerance
        return within and (self.changed is None or self.changed_share <= self.changed)

    def __str__(self) -> str:
        """One line for a person."""
        verdict = "passed" if self.passed else "FAILED"
        said = (
            f"golden set {verdict}: {self.frames} frames and {self.cells} cells in {self.precision}, "
            f"largest difference {self.largest_difference:.2g} (allowed {self.tolerance:.2g}), "
            f"{self.agreed_share:.1%} of the answers unchanged"
        )
        if self.changed is None:
            return said
        objects, names = self.judged
        return (
            f"{said} (changed: {objects.changed_share:.1%} of the objects, {names.changed_share:.1%} of the "
            f"cells; allowed {self.changed:.1%} of each)"
        )


def check_golden(
    *, bundle: Bundle, detector: Engine, classifier: Engine, precision: Precision = "fp32"
) -> GoldenReport:
    """Run both engines on the bundle's golden set, one picture at a time, and compare the answers.

    Raises BundleError when the set itself cannot be used, EngineError when an engine fails or the bundle
    states no tolerance for ``precision``.
    """
    golden = bundle.manifest.golden
    if precision not in golden.tolerance:
        raise EngineError(
            f"The bundle's golden set has no tolerance for {precision}.",
            remedy=f"Set the precision to one it has: {', '.join(sorted(golden.tolerance))}.",
        )
    answers = read_answers(bundle)
    kinds = bundle.manifest.detector.kinds
    limits = {kind: limit.value for kind, limit in bundle.manifest.detector.thresholds.items()}
    objects = [
        difference
        for name in golden.frames
        for difference in compare_detections(
            picture=name,
            expected=_expected_detections(answers.frames[name], kinds=kinds),
            found=detections(detector.run(read_picture(bundle, name)[np.newaxis]), picture=0),
            kinds=kinds,
            limits=limits,
        )
    ]
    names = [
        compare_cell(
            picture=name,
            expected=CellAnswer(
                probabilities=answers.cells[name].probabilities, distance=answers.cells[name].distance
            ),
            found=cell_answer(classifier.run(read_picture(bundle, name)[np.newaxis]), picture=0),
            classifier=bundle.manifest.classifier,
        )
        for name in golden.cells
    ]
    return GoldenReport(
        precision=precision,
        tolerance=golden.tolerance[precision],
        changed=(golden.changed or {}).get(precision),
        frames=len(golden.frames),
        cells=len(golden.cells),
        objects=Agreement(differences=tuple(objects)),
        names=Agreement(differences=tuple(names)),
    )


def read_answers(bundle: Bundle) -> GoldenAnswers:
    """The golden answers, one for every golden picture. Raises BundleError where they do not fit."""
    place = bundle.path(bundle.manifest.golden.answers)
    try:
        answers = GoldenAnswers.model_validate_json(place.read_bytes())
    except ValidationError as error:
        raise BundleError(
            f"{place} holds no golden answers: {error.error_count()} faults, the first: "
            f"{error.errors()[0]['msg']}.",
            remedy="Get the bundle again, or export it again.",
        ) from error
    golden = bundle.manifest.golden
    strange = set(golden.frames) ^ set(answers.frames) | set(golden.cells) ^ set(answers.cells)
    classes = len(bundle.manifest.classifier.classes)
    strange |= {name for name, cell in answers.cells.items() if len(cell.probabilities) != classes}
    kinds = set(bundle.manifest.detector.kinds)
    strange |= {name for name, found in answers.frames.items() if {each.object for each in found} - kinds}
    if strange:
        raise BundleError(
            f"{place} does not fit the golden pictures: {', '.join(sorted(strange))}.",
            remedy="Export the bundle again.",
        )
    return answers


def read_picture(bundle: Bundle, relative: RelativePath) -> Pixels:
    """One golden picture as RGB. Raises BundleError when it cannot be decoded."""
    place = bundle.path(relative)
    decoded = cv2.imread(str(place), cv2.IMREAD_COLOR)
    if decoded is None:
        raise BundleError(f"The golden picture {place} cannot be decoded.", remedy="Export the bundle again.")
    return np.ascontiguousarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _expected_detections(objects: tuple[GoldenObject, ...], *, kinds: tuple[ObjectKind, ...]) -> Detections:
    boxes: NDArray[np.float32] = np.array([each.box_px for each in objects], np.float32).reshape(-1, 4)
    return Detections(
        boxes_px=boxes,
        scores=np.array([each.score for each in objects], np.float32),
        kinds=np.array([kinds.index(each.object) for each in objects], np.int64),
    )
