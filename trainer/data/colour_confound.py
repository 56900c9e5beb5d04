"""How well colour alone predicts a label: what a network may learn instead of the cells.

Six colour statistics and the nearest training picture are asked about pictures of groups (patients, slides,
blocks) that they have not seen, and about pictures drawn by chance: the difference is what a random split
leaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.crop import BoxPx
from trainer.data.folds import Fold, honest_folds, published_folds
from trainer.errors import DataError
from trainer.evaluation.baselines import nearest_neighbour
from trainer.recipes.recipe import SplitRecipe
from trainer.statistics import Interval, percentile_interval, redraw

Pixels = NDArray[np.uint8]
Colours = NDArray[np.float32]
"""(n, 6): mean and standard deviation of R, G and B."""

FOLDS: Final = 5
_BOTH_SIDES: Final = 2
_DRAWS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well colour tells words apart.

    ``honest`` is the balanced accuracy on held-out groups, ``by_chance`` that on pictures held out by chance,
    both over ``folds`` folds; intervals redraw whole groups. ``left_out`` are words that stand in a single
    group, so that nothing can be held out of them.
    """

    words: tuple[str, ...]
    left_out: tuple[str, ...]
    samples: int
    groups: int
    folds: int
    honest: Interval
    by_chance: Interval

    @property
    def guessing(self) -> float:
        """What guessing reaches."""
        return 1 / len(self.words)


def colours_of(pixels: Pixels, box_px: BoxPx | None = None) -> Colours:
    """The six colour statistics (6,) of a picture, or of a box in it.

    The same numbers as `trainer.evaluation.baselines.colour_statistics`, in a pass over the bytes.
    """
    part = pixels
    if box_px is not None:
        x0, y0, x1, y1 = (round(each) for each in box_px)
        part = pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    mean, deviation = cv2.meanStdDev(part)
    return np.concatenate([mean.ravel(), deviation.ravel()]).astype(np.float32)


def told_by_colour(colours: Colours, words: Sequence[str], groups: Sequence[int], *, seed: int = 0) -> Told:
    """How well ``colours`` (n, 6) tell ``words``: labels, or laboratories.

    Raises DataError where that cannot be asked: fewer than two words stand in two groups or more, or no folds
    keep the groups whole.
    """
    group_of, named = np.asarray(groups, dtype=np.int64), np.asarray(words)
    spread = {str(each): len(np.unique(group_of[named == each])) for each in np.unique(named)}
    asked = tuple(each for each, count in spread.items() if count >= _BOTH_SIDES)
    left_out = tuple(each for each in spread if each not in asked)
    if len(asked) < _BOTH_SIDES:
        raise DataError(
            f"Fewer than two of {', '.join(spread)} stand in two groups or more.",
            remedy="Give pictures from more patients, slides or stretches of acquisition.",
        )
    kept = np.flatnonzero(np.isin(named, asked))
    truth = np.searchsorted(np.array(asked), named[kept]).astype(np.int64)
    own, seen = group_of[kept], colours[kept]
    folds = min(FOLDS, *(spread[each] for each in asked), int(np.bincount(truth).min()))
    honest = honest_folds(truth.tolist(), own.tolist(), folds=folds, seed=seed)
    by_chance = published_folds(truth.tolist(), SplitRecipe(kind="folds", folds=folds), seed)
    return Told(
        words=asked,
        left_out=left_out,
        samples=len(kept),
        groups=len(np.unique(own)),
        folds=folds,
        honest=_figure(seen, truth, own, honest, seed=seed),
        by_chance=_figure(seen, truth, own, by_chance, seed=seed),
    )


def _figure(
    colours: Colours, truth: NDArray[np.int64], groups: NDArray[np.int64], folds: Sequence[Fold], *, seed: int
) -> Interval:
    """Balanced accuracy over all folds' held-out pictures."""
    named = np.empty(len(truth), dtype=np.int64)
    for fold in folds:
        train, held = np.array(fold.train), np.array(fold.held_out)
        named[held] = nearest_neighbour(colours[train], truth[train], colours[held])
    of = np.eye(int(truth.max()) + 1)[truth]
    drawn = redraw(groups, draws=_DRAWS, seed=seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        recalls = drawn.sums(of * (named == truth)[:, None]) / drawn.sums(of)
    return percentile_interval(recalls.mean(axis=1))
