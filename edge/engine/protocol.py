"""The seam every inference runtime fits."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

Outputs = dict[str, NDArray[Any]]


class Engine(Protocol):
    """One loaded network. The graph takes camera bytes; everything else is inside it.

    A detector answers ``boxes`` float32 (n, k, 4) as x0, y0, x1, y1 in pixels of its input, ``scores``
    float32 (n, k) falling, and ``kinds`` int64 (n, k), indices into the manifest's kinds; unused places
    have score 0. A classifier answers ``probabilities`` float32 (n, c), calibrated, and ``distance``
    float32 (n,), how far the cell lies from everything the network was trained on.
    """

    @property
    def description(self) -> str:
        """The runtime and its precision, for records: ``onnxruntime 1.23 cpu fp32``."""
        ...

    def run(self, batch: Pixels | NDArray[np.uint8]) -> Outputs:
        """Answer for ``batch``, uint8 (n, height_px, width_px, 3) RGB at the network's declared size."""
        ...
