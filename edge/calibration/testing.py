"""A stage micrometer and empty glass under an imagined objective, with the truth known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels

_FINER: Final = 3
"""Each pixel is the mean of so many squared points, as a sensor averages over its area."""
_GRAIN_PX: Final = (1.0, 7.0)
_FIBRES: Final = 0.2
_FIBRE_STEPS: Final = 6
_FIBRE_STEP_PX: Final = 8.0


@dataclass(frozen=True, kw_only=True)
class Micrometer:
    """A picture of a ruled glass: dark lines ``pitch_px`` apart, seen across at ``angle_deg``.

    ``line_share`` is a line's width in pitches. Every fifth line is long, every tenth longer; the short
    ones end after ``short_share`` of the picture. ``blur_px`` and ``noise`` (grey levels) are standard
    deviations; ``gradient`` is the share of light lost from one side to the other; ``uneven`` the standard
    deviation of the lines' places in pitches, and of their darkness as a share. ``bright`` rules bright
    lines on a dark field. ``specks`` is how many grains and fibres lie on the glass. ``tilt_blur_px`` is by
    how much the right edge is further out of focus than the left one, where the glass lies aslant.
    """

    pitch_px: float
    angle_deg: float = 0.0
    width_px: int = 640
    height_px: int = 480
    line_share: float = 0.2
    short_share: float = 0.7
    depth: float = 0.6
    blur_px: float = 1.0
    noise: float = 3.0
    gradient: float = 0.2
    uneven: float = 0.0
    lines: int | None = None
    bright: bool = False
    specks: int = 0
    tilt_blur_px: float = 0.0

    def render(self, seed: int) -> Pixels:
        """The picture; ``seed`` chooses noise, phase and unevenness."""
        rng = np.random.default_rng(seed)
        along, across = self._places()
        phase = rng.uniform(-0.5, 0.5)
        number = np.rint(across / self.pitch_px - phase).astype(np.int32)
        lowest, highest = int(number.min()), int(number.max())
        nudge, shade = rng.normal(0, self.uneven, (2, highest - lowest + 1)).astype(np.float32)
        middle = (number + np.float32(phase) + nudge[number - lowest]) * np.float32(self.pitch_px)
        inside_px = self.line_share * self.pitch_px / 2 - np.abs(across - middle)
        ink = np.clip(inside_px * _FINER + 0.5, 0, 1) * np.clip(1 + 5 * shade, 0.3, 1.7)[number - lowest]
        ends = np.where(number % 10 == 0, 1.0, np.where(number % 5 == 0, 0.9, self.short_share))
        ink *= along < (2 * ends - 1) * float(np.abs(along).max())
        if self.lines is not None:
            first = -(self.lines // 2)
            ink *= (number >= first) & (number < first + self.lines)
        self._soil(ink, np.random.default_rng((seed, self.specks)))
        # The objective blurs what the sensor then takes the mean of: only so do fine lines alias as they do.
        seen = cv2.GaussianBlur(ink, (0, 0), max(self.blur_px, 0.1) * _FINER)
        if self.tilt_blur_px > 0:
            softer = cv2.GaussianBlur(seen, (0, 0), self.tilt_blur_px * _FINER)
            seen += (softer - seen) * np.linspace(0, 1, seen.shape[1], dtype=np.float32)[None, :]
        seen = cv2.resize(seen, (self.width_px, self.height_px), interpolation=cv2.INTER_AREA)
        light = 1 - self.depth * np.clip(seen, 0, 1.5)
        if self.bright:
            light = 1 - light + 0.2
        ramp = 1 - self.gradient * np.linspace(0, 1, self.width_px, dtype=np.float32)[None, :]
        return _exposed(light * ramp * 220, self.noise, rng)

    def _soil(self, ink: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Lay specks onto the ruling: mostly grains, some fibres, each as dark as a line or less."""
        layer = np.zeros_like(ink)
        for _ in range(self.specks):
            x_px, y_px = rng.uniform(0, (self.width_px, self.height_px)) * _FINER
            dark = float(rng.uniform(0.3, 1.2))
            if rng.random() < _FIBRES:
                steps_px = rng.normal(0, _FIBRE_STEP_PX * _FINER, (_FIBRE_STEPS, 2)) + rng.normal(0, 10, 2)
                points = np.cumsum(steps_px, axis=0) + np.array([x_px, y_px])
                cv2.polylines(
                    layer, [points.astype(np.int32)], isClosed=False, color=dark, thickness=2 * _FINER
                )
            else:
                radius = round(float(rng.uniform(*_GRAIN_PX)) * _FINER)
                cv2.circle(layer, (int(x_px), int(y_px)), radius, dark, thickness=-1)
        np.maximum(ink, layer, out=ink)

    def _places(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Along and across the lines from the picture's middle, in pixels, at each fine point."""
        x, y = (
            (np.arange(size * _FINER, dtype=np.float32) + 0.5) / _FINER - size / 2
            for size in (self.width_px, self.height_px)
        )
        angle = math.radians(self.angle_deg)
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        along = y[:, None] * cos - x[None, :] * sin
        across = x[None, :] * cos + y[:, None] * sin
        return np.asarray(along, dtype=np.float32), np.asarray(across, dtype=np.float32)


def distorted(picture: Pixels, share: float) -> Pixels:
    """``picture`` by a lens that shows the corners smaller by ``share`` than the middle (third order)."""
    height_px, width_px = picture.shape[:2]
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float32)
    x, y, reach_px = x - width_px / 2, y - height_px / 2, math.hypot(width_px, height_px) / 2
    wider = np.asarray(1 + share * (x**2 + y**2) / reach_px**2, dtype=np.float32)
    places = (x * wider + width_px / 2, y * wider + height_px / 2)
    seen = cv2.remap(picture, *places, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE)
    return np.asarray(seen, dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class EmptyGlass:
    """Empty glass: its colour, 0 to 1, and the share of light lost in the corners about ``bright_at``.

    As ``edge.camera.virtual_slide`` lights its frames, so that both may stand under one lamp.
    """

    tint: tuple[float, float, float] = (0.86, 0.87, 0.85)
    vignette: float = 0.12
    bright_at: tuple[float, float] = (0.5, 0.5)
    width_px: int = 640
    height_px: int = 480
    noise: float = 2.0

    @property
    def light(self) -> NDArray[np.float32]:
        """How bright each pixel is, 0 to 1, shape (height_px, width_px, 3)."""
        x = (np.arange(self.width_px, dtype=np.float32) + 0.5) / self.width_px - self.bright_at[0]
        y = (np.arange(self.height_px, dtype=np.float32) + 0.5) / self.height_px - self.bright_at[1]
        loss = 2 * self.vignette * (x[None, :] ** 2 + y[:, None] ** 2)
        return np.asarray((1 - loss)[..., None] * np.asarray(self.tint, dtype=np.float32), dtype=np.float32)

    @property
    def darkest_loss(self) -> float:
        """The share of light that the darkest pixel lacks against the brightest."""
        even = self.light.mean(axis=2)
        return 1 - float(even.min() / even.max())

    def render(self, seed: int) -> Pixels:
        """The picture; ``seed`` chooses the noise."""
        return _exposed(self.light * 255, self.noise, np.random.default_rng(seed))

    def falls_on(self, pixels: Pixels) -> Pixels:
        """``pixels`` of even, white light as they would be in this light."""
        return np.asarray(cv2.multiply(pixels, self.light, dtype=cv2.CV_8U), dtype=np.uint8)


def _exposed(light: NDArray[np.float32], noise: float, rng: np.random.Generator) -> Pixels:
    grain = rng.normal(0, noise, (*light.shape[:2], 3)) if noise > 0 else 0.0
    shaped = light if light.ndim == 3 else light[..., None]  # noqa: PLR2004 - height, width, channels
    return np.asarray(np.clip(np.rint(shaped + grain), 0, 255), dtype=np.uint8)
