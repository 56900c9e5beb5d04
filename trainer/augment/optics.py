"""Light, lens, sensor and file as things to change.

Each function changes a picture by stated amounts; the random amounts are drawn in `trainer.augment.recipe`.
All take and give uint8 RGB of the same shape.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from trainer.augment.stain import Pixels

_LUMA: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def tone(pixels: Pixels, *, gains: tuple[float, float, float], gamma: float, contrast: float = 1.0) -> Pixels:
    """White balance (a gain for each channel), gamma and contrast around mid grey, as one table look-up."""
    levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None] * np.asarray(gains, dtype=np.float32)
    levels = np.clip(levels, 0, 1) ** gamma
    levels = np.clip((levels - 0.5) * contrast + 0.5, 0, 1)
    table = (levels * 255 + 0.5).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.LUT(pixels, table), dtype=np.uint8)


def grey(pixels: Pixels, *, share: float) -> Pixels:
    """Colour drained by ``share``: 1 leaves grey."""
    mix = np.eye(3, dtype=np.float32) * (1 - share) + np.tile(_LUMA, (3, 1)) * share
    return np.asarray(cv2.transform(pixels, mix), dtype=np.uint8)


def vignette(pixels: Pixels, *, darkening: float, center: tuple[float, float] = (0.5, 0.5)) -> Pixels:
    """Light that falls off with the square of the distance from ``center`` (shares of width and height).

    ``darkening`` is the loss at half a diagonal's distance from the centre.
    """
    height, width = pixels.shape[:2]
    x = (np.arange(width, dtype=np.float32) / width - np.float32(center[0])) ** 2
    y = (np.arange(height, dtype=np.float32) / height - np.float32(center[1])) ** 2
    light = np.clip(1 - darkening * 2 * (y[:, None] + x[None, :]), 0, 1)
    return np.asarray(pixels * light[:, :, None], dtype=np.uint8)


def blur(pixels: Pixels, *, sigma_px: float) -> Pixels:
    """Defocus as a Gaussian."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), dtype=np.uint8)


def motion_blur(pixels: Pixels, *, length_px: float, angle_rad: float) -> Pixels:
    """The stage moving during exposure."""
    side = int(np.ceil(length_px)) | 1
    middle = side // 2
    reach = np.array([np.cos(angle_rad), np.sin(angle_rad)]) * (length_px - 1) / 2
    kernel = np.zeros((side, side), dtype=np.float32)
    start, end = np.rint(middle - reach).astype(int), np.rint(middle + reach).astype(int)
    cv2.line(kernel, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0)
    return np.asarray(
        cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), dtype=np.uint8
    )


def sharpen(pixels: Pixels, *, sigma_px: float, amount: float) -> Pixels:
    """Unsharp masking, as cameras do unasked."""
    soft = cv2.GaussianBlur(pixels, (0, 0), sigma_px)
    return np.asarray(cv2.addWeighted(pixels, 1 + amount, soft, -amount, 0), dtype=np.uint8)


def noise(pixels: Pixels, rng: np.random.Generator, *, deviation: float) -> Pixels:
    """Sensor noise of a standard deviation in 8-bit levels, the same in every channel's statistics."""
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(deviation)
    return np.clip(pixels + grain + 0.5, 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, *, quality: int) -> Pixels:
    """The picture after a JPEG file of ``quality`` (1 to 100)."""
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def rescale(pixels: Pixels, *, factor: float) -> Pixels:
    """Down to ``factor`` of its size and up again: a coarser pixel, the same picture size."""
    height, width = pixels.shape[:2]
    small = (max(int(width * factor), 2), max(int(height * factor), 2))
    coarse = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
