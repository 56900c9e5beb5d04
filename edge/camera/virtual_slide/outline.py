"""Outlines of cells and nuclei: a radius for every direction, or a chain of lobes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.camera.virtual_slide.objects import Box
from edge.camera.virtual_slide.raster import Plane

_DIRECTIONS: Final = 256
_ANGLES: Final = np.linspace(0, 2 * math.pi, _DIRECTIONS, endpoint=False)
_COS: Final = np.cos(_ANGLES)
_SIN: Final = np.sin(_ANGLES)
_ORDERS: Final = np.arange(2, 7)
_WAVES: Final = np.exp(1j * _ORDERS[:, None] * _ANGLES)
_WOBBLE: Final = 0.5 * np.array([0.9, 1.0, 0.6, 0.35, 0.2])


@dataclass(frozen=True, kw_only=True)
class Notch:
    """A dent in an outline: its share of the radius and its half width in radians."""

    share: float
    width: float


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed border around a centre: ``radii_um`` at 256 even angles, beginning at +x."""

    radii_um: NDArray[np.float32]

    @classmethod
    def wobbly(
        cls,
        rng: np.random.Generator,
        *,
        radius_um: float,
        elongation: float = 0.0,
        wobble: float = 0.0,
        notch: Notch | None = None,
    ) -> Self:
        """A circle drawn out by ``elongation`` and uneven by ``wobble``, both shares of the radius."""
        phases = rng.uniform(0, 2 * math.pi, 6)
        waves = wobble * _WOBBLE * rng.uniform(0.4, 1.0, 5) * np.exp(1j * phases[1:])
        waves[0] += elongation * np.exp(1j * phases[0])
        radii = 1 + (waves @ _WAVES).real
        if notch is not None:
            away = np.angle(np.exp(1j * (_ANGLES - rng.uniform(0, 2 * math.pi))))
            radii *= 1 - notch.share * np.exp(-((away / notch.width) ** 2))
        return cls((radius_um * radii).astype(np.float32))

    @property
    def box_um(self) -> Box:
        """The box around the border, the centre being 0, 0."""
        x, y = self.radii_um * _COS, self.radii_um * _SIN
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    @property
    def reach_um(self) -> float:
        """The largest radius."""
        return float(self.radii_um.max())

    @property
    def area_um2(self) -> float:
        """The area enclosed."""
        return float(np.mean(self.radii_um.astype(np.float64) ** 2) * math.pi)

    def depth_um(self, x_um: Plane, y_um: Plane) -> Plane:
        """How far inside the border each point lies along its radius; negative outside."""
        distance, angle = cv2.cartToPolar(x_um, y_um)
        # Linear between the directions: steps would show as facets on a large cell.
        position = angle * np.float32(_DIRECTIONS / (2 * math.pi))
        low = position.astype(np.int32)
        share = position - low
        low %= _DIRECTIONS
        ring = np.append(self.radii_um, self.radii_um[:1])
        radius = ring[low] * (1 - share) + ring[low + 1] * share
        return np.asarray(radius - distance, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Lobes:
    """Discs in a chain, each joined to the next by a bridge of half width ``bridge_um``."""

    centers_um: NDArray[np.float64]
    radii_um: NDArray[np.float64]
    bridge_um: float

    @classmethod
    def chain(
        cls, rng: np.random.Generator, *, count: int, cell_radius_um: float, share: float, bridge_um: float
    ) -> Self:
        """``count`` lobes that together fill ``share`` of the cell's disc, bent around its middle."""
        mean_um = cell_radius_um * math.sqrt(share / count)
        radii = mean_um * rng.uniform(0.85, 1.15, count)
        ring_um = max(min(cell_radius_um - 1.12 * mean_um, 1.55 * mean_um), 0.95 * mean_um)
        step = 2 * math.asin(min(0.98 * mean_um / ring_um, 0.99))
        step = min(step, math.radians(305) / max(count - 1, 1))
        start = rng.uniform(0, 2 * math.pi)
        angles = start + step * np.arange(count) + rng.uniform(-0.14, 0.14, count)
        distances = ring_um * rng.uniform(0.86, 1.06, count)
        centers = np.stack([distances * np.cos(angles), distances * np.sin(angles)], axis=1)
        return cls(centers, radii, bridge_um)

    @classmethod
    def sausage(cls, rng: np.random.Generator, *, cell_radius_um: float, thickness_um: float) -> Self:
        """A curved rod, as a band cell has it: many discs of nearly one size along a bent line."""
        count = 15
        ring_um = cell_radius_um * rng.uniform(0.46, 0.56)
        span = math.radians(rng.uniform(165, 245))
        along = np.linspace(-0.5, 0.5, count)
        angles = rng.uniform(0, 2 * math.pi) + span * along
        # The middle of the rod is a little narrower than its ends.
        radii = 0.5 * thickness_um * (0.88 + 0.5 * along**2 + rng.uniform(-0.02, 0.02, count))
        distances = ring_um * (1 + rng.uniform(-0.25, 0.1) * np.cos(math.pi * along))
        centers = np.stack([distances * np.cos(angles), distances * np.sin(angles)], axis=1)
        return cls(centers, radii, 0.7 * thickness_um / 2)

    def depth_um(self, x_um: Plane, y_um: Plane) -> Plane:
        """How far inside the nearest lobe or bridge each point lies; negative outside."""
        depth = np.full(x_um.shape, -1e3, dtype=np.float32)
        for (cx, cy), radius in zip(self.centers_um, self.radii_um, strict=True):
            distance = cv2.magnitude(x_um - np.float32(cx), y_um - np.float32(cy))
            np.maximum(depth, np.float32(radius) - distance, out=depth)
        for (ax, ay), (bx, by) in zip(self.centers_um[:-1], self.centers_um[1:], strict=True):
            vx, vy = bx - ax, by - ay
            length2 = max(vx * vx + vy * vy, 1e-9)
            along = ((x_um - ax) * (vx / length2) + (y_um - ay) * (vy / length2)).clip(0, 1)
            distance = cv2.magnitude(
                (x_um - ax - along * vx).astype(np.float32), (y_um - ay - along * vy).astype(np.float32)
            )
            np.maximum(depth, np.float32(self.bridge_um) - distance, out=depth)
        return depth
