"""An epoch's batches: which pictures, in which order, changed how.

Everything follows from the epoch's generator and a picture's number, and from nothing else. So a picture
looks the same in an epoch whichever thread prepares it, and whichever of several processes trains on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.pictures.changes import change
from trainer.prefetch import prepared, processors
from trainer.recipes.recipe import AugmentationRecipe

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
_LARGEST_SEED: Final = 2**63 - 1
_MOST_WORKERS: Final = 8


class PictureBatch(NamedTuple):
    """Pictures uint8 (n, S, S, 3) and labels (n); ``own`` of the ``whole`` batch are this process's.

    ``own`` is 0 where the batch is smaller than the number of processes: the one picture is then a
    placeholder that must not count.
    """

    pixels: Tensor
    labels: Tensor
    own: int
    whole: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureSource:
    """Training pictures uint8 (n, S, S, 3) with their labels (n), and how batches of them are made.

    ``equalised`` keeps of every class as many pictures as the smallest has, chosen once by ``seed``. The
    last batch of an epoch is smaller where the numbers want it so, but never a single picture, whose batch
    normalisation would mean nothing: it goes with the batch before.
    """

    pixels: Pixels
    labels: Labels
    size: int
    augmentation: AugmentationRecipe
    seed: int
    equalised: bool = False

    def chosen(self) -> Labels:
        """The numbers of the pictures that are trained on, in rising order."""
        if not self.equalised:
            return np.arange(len(self.labels), dtype=np.int64)
        rng = np.random.default_rng([self.seed, len(self.labels)])
        members = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        fewest = min(len(each) for each in members)
        return np.sort(np.concatenate([rng.choice(each, fewest, replace=False) for each in members]))

    def steps(self) -> int:
        """Batches an epoch."""
        return len(_cuts(len(self.chosen()), self.size))

    def epoch(
        self, rng: np.random.Generator, *, rank: int = 0, processes: int = 1, workers: int | None = None
    ) -> Iterator[PictureBatch]:
        """One epoch's batches, or process ``rank``'s share of each, prepared ahead by ``workers`` threads."""
        order = rng.permutation(self.chosen())
        seed = int(rng.integers(_LARGEST_SEED))
        make = partial(self._batch, seed=seed, rank=rank, processes=processes)
        wholes = (order[first:last] for first, last in _cuts(len(order), self.size))
        return prepared(wholes, make, workers=workers or min(processors(), _MOST_WORKERS))

    def _batch(self, whole: Labels, *, seed: int, rank: int, processes: int) -> PictureBatch:
        share = whole[rank::processes]
        shown = share if len(share) else whole[:1]
        pixels = np.empty((len(shown), *self.pixels.shape[1:]), dtype=np.uint8)
        for row, index in enumerate(shown):
            rng = np.random.default_rng([seed, int(index)])
            pixels[row] = change(self.pixels[index], rng, self.augmentation)
        return PictureBatch(
            pixels=torch.from_numpy(pixels),
            labels=torch.from_numpy(np.asarray(self.labels[shown], dtype=np.int64)),
            own=len(share),
            whole=len(whole),
        )


def _cuts(count: int, size: int) -> list[tuple[int, int]]:
    """First and last of each batch's pictures."""
    if count == 0:
        return []
    firsts = list(range(0, count, size))
    if len(firsts) > 1 and count - firsts[-1] == 1 < size:
        firsts.pop()
    return list(zip(firsts, [*firsts[1:], count], strict=True))
