"""Pixels as features, for the classifiers that a paper set directly on its pictures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]

_CHANNELS = 3


def pixel_features(pixels: Pixels, *, size_px: int | None) -> Features:
    """Pictures (n, height, width, 3) as rows of numbers 0 to 255, shrunk to ``size_px`` squared first.

    The rows (n, size_px * size_px * 3) take 4 bytes a number: 49 KB a picture at 64 px, 600 KB at 224 px.
    ``size_px`` None leaves the pictures as they are. Raises ValueError where a picture would grow.
    """
    count, height, width, channels = pixels.shape
    if channels != _CHANNELS:
        raise ValueError(f"{channels} channels instead of {_CHANNELS}")
    if size_px is None:
        return pixels.reshape(count, -1).astype(np.float32)
    if size_px > min(height, width):
        raise ValueError(f"pictures of {width} x {height} px cannot be shrunk to {size_px} px")
    # A picture at a time: all of them as numbers at full size would take gigabytes.
    rows = np.empty((count, size_px * size_px * _CHANNELS), dtype=np.float32)
    for row, picture in zip(rows, pixels, strict=True):
        row[:] = cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA).ravel()
    return rows
