"""How a frame is lit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.frame import Pixels

_BLACK: Final = 3
_WHITE: Final = 252


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Shares of clipped pixels, 0 to 1, and the mean brightness in grey levels of 255.

    Judged in green, where stained cells are darkest: red light passes both dyes and may clip harmlessly.
    """

    black_share: float
    white_share: float
    mean: float


def measure_exposure(samples: Pixels) -> Exposure:
    """The exposure of single pixels; of means it would be flattered, since a mean is never clipped."""
    green = samples[..., 1]
    return Exposure(
        black_share=float(np.count_nonzero(green <= _BLACK)) / green.size,
        white_share=float(np.count_nonzero(green >= _WHITE)) / green.size,
        mean=float(green.mean()),
    )
