"""What a network's figures lost between two versions of it that answered the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.detection.precision import Matches, average_precision
from trainer.quantization.report import Cost
from trainer.statistics import percentile_interval, redraw

_DRAWS: Final = 1000
_SEED: Final = 0
_POINTS: Final = 100
_Floats = NDArray[np.float64]


def classifier_costs(
    labels: ArrayLike,
    *,
    before: ArrayLike,
    after: ArrayLike,
    classes: Sequence[str],
    groups: ArrayLike,
    strata: ArrayLike | None = None,
) -> tuple[Cost, tuple[Cost, ...]]:
    """The loss of balanced accuracy, and of each class's recall, for classes that occur in ``labels`` (n).

    ``before`` and ``after`` (n) are the classes named. ``groups`` are redrawn for both versions at once,
    within ``strata``.
    """
    truth = np.asarray(labels)
    drawn = redraw(groups, draws=_DRAWS, seed=_SEED, strata=strata)
    count = drawn.counts.shape[1]
    member = truth[:, None] == np.arange(len(classes))
    counts = drawn.sums(member)
    present = member.any(axis=0)
    recalls = []
    for named in (before, after):
        hits = drawn.sums(member & (np.asarray(named) == truth)[:, None])
        recalls.append(np.divide(hits, counts, out=np.full_like(hits, np.nan), where=counts > 0))
    first, second = (each[:, present] for each in recalls)
    total = _cost(
        "mean", np.nanmean(first, axis=1), np.nanmean(second, axis=1), samples=int(member.sum()), groups=count
    )
    names = [name for name, here in zip(classes, present, strict=True) if here]
    each = tuple(
        _cost(name, first[:, place], second[:, place], samples=int(counts[0, present][place]), groups=count)
        for place, name in enumerate(names)
    )
    return total, each


def one_answer_points(by_class: Sequence[Cost]) -> float:
    """What one answer of the rarest class weighs in the mean recall."""
    return _POINTS / len(by_class) / min(each.samples for each in by_class)


def detector_costs(
    before: Sequence[Matches],
    after: Sequence[Matches],
    *,
    kinds: Sequence[str],
    groups: ArrayLike | None = None,
) -> tuple[Cost, tuple[Cost, ...]]:
    """The loss of mAP50, and of each kind's AP50, for kinds that somebody boxed.

    The same frames are redrawn for both versions: whole ``groups`` (frames) of them where they are given.
    """
    drawn = redraw(np.arange(len(before[0].labelled)) if groups is None else groups, draws=_DRAWS, seed=_SEED)
    count = drawn.counts.shape[1]
    rows = drawn.counts[:, drawn.group_of].astype(np.int64)
    boxed = [place for place, kind in enumerate(before) if kind.labelled.any()]
    first, second = (
        np.array([[average_precision(version[place], counts) for place in boxed] for counts in rows])
        for version in (before, after)
    )
    objects = [int(before[place].labelled.sum()) for place in boxed]
    # A draw without the only group of a kind has a mean of the others.
    total = _cost(
        "mean", np.nanmean(first, axis=1), np.nanmean(second, axis=1), samples=sum(objects), groups=count
    )
    each = tuple(
        _cost(kinds[place], first[:, column], second[:, column], samples=objects[column], groups=count)
        for column, place in enumerate(boxed)
    )
    return total, each


def _cost(name: str, before: _Floats, after: _Floats, *, samples: int, groups: int) -> Cost:
    """Row 0 of each is as it was measured, the others are redrawn; one group alone tells of no other."""
    lost = percentile_interval(_POINTS * (before - after))
    known = groups > 1 and np.isfinite(lost.low) and np.isfinite(lost.high)
    return Cost(
        of=name,
        before=_POINTS * float(before[0]),
        after=_POINTS * float(after[0]),
        points=lost.value,
        low=lost.low if known else None,
        high=lost.high if known else None,
        samples=samples,
    )
