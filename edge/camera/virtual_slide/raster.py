"""A window of pixels around an object, its coordinates in micrometres, and what is drawn in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

Plane = NDArray[np.float32]
"""One float per pixel, shape (height_px, width_px)."""

EDGE_UM: Final = 0.22
"""Width over which a border fades: what a good oil immersion objective resolves."""

_BLUR_NODES: Final = 0.8
_UNBLURRED: Final = 0.85 * 2 * math.sqrt(math.pi) * _BLUR_NODES
"""Gives white noise its spread back after the blur (a Gaussian's sum of squares), and a little less."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Pixels on the plane's own grid, so that windows drawn apart fit together.

    ``x_um`` and ``y_um`` are the distances of the pixels' centres from the object's centre.
    """

    x_px: int
    y_px: int
    um_per_px: float
    reach_um: float
    x_um: Plane
    y_um: Plane

    @classmethod
    def around(cls, center_um: tuple[float, float], *, reach_um: float, um_per_px: float) -> Self:
        """The pixels within ``reach_um`` of ``center_um``, left, right, up and down."""
        (x0, xs), (y0, ys) = (_axis(center, reach_um=reach_um, um_per_px=um_per_px) for center in center_um)
        x_um, y_um = np.meshgrid(xs, ys)
        return cls(x0, y0, um_per_px, reach_um, x_um, y_um)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.x_um.shape[0], self.x_um.shape[1]

    def noise(self, rng: np.random.Generator, *, scale_um: float) -> Plane:
        """Smooth noise, about -1 to 1, with features of ``scale_um``; the same at any pixel size."""
        # The lattice is turned at random and rounded by a blur, or its axes would show as a weave.
        pitch_um = scale_um / 1.5
        nodes = math.ceil(2 * math.sqrt(2) * self.reach_um / pitch_um) + 6
        angle = rng.uniform(0, 2 * math.pi)
        white = rng.standard_normal((nodes, nodes), dtype=np.float32)
        lattice = np.clip(_UNBLURRED * cv2.GaussianBlur(white, (0, 0), _BLUR_NODES), -2, 2)
        cos, sin = math.cos(angle) / pitch_um, math.sin(angle) / pitch_um
        x0, y0 = float(self.x_um[0, 0]), float(self.y_um[0, 0])
        middle = 0.5 * (nodes - 1)
        to_lattice = np.array(
            [
                [cos * self.um_per_px, -sin * self.um_per_px, cos * x0 - sin * y0 + middle],
                [sin * self.um_per_px, cos * self.um_per_px, sin * x0 + cos * y0 + middle],
            ]
        )
        rows, columns = self.shape
        mapped = cv2.warpAffine(
            lattice,
            to_lattice,
            (columns, rows),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        return np.asarray(mapped, dtype=np.float32)

    def discs(self, centers_um: NDArray[np.float64], radii_um: NDArray[np.float64]) -> Plane:
        """The union of soft-edged discs, 0 to 1."""
        out = np.zeros(self.shape, dtype=np.float32)
        soft_um = max(EDGE_UM, 0.8 * self.um_per_px)
        for (cx, cy), radius in zip(centers_um, radii_um, strict=True):
            half = radius + soft_um
            x0 = max(int((cx - half - self.x_um[0, 0]) / self.um_per_px), 0)
            y0 = max(int((cy - half - self.y_um[0, 0]) / self.um_per_px), 0)
            side = int(2 * half / self.um_per_px) + 3
            part = out[y0 : y0 + side, x0 : x0 + side]
            if part.size == 0:
                continue
            dx = self.x_um[0, x0 : x0 + side] - np.float32(cx)
            dy = self.y_um[y0 : y0 + side, :1] - np.float32(cy)
            disc = np.clip((np.float32(radius) - np.sqrt(dx * dx + dy * dy)) / soft_um + 0.5, 0, 1)
            np.maximum(part, disc, out=part)
        return out


@dataclass(frozen=True, eq=False)
class Patch:
    """A drawn object: dye amounts (height_px, width_px, dyes), and how far it pushes others aside, 0 to 1."""

    x_px: int
    y_px: int
    dyes: NDArray[np.float32]
    cover: Plane | None = None

    @property
    def size_bytes(self) -> int:
        """What keeping it costs."""
        return self.dyes.nbytes + (self.cover.nbytes if self.cover is not None else 0)


def inside(depth_um: Plane, *, um_per_px: float, soft_um: float = EDGE_UM) -> Plane:
    """1 where the depth below a border is positive, 0 outside, a soft step over ``soft_um`` between."""
    width = max(soft_um, 0.8 * um_per_px)
    step = np.clip(depth_um / np.float32(width) + np.float32(0.5), 0, 1)
    return np.asarray(step * step * (3 - 2 * step), dtype=np.float32)


def _axis(center_um: float, *, reach_um: float, um_per_px: float) -> tuple[int, Plane]:
    first = math.floor((center_um - reach_um) / um_per_px)
    last = math.ceil((center_um + reach_um) / um_per_px)
    centers_um = (np.arange(first, last, dtype=np.float64) + 0.5) * um_per_px - center_um
    return first, centers_um.astype(np.float32)
