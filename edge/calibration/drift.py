"""How far the light has drifted from what was calibrated, from the background of live fields."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

FIELDS: Final = 40
"""Fields looked back on: enough that every part of the picture has shown clear background in some of them."""
MIN_FIELDS: Final = 15

_ROWS, _COLUMNS = 3, 4
_SMALL_TILE_PX: Final = 32
_BRIGHT_QUANTILE: Final = 0.95
_CLEAR_QUANTILE: Final = 0.8

Tiles = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Drift of corrected fields, in which empty background is even and neutral while nothing has changed.

    ``vignetting`` is the share of light, 0 to 1, that the darkest part of the picture lacks against the
    brightest; ``red``, ``green`` and ``blue`` are how far the background's channels are off their mean, as
    shares with a sign. ``fields`` is how many fields tell it.
    """

    vignetting: float
    red: float
    green: float
    blue: float
    fields: int

    @property
    def colour(self) -> float:
        """The largest of the three, without its sign."""
        return max(abs(self.red), abs(self.green), abs(self.blue))


class DriftWatch:
    """Remembers the background of the last fields, tile by tile; cells move from field to field, it stays."""

    def __init__(self) -> None:
        self._seen: deque[Tiles] = deque(maxlen=FIELDS)

    def see(self, corrected: Pixels) -> None:
        """A field that the calibration corrected."""
        self._seen.append(_bright(corrected))

    def drift(self) -> Drift | None:
        """The drift over the last fields; None before ``MIN_FIELDS``.

        The brightest twentieth of each tile is background, unless cells cover the whole tile; so the clear
        end of each tile's values over the fields is taken.
        """
        if len(self._seen) < MIN_FIELDS:
            return None
        tiles = np.quantile(np.stack(self._seen), _CLEAR_QUANTILE, axis=0)
        even = tiles.mean(axis=2)
        channels = np.median(tiles.reshape(-1, 3), axis=0)
        red, green, blue = (float(each) for each in channels / max(float(channels.mean()), 1.0) - 1)
        return Drift(
            vignetting=1 - float(even.min() / max(float(even.max()), 1.0)),
            red=red,
            green=green,
            blue=blue,
            fields=len(self._seen),
        )


def _bright(pixels: Pixels) -> Tiles:
    """The bright end of each tile's values, shape (rows, columns, 3)."""
    size = (_COLUMNS * _SMALL_TILE_PX, _ROWS * _SMALL_TILE_PX)
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    tiles = small.reshape(_ROWS, _SMALL_TILE_PX, _COLUMNS, _SMALL_TILE_PX, 3).transpose(0, 2, 1, 3, 4)
    flat = tiles.reshape(_ROWS, _COLUMNS, -1, 3)
    place = int(flat.shape[2] * _BRIGHT_QUANTILE)
    return np.partition(flat, place, axis=2)[:, :, place]
