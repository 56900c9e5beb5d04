"""How evenly and in which colour the light falls, from pictures of empty glass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.calibration.exposure import TakenWith
from edge.errors import CalibrationError
from edge.frame import Pixels
from edge.vision.reduction import reduce_frame
from edge.vision.stain import stained_share

MIN_PICTURES: Final = 3
"""The median of three places holds no speck that lies at one of them."""
MAX_GAIN: Final = 3.0
"""Where less than a third of the light arrives, a gain would mostly brighten noise."""

_CLIPPED: Final = 252
_MAX_CLIPPED_SHARE: Final = 0.002
_MIN_LEVEL: Final = 60
_MAX_STAINED_SHARE: Final = 0.01
_MAX_UNSTEADY: Final = 0.03
_GRID_COLUMNS: Final = 40
_SMOOTH_TILES: Final = 1.5
_DEGREE: Final = 4

Grid = NDArray[np.float32]
"""Coarse picture, ``float32`` of shape (rows, columns, 3) in red, green, blue."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FlatField:
    """What makes empty glass even and neutral.

    ``gains`` multiply the picture, brought to its size; the smallest is 1, so that nothing that was measured
    is thrown away, and the largest ``MAX_GAIN``. ``level`` is the grey that empty glass then has in every
    channel. ``white_gains`` are those of the brightest place, which is the white balance; ``vignetting`` is
    the share of light, 0 to 1, that the darkest place lacked. ``taken`` is how the camera took the pictures;
    None where nothing is known of that.
    """

    gains: Grid
    level: float
    white_gains: tuple[float, float, float]
    vignetting: float
    pictures: int
    taken: TakenWith | None = None


def measure_flat_field(pictures: Sequence[Pixels]) -> FlatField:
    """The flat field of several pictures of empty glass, taken at different places in the same light.

    The median over the pictures takes out what lies at one place only, the blur what is small: the gains
    follow the light, not the dirt (a flat field as in Young, Gerbrands and van Vliet, Fundamentals of Image
    Processing, 1998, by a smooth estimate). White is balanced as von Kries did it: a gain a channel.
    Raises CalibrationError where a picture is clipped, dark or not empty, where the light changed between
    them, or where a place gets too little.
    """
    if len(pictures) < MIN_PICTURES:
        raise CalibrationError(
            f"{len(pictures)} pictures of empty glass are too few.",
            remedy=f"Give at least {MIN_PICTURES}, at different places.",
        )
    if len({picture.shape for picture in pictures}) > 1:
        raise CalibrationError(
            "The pictures of empty glass differ in size.", remedy="Take all of them by one camera setting."
        )
    for number, picture in enumerate(pictures, 1):
        _require_empty(picture, number)
    coarse = np.stack([_coarse(picture) for picture in pictures])
    middle = np.median(coarse, axis=0)
    for number, each in enumerate(coarse, 1):
        _require_steady(each / middle, number)
    light = _smooth(middle)
    level = float(light.max())
    gains = np.asarray(level / light, dtype=np.float32)
    evenness = light.mean(axis=2)
    brightest = np.unravel_index(int(np.argmax(evenness)), evenness.shape)
    if gains.max() > MAX_GAIN:
        raise CalibrationError(
            f"A place of the picture gets less than a third of the light in some colour (gain "
            f"{gains.max():.1f} of at most {MAX_GAIN:g}).",
            remedy="Centre the condenser, open the field diaphragm, set the camera's white balance, and "
            "calibrate again.",
        )
    red, green, blue = (float(gain) for gain in gains[brightest])
    return FlatField(
        gains=gains,
        level=level,
        white_gains=(red, green, blue),
        vignetting=1 - float(evenness.min() / evenness.max()),
        pictures=len(pictures),
    )


def _require_empty(picture: Pixels, number: int) -> None:
    for channel, name in enumerate(("red", "green", "blue")):
        values = picture[..., channel]
        if np.count_nonzero(values >= _CLIPPED) > _MAX_CLIPPED_SHARE * values.size:
            raise CalibrationError(
                f"Picture {number} of empty glass is clipped in {name}: how bright it is cannot be told.",
                remedy="Shorten the exposure or dim the lamp until nothing is clipped.",
            )
        if float(np.median(values)) < _MIN_LEVEL:
            raise CalibrationError(
                f"Picture {number} of empty glass is dark in {name} (median {np.median(values):.0f} of 255).",
                remedy=f"Lengthen the exposure until the median is well above {_MIN_LEVEL}.",
            )
    stained = stained_share(reduce_frame(picture).rgb)
    if stained > _MAX_STAINED_SHARE:
        raise CalibrationError(
            f"Picture {number} is not of empty glass: {stained:.1%} of it is stained.",
            remedy="Move to a place without cells; a bare slide with a coverslip and oil is best.",
        )


def _require_steady(ratio: Grid, number: int) -> None:
    uneven = float(np.quantile(np.abs(ratio - np.median(ratio)), 0.9))
    if uneven > _MAX_UNSTEADY:
        raise CalibrationError(
            f"Picture {number} of empty glass is lit otherwise than the others (by {uneven:.0%}).",
            remedy="Leave condenser and diaphragms alone while the pictures are taken, and look for dirt.",
        )
    change = float(np.median(ratio)) - 1
    if abs(change) > _MAX_UNSTEADY:
        raise CalibrationError(
            f"The light changed: picture {number} of empty glass is {abs(change):.0%} "
            f"{'brighter' if change > 0 else 'darker'} than the others.",
            remedy="Fix exposure, gain and white balance of the camera, and let the lamp warm up.",
        )


def _coarse(picture: Pixels) -> Grid:
    height_px, width_px = picture.shape[:2]
    columns = min(width_px, _GRID_COLUMNS * 4)
    size = (columns, max(1, round(height_px * columns / width_px)))
    # The median of a neighbourhood knows nothing of specks smaller than half of it.
    small = cv2.medianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), 5)
    return np.asarray(small, dtype=np.float32)


def _smooth(light: Grid) -> Grid:
    rows, columns = light.shape[:2]
    size = (min(columns, _GRID_COLUMNS), max(1, min(rows, round(rows * _GRID_COLUMNS / columns))))
    tiles = np.asarray(
        cv2.resize(np.asarray(light, dtype=np.float32), size, interpolation=cv2.INTER_AREA), dtype=np.float32
    )
    # A blur alone would take the edges for brighter than they are, since nothing darker lies beyond them.
    surface = _surface(tiles)
    rest = cv2.GaussianBlur(tiles - surface, (0, 0), _SMOOTH_TILES, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(surface + rest, dtype=np.float32)


def _surface(tiles: Grid) -> Grid:
    """The polynomial surface of the fourth degree nearest to each channel, by least squares."""
    rows, columns = tiles.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    terms = np.stack(
        [x**i * y**j for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)], axis=-1
    ).reshape(rows * columns, -1)
    found, *_ = np.linalg.lstsq(terms, tiles.reshape(-1, 3).astype(np.float64), rcond=None)
    return np.asarray((terms @ found).reshape(tiles.shape), dtype=np.float32)
