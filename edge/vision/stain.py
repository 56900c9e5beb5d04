"""How much of a frame is stained."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

_BACKGROUND_QUANTILE: Final = 0.05
_STAINED_OD: Final = 0.03
_FLOOR: Final = 16
"""Added to each grey level, so that the logarithm does not make much of dark pixels' noise."""
_DARKEST_RED: Final = 24
"""Red passes through the deepest nucleus more than this; without that there was no light to judge by."""


def _optical_densities() -> NDArray[np.float32]:
    levels = np.arange(256, dtype=np.float32) + _FLOOR
    return np.asarray(-np.log10(levels / levels[-1]), dtype=np.float32)


_OPTICAL_DENSITY: Final = _optical_densities()


def stained_share(rgb: Pixels) -> float:
    """The share of pixels, 0 to 1, that hold dye.

    Dye absorbs by Beer and Lambert's law, so its optical density tells its amount (Ruifrok and Johnston
    2001). Both dyes of a Wright-Giemsa stain absorb green more than red; shadow, vignetting and dirt dim
    both alike. So a pixel is stained where its density in green exceeds that in red by 0.03 more than in
    the background, the frame's least coloured twentieth. Needs colour: a grey camera shows no stain.
    """
    excess = _OPTICAL_DENSITY[rgb[..., 1]] - _OPTICAL_DENSITY[rgb[..., 0]]
    place = int(excess.size * _BACKGROUND_QUANTILE)
    background = np.partition(excess, place, axis=None)[place]
    stained = (excess > background + _STAINED_OD) & (rgb[..., 0] > _DARKEST_RED)
    return float(np.count_nonzero(stained)) / excess.size
