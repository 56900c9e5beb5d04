"""A field in, cells out: the detector on the frame, then the classifier on full-resolution crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.analysis import tiling
from edge.analysis.cells import Cell, Naming
from edge.contract.manifest import Classifier, Detector
from edge.contract.taxonomy import ObjectKind
from edge.engine.protocol import Engine
from edge.frame import Pixels
from edge.vision.crop import crop_square
from edge.vision.letterbox import Letterbox

_SEAM_IOU = 0.5
"""Two boxes of one kind that overlap more are one object seen by two neighbouring tiles."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectorInputs:
    """What a detector is shown of a frame: a picture of its input size for each tile."""

    tiles: tuple[tiling.Tile, ...]
    pictures: tuple[tuple[Pixels, Letterbox], ...]


class FieldAnalyzer:
    """Finds the objects in a field and names its white cells, as the bundle's manifest says.

    Stateless between calls, and as safe to share between threads as its two engines are.
    """

    def __init__(
        self, *, detector: Engine, classifier: Engine, detector_facts: Detector, classifier_facts: Classifier
    ) -> None:
        self._detector = detector
        self._classifier = classifier
        self._finding = detector_facts
        self._naming = classifier_facts

    def prepare(self, pixels: Pixels, *, um_per_px: float | None = None) -> DetectorInputs:
        """A part of `analyze` that needs no network: another thread may do it beforehand.

        Raises ValueError for a scale that cannot be this frame's.
        """
        facts = self._finding
        input_px = (facts.input.width_px, facts.input.height_px)
        tiles = tiling.plan_tiles(
            frame_px=(pixels.shape[1], pixels.shape[0]),
            input_px=input_px,
            frame_um_per_px=um_per_px,
            input_um_per_px=facts.um_per_px,
        )
        return DetectorInputs(
            tiles=tiles, pictures=tuple(tiling.cut_tile(pixels, tile, input_px) for tile in tiles)
        )

    def analyze(
        self,
        pixels: Pixels,
        *,
        um_per_px: float | None = None,
        min_score: float | None = None,
        prepared: DetectorInputs | None = None,
    ) -> tuple[Cell, ...]:
        """Everything found in ``pixels``, best score first; white cells named, all in one batch.

        ``min_score`` replaces the manifest's thresholds, for evaluation; ``prepared`` is what `prepare` gave
        for these pixels. Raises ValueError for a scale that cannot be this frame's, EngineError when a
        network fails.
        """
        inputs = prepared or self.prepare(pixels, um_per_px=um_per_px)
        cells = self._find(inputs, frame_px=(pixels.shape[1], pixels.shape[0]), min_score=min_score)
        white = [cell for cell in cells if cell.kind is ObjectKind.WBC]
        crops = [self.crop(pixels, cell.box_px) for cell in white]
        named = {
            id(cell): Cell(box_px=cell.box_px, kind=cell.kind, score=cell.score, naming=naming, crop=crop)
            for cell, crop, naming in zip(white, crops, self.name(crops), strict=True)
        }
        return tuple(named.get(id(cell), cell) for cell in cells)

    def crop(self, pixels: Pixels, box_px: tuple[float, float, float, float]) -> Pixels:
        """The square around a cell that the classifier takes, cut at full resolution."""
        return crop_square(
            pixels, box_px, margin=self._naming.crop_margin, size_px=self._naming.input.width_px
        )

    def name(self, crops: Sequence[Pixels]) -> tuple[Naming, ...]:
        """The classifier's answers for ``crops`` of its input size, in one batch."""
        if not crops:
            return ()
        answers = self._classifier.run(np.stack(crops))
        return tuple(
            self._judge(probabilities, float(distance))
            for probabilities, distance in zip(answers["probabilities"], answers["distance"], strict=True)
        )

    def _judge(self, probabilities: NDArray[np.float32], distance: float) -> Naming:
        facts = self._naming
        best = int(np.argmax(probabilities))
        probability = float(probabilities[best])
        return Naming(
            cell_class=facts.classes[best],
            probability=probability,
            probabilities=dict(zip(facts.classes, map(float, probabilities), strict=True)),
            distance=distance,
            out_of_distribution=distance > facts.distance_limit.value,
            doubtful=probability < facts.doubtful_below.value,
        )

    def find(
        self, pixels: Pixels, *, um_per_px: float | None = None, min_score: float | None = None
    ) -> list[Cell]:
        """The detector's part of ``analyze``: everything found, best score first, nothing named."""
        inputs = self.prepare(pixels, um_per_px=um_per_px)
        return self._find(inputs, frame_px=(pixels.shape[1], pixels.shape[0]), min_score=min_score)

    def _find(
        self, inputs: DetectorInputs, *, frame_px: tuple[int, int], min_score: float | None
    ) -> list[Cell]:
        facts = self._finding
        limits = np.asarray(
            [facts.thresholds[kind].value if min_score is None else min_score for kind in facts.kinds]
        )
        found: list[Cell] = []
        for tile, (picture, letterbox) in zip(inputs.tiles, inputs.pictures, strict=True):
            answers = self._detector.run(picture[None])
            boxes = tiling.to_frame(answers["boxes"][0], tile, letterbox, frame_px)
            scores, kinds = answers["scores"][0], answers["kinds"][0]
            # A box of no area is what remains of one that lay wholly beyond the frame's edge.
            has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
            kept = np.flatnonzero(
                has_area & (scores > 0) & (scores >= limits[kinds]) & tiling.owned(boxes, tile)
            )
            # Plain lists: a numpy number costs far more to handle than a Python one.
            placed = zip(boxes[kept].tolist(), scores[kept].tolist(), kinds[kept].tolist(), strict=True)
            found += [
                Cell(box_px=(x0, y0, x1, y1), kind=facts.kinds[kind], score=score)
                for (x0, y0, x1, y1), score, kind in placed
            ]
        found.sort(key=lambda cell: -cell.score)
        return found if len(inputs.tiles) == 1 else _without_seam_doubles(found)


def _without_seam_doubles(cells: Sequence[Cell]) -> list[Cell]:
    """Drop the weaker of two boxes of one kind that lie on one another; ``cells`` come best first."""
    kept: list[Cell] = []
    for cell in cells:
        if all(other.kind is not cell.kind or _iou(other, cell) <= _SEAM_IOU for other in kept):
            kept.append(cell)
    return kept


def _iou(one: Cell, other: Cell) -> float:
    """Intersection over union of two boxes with area."""
    ax0, ay0, ax1, ay1 = one.box_px
    bx0, by0, bx1, by1 = other.box_px
    shared = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
    return shared / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared)
