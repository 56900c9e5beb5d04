"""Average precision: how well a ranked list of boxes finds the labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.data.frames import Boxes, Kinds
from trainer.statistics import Interval, percentile_interval

MATCH_IOU: Final = 0.5
F1_SLACK: Final = 0.01
_REPLICATES: Final = 1000
_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a detector answered for one frame, in pixels of the frame: scores (n,) in any order."""

    boxes: Boxes
    scores: NDArray[np.float32]
    kinds: Kinds


@dataclass(frozen=True, kw_only=True, eq=False)
class Matches:
    """One kind's answers over all frames by falling score, and which of them hit a labelled object.

    ``frame`` (n,) tells the frame of each answer, ``labelled`` (frames,) the labelled objects of each frame.
    """

    scores: _Floats
    hit: NDArray[np.bool_]
    frame: NDArray[np.int64]
    labelled: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A score limit and what it gives on the frames that it was chosen on."""

    score: float
    precision: float
    recall: float
    f1: float


def iou_matrix(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """Intersection over union of each box (n, 4) with each box (m, 4): (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), dtype=np.float32)


def match(
    found: Sequence[Found], truth: Sequence[tuple[Boxes, Kinds]], *, kind: int, limit: float = MATCH_IOU
) -> Matches:
    """Match answers of ``kind`` to labels, frame by frame, best score first, each label once (PASCAL VOC).

    An answer hits when the free label that it overlaps most does so by at least ``limit``.
    """
    scores: list[NDArray[np.float32]] = []
    hits: list[NDArray[np.bool_]] = []
    frames: list[NDArray[np.int64]] = []
    labelled = np.zeros(len(truth), dtype=np.int64)
    for index, (answer, (boxes, kinds)) in enumerate(zip(found, truth, strict=True)):
        mine = np.flatnonzero(answer.kinds == kind)
        mine = mine[np.argsort(-answer.scores[mine], kind="stable")]
        wanted = boxes[kinds == kind]
        labelled[index] = len(wanted)
        overlaps = iou_matrix(answer.boxes[mine], wanted)
        hit = np.zeros(len(mine), dtype=np.bool_)
        for row, overlap in enumerate(overlaps):
            if len(wanted) and overlap.max() >= limit:
                hit[row] = True
                overlaps[:, overlap.argmax()] = -1
        scores.append(answer.scores[mine])
        hits.append(hit)
        frames.append(np.full(len(mine), index, dtype=np.int64))
    every = np.concatenate(scores).astype(np.float64)
    order = np.argsort(-every, kind="stable")
    return Matches(
        scores=every[order],
        hit=np.concatenate(hits)[order],
        frame=np.concatenate(frames)[order],
        labelled=labelled,
    )


def average_precision(matches: Matches, counts: NDArray[np.int64] | None = None) -> float:
    """Area under the precision envelope over recall, at all points (VOC 2010 and later).

    ``counts`` (frames,) says how often each frame is taken; once each by default. NaN without any label.
    """
    frame_counts = np.ones_like(matches.labelled) if counts is None else counts
    positives = int((matches.labelled * frame_counts).sum())
    if positives == 0:
        return float("nan")
    weight = frame_counts[matches.frame]
    hits = np.cumsum(weight * matches.hit)
    answers = np.maximum(np.cumsum(weight), 1)
    envelope = np.maximum.accumulate((hits / answers)[::-1])[::-1]
    return float((np.diff(hits, prepend=0) * envelope).sum() / positives)


def bootstrap(
    matches: Sequence[Matches],
    *,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
    replicates: int = _REPLICATES,
) -> list[Interval]:
    """Average precision of each kind, and last their mean, with percentile intervals over groups of frames.

    Whole groups are drawn with replacement, the same ones for every kind; without ``groups`` (frames,) each
    frame is one. Each kind needs a labelled object; draws that have none of it do not count.
    """
    rng = np.random.default_rng(seed)
    frames = len(matches[0].labelled)
    names, group_of = np.unique(np.arange(frames) if groups is None else groups, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)[:, group_of]
    counted = [np.ones(frames, dtype=drawn.dtype), *drawn]
    rows = np.array([[average_precision(each, counts) for each in matches] for counts in counted])
    return [percentile_interval(column) for column in (*rows.T, rows.mean(axis=1))]


def operating_point(matches: Matches, *, slack: float = F1_SLACK) -> OperatingPoint:
    """The lowest score limit whose F1 is within ``slack`` of the best; an answer at the limit counts.

    The best limit itself is often the top of a plateau as wide as the easy frames that it was found on are
    easy, and would lose cells on harder ones for nothing. Without answers or labels: the limit 1.
    """
    positives = int(matches.labelled.sum())
    if positives == 0 or len(matches.scores) == 0:
        return OperatingPoint(score=1.0, precision=0.0, recall=0.0, f1=0.0)
    hits = np.cumsum(matches.hit)
    answers = np.arange(1, len(hits) + 1)
    f1 = 2 * hits / (answers + positives)
    chosen = int(np.flatnonzero(f1 >= f1.max() - slack)[-1])
    return OperatingPoint(
        score=float(matches.scores[chosen]),
        precision=float(hits[chosen] / answers[chosen]),
        recall=float(hits[chosen] / positives),
        f1=float(f1[chosen]),
    )
