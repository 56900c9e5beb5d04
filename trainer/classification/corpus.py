"""All labelled cells with their blocks and pictures, and the splits that trainings are named after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.classification.pictures import CellPicture, real_pictures, virtual_pictures
from trainer.data.cells import LABORATORIES, read_bccd_cells, read_pbc_aml, read_picture
from trainer.data.duplicates import duplicate_groups, fingerprint
from trainer.data.formats.numbered_cells import LMU
from trainer.data.grouping import BLOCK_SIZE, blocks
from trainer.data.samples import Sample
from trainer.data.splits import Split, house_split, leave_laboratory_out, leave_out
from trainer.errors import DataError

HOUSE: Final = "house"
ALL: Final = "all"
SHORTCUT: Final = "lmu-neutrophils"
"""Leaves the blasts' laboratory nothing but blasts: a network that learns laboratories calls its
neutrophils blasts."""
FOLDS: Final = (*LABORATORIES, SHORTCUT)
SPLITS: Final = (HOUSE, *FOLDS, ALL)
HOUSE_SEED: Final = 1
"""A draw whose held-out blocks hold cells of every class; chosen by counting, before any training."""

SPLIT_IN_WORDS: Final = (
    f"No patient is known, so blocks of at least {BLOCK_SIZE} neighbouring file names in the order of "
    "acquisition stand in for smears; exact and near duplicates were found first and weld their blocks "
    "together. About a fifth of each laboratory's blocks is held out. Beside it, each laboratory in turn is "
    "left out whole; and, since blasts are known from one laboratory alone, that laboratory's neutrophils "
    "are left out in a run of its own."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Real cells, index by index: sample, block, picture; and drawn cells, which are only trained on."""

    samples: tuple[Sample, ...]
    blocks: tuple[int, ...]
    pictures: tuple[CellPicture, ...]
    virtual: tuple[CellPicture, ...]

    def split(self, name: str) -> Split:
        """The split of one of SPLITS. Raises DataError for another name."""
        if name == HOUSE:
            return house_split(self.samples, self.blocks, seed=HOUSE_SEED)
        if name == ALL:
            return Split(name=ALL, train=tuple(range(len(self.samples))), held_out=())
        if name == SHORTCUT:
            return leave_out(
                self.samples,
                self.blocks,
                name=SHORTCUT,
                leaves=lambda each: each.laboratory == LMU and each.label == "neutrophil",
            )
        if name not in LABORATORIES:
            raise DataError(f"There is no split {name!r}.", remedy=f"Known: {', '.join(SPLITS)}.")
        return leave_laboratory_out(self.samples, self.blocks, laboratory=name)

    def chosen(self, indices: Sequence[int]) -> tuple[CellPicture, ...]:
        """Pictures of real cells."""
        return tuple(self.pictures[index] for index in indices)

    def blocks_of(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Block numbers of real cells."""
        return np.array([self.blocks[index] for index in indices], dtype=np.int64)

    def series_of(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """A number for each real cell's series of acquisition."""
        names = sorted({each.series for each in self.samples})
        return np.array([names.index(self.samples[index].series) for index in indices], dtype=np.int64)


def read_samples(data_dir: Path) -> tuple[tuple[Sample, ...], tuple[int, ...]]:
    """Every labelled cell and its block, duplicates kept together."""
    samples = read_pbc_aml(data_dir) + read_bccd_cells(data_dir)
    duplicates = duplicate_groups([fingerprint(read_picture(each.file)) for each in samples])
    return samples, blocks(samples, duplicates=duplicates)


def read_corpus(data_dir: Path, *, virtual_per_class: int, seed: int, drawn: Path | None = None) -> Corpus:
    """Read, outline and draw all cells; ``drawn`` keeps the drawings of the virtual slide between runs."""
    samples, block_of = read_samples(data_dir)
    return Corpus(
        samples=samples,
        blocks=block_of,
        pictures=real_pictures(samples, data_dir),
        virtual=virtual_pictures(per_class=virtual_per_class, seed=seed, cache=drawn),
    )
