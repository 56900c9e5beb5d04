"""How much of a frame is stained, and in which colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

_BACKGROUND_QUANTILE: Final = 0.05
_ENOUGH_PIXELS: Final = 8192
"""So many tell the colour as well by every fourth of them."""
_STAINED_OD: Final = 0.03
_FLOOR: Final = 16
"""Added to each grey level, so that the logarithm does not make much of dark pixels' noise."""
_DARKEST_RED: Final = 24
"""Red passes through the deepest nucleus more than this; without that there was no light to judge by."""


def _optical_densities() -> NDArray[np.float32]:
    levels = np.arange(256, dtype=np.float32) + _FLOOR
    return np.asarray(-np.log10(levels / levels[-1]), dtype=np.float32)


_OPTICAL_DENSITY: Final = _optical_densities()


@dataclass(frozen=True, kw_only=True)
class Stain:
    """The stain of a frame: the share of stained pixels, 0 to 1, and their mean colour.

    ``hue_deg`` (0 to 360) and ``saturation`` are those of the hue, saturation and density model; NaN where
    nothing is stained.
    """

    share: float
    hue_deg: float
    saturation: float


def stained_share(rgb: Pixels) -> float:
    """The share of pixels, 0 to 1, that hold dye; see ``measure_stain``."""
    stained = _stained(rgb)
    return float(np.count_nonzero(stained)) / stained.size


def measure_stain(rgb: Pixels) -> Stain:
    """How much of a picture holds dye, and the dye's colour.

    Dye absorbs by Beer and Lambert's law, so its optical density tells its amount (Ruifrok and Johnston
    2001). Both dyes of a Wright-Giemsa stain absorb green more than red; shadow, vignetting and dirt dim
    both alike. So a pixel is stained where its density in green exceeds that in red by 0.03 more than in
    the background, the frame's least coloured twentieth. Needs colour: a grey camera shows no stain.

    The colour is that of the mean density over the background, the clearest twentieth in each channel, in
    the plane of van der Laak, Pahlplatz, Hanselaar and de Wilde 2000 (Cytometry 39:275), in which neither
    the amount of dye nor the lamp's colour moves it: hue 0 absorbs red alone, 120 green, 240 blue.
    """
    stained = _stained(rgb)
    share = float(np.count_nonzero(stained)) / stained.size
    step = 2 if stained.size >= _ENOUGH_PIXELS else 1
    density, chosen = _OPTICAL_DENSITY[rgb[::step, ::step]], stained[::step, ::step]
    if not chosen.any():
        return Stain(share=share, hue_deg=math.nan, saturation=math.nan)
    place = int(chosen.size * _BACKGROUND_QUANTILE)
    clear = (np.partition(density[..., channel], place, axis=None)[place] for channel in range(3))
    red, green, blue = (
        float(dyed - background) for dyed, background in zip(density[chosen].mean(axis=0), clear, strict=True)
    )
    mean = (red + green + blue) / 3
    if mean <= 0:
        return Stain(share=share, hue_deg=math.nan, saturation=math.nan)
    across, up = red / mean - 1, (green - blue) / (math.sqrt(3) * mean)
    return Stain(
        share=share,
        hue_deg=math.degrees(math.atan2(up, across)) % 360,
        saturation=math.hypot(across, up),
    )


def _stained(rgb: Pixels) -> NDArray[np.bool_]:
    excess = _OPTICAL_DENSITY[rgb[..., 1]] - _OPTICAL_DENSITY[rgb[..., 0]]
    place = int(excess.size * _BACKGROUND_QUANTILE)
    background = np.partition(excess, place, axis=None)[place]
    return np.asarray((excess > background + _STAINED_OD) & (rgb[..., 0] > _DARKEST_RED), dtype=np.bool_)
