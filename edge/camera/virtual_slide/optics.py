"""From the light that passes the smear to what a camera makes of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.camera.virtual_slide.conditions import Optics
from edge.frame import Pixels

_SHARPEST_PX: Final = 0.3
"""A blur below this standard deviation changes nothing that can be seen."""


def expose(
    transmittance: Pixels,
    optics: Optics,
    *,
    um_per_px: float,
    rng: np.random.Generator,
    defocus_um: float = 0.0,
) -> Pixels:
    """What the camera takes: blurred, lit, bent by the response, noisy.

    ``defocus_um`` adds to the optics' own, as the standard deviations of blurs do.
    """
    height_px, width_px = transmittance.shape[:2]
    sigma_px = float(np.hypot(optics.defocus_um, defocus_um)) / um_per_px
    picture = transmittance
    if sigma_px > _SHARPEST_PX:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px), dtype=np.uint8)
    if optics.flare > 0:
        picture = np.asarray(cv2.LUT(picture, _veil(optics.flare)), dtype=np.uint8)
    lit = cv2.multiply(picture, _illumination(optics, height_px, width_px), dtype=cv2.CV_8U)
    if optics.gamma != 1:
        lit = cv2.LUT(lit, _response(optics.gamma))
    if optics.noise <= 0:
        return np.asarray(lit, dtype=np.uint8)
    return np.asarray(
        cv2.add(lit, _noise(optics.noise, height_px, width_px, rng), dtype=cv2.CV_8U), dtype=np.uint8
    )


def dragged(picture: Pixels, *, dx_px: int, dy_px: int) -> Pixels:
    """The mean of a picture over a straight motion, smaller by the motion: ``|dx_px|`` and ``|dy_px|``.

    Halving steps, each the mean of the picture and itself moved, make an even trail in a few passes.
    """
    rows, columns = picture.shape[0] - abs(dy_px), picture.shape[1] - abs(dx_px)
    share = 0.5
    while max(abs(dx_px), abs(dy_px)) * share >= 1:
        x, y = round(dx_px * share), round(dy_px * share)
        height_px, width_px = picture.shape[:2]
        stays = picture[max(-y, 0) : height_px - max(y, 0), max(-x, 0) : width_px - max(x, 0)]
        moved = picture[max(y, 0) : height_px - max(-y, 0), max(x, 0) : width_px - max(-x, 0)]
        picture = np.asarray(cv2.addWeighted(stays, 0.5, moved, 0.5, 0), dtype=np.uint8)
        share /= 2
    top, left = (picture.shape[0] - rows) // 2, (picture.shape[1] - columns) // 2
    return picture[top : top + rows, left : left + columns]


@lru_cache(maxsize=4)
def _illumination(optics: Optics, height_px: int, width_px: int) -> NDArray[np.float32]:
    """How bright each pixel's clear glass is, about 0 to 1, shape (height_px, width_px, 3)."""
    x = (np.arange(width_px, dtype=np.float32) + 0.5) / width_px - optics.bright_at[0]
    y = (np.arange(height_px, dtype=np.float32) + 0.5) / height_px - optics.bright_at[1]
    loss = optics.vignette * 2 * (x[None, :] ** 2 + y[:, None] ** 2)
    tint = np.array(optics.tint, dtype=np.float32) * np.float32(optics.gain)
    return np.asarray((1 - loss)[..., None] * tint, dtype=np.float32)


@lru_cache(maxsize=4)
def _veil(flare: float) -> NDArray[np.uint8]:
    return np.round(255 * flare + (1 - flare) * np.arange(256)).astype(np.uint8)


@lru_cache(maxsize=4)
def _response(gamma: float) -> NDArray[np.uint8]:
    return np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)


_GRAIN_PX: Final = 96
"""How far the ready-made grain can be moved each way, so that no two pictures share it in place."""


@lru_cache(maxsize=2)
def _grain(noise: float, height_px: int, width_px: int) -> NDArray[np.int8]:
    rng = np.random.default_rng(20260711)
    shape = (height_px + _GRAIN_PX, width_px + _GRAIN_PX, 3)
    grain = rng.standard_normal(shape, dtype=np.float32) * np.float32(noise)
    return np.asarray(np.clip(np.rint(grain), -127, 127), dtype=np.int8)


def _noise(noise: float, height_px: int, width_px: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """A camera's noise: drawn once, then moved and turned, which costs a tenth of drawing it anew."""
    x, y = rng.integers(0, _GRAIN_PX, 2)
    grain = _grain(noise, height_px, width_px)[y : y + height_px, x : x + width_px]
    flip_y, flip_x = rng.integers(0, 2, 2)
    return np.ascontiguousarray(grain[:: 1 - 2 * flip_y, :: 1 - 2 * flip_x])
