"""Finds the white cell in the middle of a picture by its stain alone, without a network."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.vision.crop import BoxPx

Mask = NDArray[np.bool_]
_Bytes = NDArray[np.uint8]

_WORKING_SIDE_PX: Final = 160
_DARK: Final = 12
"""Brightest channel of a pixel that belongs to a black surround, not to a lit field."""
_LIT_BORDER: Final = 0.1
_MIN_CONTRAST: Final = 0.12
"""Least threshold on the nuclear signal, in optical density: below it, nothing is a nucleus."""
_MIN_NUCLEUS_PX: Final = 40
_LOBE_GAP_PX: Final = 9
_OPENING: Final = 1.2
"""Diameter of the opening that cuts red cells off, in reaches of the cytoplasm."""
_MIN_STAIN: Final = 0.035
_CYTOPLASM_REACH: Final = 0.75
"""How far cytoplasm may reach around a nucleus, in radii of a disc of the nucleus's area."""
_COLOURED: Final = 0.7
"""Share of the way from glass to Otsu's threshold at which a pixel counts as stained."""


def central_cell_mask(pixels: Pixels) -> Mask | None:
    """Where the central white cell is (nucleus and cytoplasm), or None when nothing looks like one.

    Azure absorbs red light and little blue, red cells the reverse, so twice the optical density of red less
    that of blue shows nuclei. Otsu's threshold cuts them out; the one nearest to the centre, with the lobes
    close to it, is the seed. The cell is what is stained around the seed within reach of the nucleus,
    touching red cells cut off by an opening.
    """
    height, width = pixels.shape[:2]
    scale = _WORKING_SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    cell = _cut_out_on_black(small)
    if cell is None:
        density = _net_density(small)
        seed = _central_nucleus(2 * density[:, :, 0] - density[:, :, 2])
        if seed is None:
            return None
        cell = _grow(seed, stain=density.mean(axis=2))
    return np.asarray(cv2.resize(cell, (width, height), interpolation=cv2.INTER_NEAREST) > 0)


def central_cell_box(pixels: Pixels) -> BoxPx | None:
    """The box of `central_cell_mask` in pixels of the picture, or None."""
    mask = central_cell_mask(pixels)
    if mask is None:
        return None
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return (float(x), float(y), float(x + width), float(y + height))


def _net_density(pixels: Pixels) -> NDArray[np.float32]:
    """Optical density over that of glass, the 90th percentile of light outside of any black surround."""
    light = cv2.GaussianBlur(pixels, (0, 0), 1.0).astype(np.float32) + 1
    lit = light[light.max(axis=2) > _DARK]
    glass = np.percentile(lit, 90, axis=0) if len(lit) else np.full(3, 256)
    density = np.maximum(-np.log10(light / glass), 0)
    # A black surround is no stain: without this, cells cut out on black would vanish in it.
    density[light.max(axis=2) <= _DARK] = 0
    return np.asarray(density, dtype=np.float32)


def _cut_out_on_black(pixels: Pixels) -> _Bytes | None:
    """What is lit, where somebody has cut the cell out and put it on black; else None."""
    lit = (pixels.max(axis=2) > _DARK).astype(np.uint8)
    border = np.concatenate([lit[0], lit[-1], lit[:, 0], lit[:, -1]])
    if border.mean() > _LIT_BORDER or int(lit.sum()) < _MIN_NUCLEUS_PX:
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(_opened(lit, 3))
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax(), dtype=np.uint8)


def _central_nucleus(signal: NDArray[np.float32]) -> _Bytes | None:
    threshold = max(_otsu(signal), _MIN_CONTRAST)
    nuclei = _opened((signal > threshold).astype(np.uint8), 3)
    joined = cv2.morphologyEx(nuclei, cv2.MORPH_CLOSE, _disc(_LOBE_GAP_PX))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    height, width = signal.shape
    rows, columns = np.indices(signal.shape)
    away = np.hypot(columns - width / 2, rows - height / 2)
    best, found = np.inf, 0
    for label in range(1, count):
        area = int(stats[label, cv2.CC_STAT_AREA])
        if area < _MIN_NUCLEUS_PX:
            continue
        # A large nucleus a little off the centre beats a speck in it.
        cost = float(away[labels == label].mean()) - np.sqrt(area)
        if cost < best:
            best, found = cost, label
    return ((labels == found) & (nuclei > 0)).astype(np.uint8) if found else None


def _grow(seed: _Bytes, *, stain: NDArray[np.float32]) -> _Bytes:
    hull = np.zeros_like(seed)
    points = cv2.findNonZero(seed)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    reach_px = max(4, int(_CYTOPLASM_REACH * np.sqrt(float(seed.sum()) / np.pi)))
    zone = cv2.dilate(hull, _disc(2 * reach_px + 1))
    # Outside of the nucleus Otsu tells red cells from glass; pale cytoplasm lies between the two.
    coloured = max(_COLOURED * _otsu(stain[hull == 0]), _MIN_STAIN)
    stained = ((stain > coloured) & (zone > 0)).astype(np.uint8) | hull
    core = _opened(stained, max(3, int(_OPENING * reach_px))) | hull
    _, labels = cv2.connectedComponents(core)
    middle = labels[seed > 0]
    return np.asarray(labels == np.bincount(middle[middle > 0]).argmax(), dtype=np.uint8)


def _otsu(values: NDArray[np.float32]) -> float:
    top = float(np.percentile(values, 99.5))
    if top <= 0:
        return 0.0
    levels = np.clip(values / top * 255, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(threshold) / 255 * top


def _opened(mask: _Bytes, diameter_px: int) -> _Bytes:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(diameter_px)), dtype=np.uint8)


def _disc(diameter_px: int) -> _Bytes:
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter_px, diameter_px)), dtype=np.uint8
    )
