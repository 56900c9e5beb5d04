"""The splits of the station's own cell classifier: blocks of every series held out, or a whole laboratory.

Those of an experiment are in ``trainer.data.folds``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.grouping import BLOCK_SIZE
from trainer.data.samples import Sample
from trainer.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Split:
    """Indices of samples to train on and of samples held out; no block and no duplicate is in both."""

    name: str
    train: tuple[int, ...]
    held_out: tuple[int, ...]


def house_split(
    samples: Sequence[Sample], block_of: Sequence[int], *, share: float = 0.2, seed: int = 0
) -> Split:
    """Hold out whole blocks: about ``share`` of each laboratory's series, chosen by ``seed``.

    At least one block of each series is held out and at least one is trained on. Raises DataError when a
    series is a single block.
    """
    rng = np.random.default_rng(seed)
    by_series: defaultdict[str, set[int]] = defaultdict(set)
    for sample, block in zip(samples, block_of, strict=True):
        by_series[sample.series].add(block)
    held: set[int] = set()
    for name in sorted(by_series):
        numbers = sorted(by_series[name])
        if len(numbers) == 1:
            raise DataError(
                f"The series {name!r} is a single block: nothing of it can be held out.",
                remedy=f"Give at least {2 * BLOCK_SIZE} samples of it.",
            )
        count = min(max(1, round(share * len(numbers))), len(numbers) - 1)
        held.update(int(each) for each in rng.permutation(numbers)[:count])
    return _split("house", block_of, held)


def leave_out(
    samples: Sequence[Sample],
    block_of: Sequence[int],
    *,
    name: str,
    leaves: Callable[[Sample], bool],
) -> Split:
    """Hold out every cell that ``leaves`` says, and any block that a duplicate welds to one of them."""
    held = {block for sample, block in zip(samples, block_of, strict=True) if leaves(sample)}
    if not held:
        raise DataError(f"No sample is left out as {name!r}.", remedy="Check the name of what is left out.")
    return _split(name, block_of, held)


def leave_laboratory_out(samples: Sequence[Sample], block_of: Sequence[int], *, laboratory: str) -> Split:
    """Hold out everything of one laboratory."""
    return leave_out(
        samples, block_of, name=laboratory, leaves=lambda sample: sample.laboratory == laboratory
    )


def _split(name: str, block_of: Sequence[int], held: set[int]) -> Split:
    return Split(
        name=name,
        train=tuple(index for index, block in enumerate(block_of) if block not in held),
        held_out=tuple(index for index, block in enumerate(block_of) if block in held),
    )
