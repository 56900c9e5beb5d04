"""Measures a detector on labelled frames, the way a station would see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels
from edge.vision.letterbox import letterboxed
from trainer.data.frames import KINDS, LabelledFrame
from trainer.detection.compose import UM_PER_PX
from trainer.detection.deploy import DeployableDetector
from trainer.detection.network import HEIGHT_PX, WIDTH_PX
from trainer.detection.precision import (
    Found,
    Matches,
    OperatingPoint,
    bootstrap,
    match,
    operating_point,
)
from trainer.statistics import Interval, wilson

Answers = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
Detect = Callable[[Pixels], Answers]
"""A batch of inputs, uint8 (n, h, w, 3), to boxes (n, k, 4), scores (n, k) and kinds (n, k)."""
LARGEST_CELL_UM: Final = 30.0
_BATCH: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a detector reached on labelled frames; mappings by kind, ``mean`` over the kinds.

    A kind of which no frame has a labelled object is in none of the mappings. ``groups`` were redrawn whole.
    """

    frames: int
    groups: int
    objects: dict[ObjectKind, int]
    precision: dict[ObjectKind, Interval]
    mean: Interval
    operating: dict[ObjectKind, OperatingPoint]


@dataclass(frozen=True, kw_only=True)
class Recall:
    """How many pictures had their central white cell found, with Wilson's 95% interval."""

    pictures: int
    found: int
    estimate: Interval


def torch_detect(detector: DeployableDetector) -> Detect:
    """The exported network's own forward pass, on the CPU."""

    def detect(batch: Pixels) -> Answers:
        with torch.inference_mode():
            boxes, scores, kinds = detector(torch.from_numpy(batch))
        return boxes.numpy(), scores.numpy(), kinds.numpy()

    return detect


def find(detect: Detect, frames: Sequence[LabelledFrame], *, scaled: bool = False) -> list[Found]:
    """A detector's answers for each frame, in pixels of the frame, unused places left out.

    ``scaled`` brings frames to the network's own scale by their micrometres; else each fills the input.
    """
    found: list[Found] = []
    for start in range(0, len(frames), _BATCH):
        part = frames[start : start + _BATCH]
        placed = [
            letterboxed(
                frame.pixels,
                width_px=WIDTH_PX,
                height_px=HEIGHT_PX,
                largest_scale=frame.um_per_px / UM_PER_PX if scaled else None,
            )
            for frame in part
        ]
        boxes, scores, kinds = detect(np.stack([pixels for pixels, _ in placed]))
        for index, (frame, (_, box)) in enumerate(zip(part, placed, strict=True)):
            used = scores[index] > 0
            limits = np.array([frame.pixels.shape[1], frame.pixels.shape[0]] * 2, dtype=np.float32)
            clipped = np.clip(box.to_frame(boxes[index][used]), 0, limits)
            found.append(Found(boxes=clipped, scores=scores[index][used], kinds=kinds[index][used]))
    return found


def evaluate(
    found: Sequence[Found],
    frames: Sequence[LabelledFrame],
    *,
    groups: NDArray[np.int64] | None = None,
    replicates: int = 1000,
) -> Evaluation:
    """Average precision at IoU 0.5 by kind with intervals over groups, and score limits near the best F1.

    ``groups`` (frames,) number what frames come from; without them each frame stands for itself.
    """
    matches = {
        kind: part for kind, part in zip(KINDS, matched(found, frames), strict=True) if part.labelled.any()
    }
    *each, mean = bootstrap(list(matches.values()), groups=groups, replicates=replicates)
    return Evaluation(
        frames=len(frames),
        groups=len(frames) if groups is None else len(np.unique(groups)),
        objects={kind: int(part.labelled.sum()) for kind, part in matches.items()},
        precision=dict(zip(matches, each, strict=True)),
        mean=mean,
        operating={kind: operating_point(part) for kind, part in matches.items()},
    )


def matched(found: Sequence[Found], frames: Sequence[LabelledFrame]) -> list[Matches]:
    """Answers matched to labels, for each kind."""
    truth = [(frame.boxes, frame.kinds) for frame in frames]
    return [match(found, truth, kind=kind) for kind in range(len(KINDS))]


def central_recall(found: Sequence[Found], frames: Sequence[LabelledFrame], *, score: float) -> Recall:
    """Share of single-cell pictures whose cell is found: a white cell's box lies over the picture's middle.

    Whoever collected such pictures put the cell there, which makes the middle a label drawn by a person. A
    box counts at ``score`` and up to `LARGEST_CELL_UM`.
    """
    white = KINDS.index(ObjectKind.WBC)
    hits = 0
    for answer, frame in zip(found, frames, strict=True):
        boxes = answer.boxes[(answer.kinds == white) & (answer.scores >= score)]
        middle = np.array([frame.pixels.shape[1], frame.pixels.shape[0]]) / 2
        over = (boxes[:, :2] <= middle).all(axis=1) & (boxes[:, 2:] >= middle).all(axis=1)
        small = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) * frame.um_per_px <= LARGEST_CELL_UM
        hits += bool((over & small).any())
    return Recall(pictures=len(frames), found=hits, estimate=wilson(hits, len(frames)))
