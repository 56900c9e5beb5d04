"""A labelled frame: what a detector is taught with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels

Boxes = NDArray[np.float32]
"""x0, y0, x1, y1 in pixels; shape (n, 4)."""
Kinds = NDArray[np.int64]
"""Indices into `KINDS`; shape (n,)."""

KINDS: Final = (ObjectKind.WBC, ObjectKind.RBC, ObjectKind.PLATELET)
ALL_KINDS: Final = frozenset(KINDS)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFrame:
    """A picture with boxes.

    ``labelled`` names the kinds of which every object has a box: where a kind is not among them, the
    absence of a box says nothing.
    """

    name: str
    pixels: Pixels
    um_per_px: float
    boxes: Boxes
    kinds: Kinds
    labelled: frozenset[ObjectKind] = ALL_KINDS

    def __post_init__(self) -> None:
        """Refuse labels that cannot be."""
        if self.boxes.shape != (len(self.kinds), 4):
            raise ValueError(f"{self.name}: {len(self.kinds)} kinds for boxes of shape {self.boxes.shape}")
        if len(self.boxes) and (self.boxes[:, 2:] <= self.boxes[:, :2]).any():
            raise ValueError(f"{self.name}: a box has no area")
