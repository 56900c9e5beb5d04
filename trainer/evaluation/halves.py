"""Two halves of the groups, so that nothing is judged on the pictures that it was chosen on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Halves = NDArray[np.int64]
"""0 or 1 for each picture; all pictures of a group are of one half."""


def alternate_halves(groups: Labels) -> Halves:
    """Groups by their number in turn to one half and the other."""
    _, order = np.unique(groups, return_inverse=True)
    return np.asarray(order % 2, dtype=np.int64)


def class_strata(labels: Labels, groups: Labels) -> Labels:
    """For each picture the class, among those of its group, that fewest groups have.

    Groups redrawn or halved within these strata lose no class, unless every group of a class also has a
    rarer one.
    """
    pairs = np.unique(np.stack([groups, labels], axis=1), axis=0)
    groups_of_class = {int(label): int((pairs[:, 1] == label).sum()) for label in np.unique(labels)}
    rarest: dict[int, int] = {}
    for group, label in pairs.tolist():
        known = rarest.setdefault(group, label)
        if groups_of_class[label] < groups_of_class[known]:
            rarest[group] = label
    return np.array([rarest[group] for group in groups.tolist()], dtype=np.int64)


def balanced_halves(labels: Labels, groups: Labels) -> Halves:
    """Halves of the groups that share the groups of every class as evenly as they can."""
    strata = class_strata(labels, groups)
    pairs = np.unique(np.stack([strata, groups], axis=1), axis=0)
    half_of = {int(group): place % 2 for place, (_, group) in enumerate(pairs)}
    return np.array([half_of[group] for group in groups.tolist()], dtype=np.int64)
