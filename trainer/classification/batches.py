"""Which cells a training batch holds: balanced over classes and laboratories, with some that are no cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.classification.pictures import CONTEXT_PX, DOMAINS, VIRTUAL, CellPicture
from trainer.classification.variation import CellVariation, vary_cell

Pixels = NDArray[np.uint8]


class CellBatch(NamedTuple):
    """Cells uint8 (n, S, S, 3), class targets (n, classes) that add up to 1, domains (n; -1: none)."""

    cells: Tensor
    targets: Tensor
    domains: Tensor


@dataclass(frozen=True, kw_only=True)
class BatchRecipe:
    """How batches are filled.

    ``virtual_share`` is the part of a class's cells that are drawn; ``strangers`` the part of a batch that
    shows no nameable cell and is to be answered with "anything"; ``mixed`` the part that is a blend of two.
    """

    size: int = 32
    steps: int = 60
    virtual_share: float = 0.25
    strangers: float = 0.1
    mixed: float = 0.15
    smoothing: float = 0.06


def weights_of(pictures: Sequence[CellPicture], *, virtual_share: float) -> NDArray[np.float64]:
    """The chance of each picture to be drawn: classes alike, a class's laboratories by root of their size.

    A class that only the virtual slide knows is drawn half as often as the others.
    """
    groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        groups[picture.label, picture.domain].append(index)
    virtual = DOMAINS.index(VIRTUAL)
    chances = np.zeros(len(pictures))
    for label in {label for label, _ in groups}:
        real = {key: np.sqrt(len(groups[key])) for key in groups if key[0] == label and key[1] != virtual}
        drawn = groups.get((label, virtual), [])
        real_share = (1 - virtual_share if drawn else 1.0) if real else 0.0
        for key, weight in real.items():
            chances[groups[key]] = real_share * weight / sum(real.values()) / len(groups[key])
        if drawn:
            chances[drawn] = (virtual_share if real else 0.5) / len(drawn)
    return np.asarray(chances / chances.sum())


def batches(
    pictures: Sequence[CellPicture],
    *,
    classes: int,
    recipe: BatchRecipe,
    variation: CellVariation,
    margin: float,
    size_px: int,
) -> Callable[[np.random.Generator], Iterator[CellBatch]]:
    """A source of one epoch's batches for `trainer.fit`."""
    chances = weights_of(pictures, virtual_share=recipe.virtual_share)

    def draw(rng: np.random.Generator, index: int) -> Pixels:
        return vary_cell(
            pictures[index], rng, others=pictures, variation=variation, margin=margin, size_px=size_px
        )

    def one(rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float32], int]:
        index = int(rng.choice(len(pictures), p=chances))
        cell, target = draw(rng, index), _target(pictures[index].label, classes, recipe.smoothing)
        chance = rng.random()
        if chance < recipe.strangers:
            return _stranger(cell, rng, pictures), np.full(classes, 1 / classes, dtype=np.float32), -1
        if chance < recipe.strangers + recipe.mixed:
            second = int(rng.choice(len(pictures), p=chances))
            share = np.float32(rng.uniform(0.5, 1))
            blend = np.asarray(cell * share + draw(rng, second) * (1 - share), dtype=np.uint8)
            other = _target(pictures[second].label, classes, recipe.smoothing)
            return blend, share * target + (1 - share) * other, -1
        return cell, target, pictures[index].domain

    def epoch(rng: np.random.Generator) -> Iterator[CellBatch]:
        for _ in range(recipe.steps):
            cells, targets, domains = zip(*(one(rng) for _ in range(recipe.size)), strict=True)
            yield CellBatch(
                cells=torch.from_numpy(np.stack(cells)),
                targets=torch.from_numpy(np.stack(targets)),
                domains=torch.tensor(domains),
            )

    return epoch


def _target(label: int, classes: int, smoothing: float) -> NDArray[np.float32]:
    target = np.full(classes, smoothing / classes, dtype=np.float32)
    target[label] += 1 - smoothing
    return target


def _stranger(cell: Pixels, rng: np.random.Generator, pictures: Sequence[CellPicture]) -> Pixels:
    """A picture in a laboratory's colours that shows no cell one could name."""
    size = cell.shape[0]
    if rng.integers(3):
        return _jigsaw(cell, rng)
    ground = pictures[int(rng.integers(len(pictures)))].ground
    x, y = rng.integers(0, CONTEXT_PX - size + 1, 2)
    return ground[y : y + size, x : x + size]


def _jigsaw(cell: Pixels, rng: np.random.Generator) -> Pixels:
    """The cell in pieces that lie wrong: its colours and textures, without its form."""
    parts = int(rng.integers(2, 5))
    edges = np.linspace(0, cell.shape[0], parts + 1).astype(int)
    step = int(np.diff(edges).min())
    out = cell.copy()
    order = rng.permutation(parts * parts)
    for place, origin in enumerate(order):
        row, column = divmod(place, parts)
        from_row, from_column = divmod(int(origin), parts)
        piece = cell[edges[from_row] :, edges[from_column] :][:step, :step]
        out[edges[row] : edges[row] + step, edges[column] : edges[column] + step] = np.rot90(
            piece, int(rng.integers(4))
        )
    return out
