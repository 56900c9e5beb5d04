"""Which wrong answers a report shows: the ones that the network was surest of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

PER_PAIR: Final = 3
AT_MOST: Final = 12


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A held-out picture that got another class's name; ``index`` is its row among the predictions."""

    index: int
    true: int
    named: int
    confidence: float


def worst_mistakes(
    labels: ArrayLike, probabilities: ArrayLike, *, per_pair: int = PER_PAIR, at_most: int = AT_MOST
) -> tuple[Wrong, ...]:
    """The surest wrong answers of ``probabilities`` (n, classes), surest first, for true ``labels`` (n).

    A pair of classes (true, named) gives ``per_pair`` of them at most, so that one habitual confusion does
    not fill the page. Of equally sure ones the earlier row comes first: the same predictions give the same
    choice. Raises ValueError for arrays that do not belong together, or probabilities that are none.
    """
    true = np.asarray(labels, dtype=np.int64)
    each = np.asarray(probabilities, dtype=np.float64)
    if each.ndim != 2 or len(each) != len(true):  # noqa: PLR2004
        raise ValueError(f"probabilities of shape {each.shape} for {len(true)} labels")
    if not (np.isfinite(each).all() and (each >= 0).all() and (each <= 1).all()):
        raise ValueError("probabilities must lie between 0 and 1")
    if not len(true):
        return ()
    named, confidence = each.argmax(axis=1), each.max(axis=1)
    shown: Counter[tuple[int, int]] = Counter()
    chosen: list[Wrong] = []
    for index in np.argsort(-confidence, kind="stable"):
        pair = (int(true[index]), int(named[index]))
        if pair[0] == pair[1] or shown[pair] == per_pair:
            continue
        if len(chosen) == at_most:
            break
        shown[pair] += 1
        chosen.append(
            Wrong(index=int(index), true=pair[0], named=pair[1], confidence=float(confidence[index]))
        )
    return tuple(chosen)
