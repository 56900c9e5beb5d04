"""Red cells and platelets: their outlines and their dye."""

from __future__ import annotations

import cv2
import numpy as np

from edge.camera.virtual_slide.conditions import AZURE, BLUE, DYES, EOSIN
from edge.camera.virtual_slide.outline import Outline
from edge.camera.virtual_slide.raster import Patch, Raster, inside


def red_cell_outline(rng: np.random.Generator, *, diameter_um: float) -> Outline:
    """A red cell's border: mostly round, some drawn out."""
    elongation = min(abs(rng.normal(0, 0.07)), 0.25)
    wobble = min(abs(rng.normal(0.05, 0.035)), 0.16)
    radius_um = 0.5 * diameter_um * rng.normal(1, 0.05)
    return Outline.wobbly(rng, radius_um=radius_um, elongation=elongation, wobble=wobble)


def draw_red_cell(
    rng: np.random.Generator,
    *,
    center_um: tuple[float, float],
    diameter_um: float,
    pallor: float,
    um_per_px: float,
) -> Patch:
    """A flattened disc, paler in its middle by about ``pallor``, with a bright seam around its edge."""
    outline = red_cell_outline(rng, diameter_um=diameter_um)
    raster = Raster.around(center_um, reach_um=outline.reach_um + 0.8, um_per_px=um_per_px)
    depth = outline.depth_um(raster.x_um, raster.y_um)
    body = inside(depth, um_per_px=um_per_px)
    # The thickness of a biconcave disc over its radius (Evans and Fung 1972), levelled by the drying.
    reach = np.float32(outline.reach_um)
    shift_um = rng.normal(0, 0.05, 2) * diameter_um
    rho = cv2.magnitude(raster.x_um - np.float32(shift_um[0]), raster.y_um - np.float32(shift_um[1]))
    rho = np.minimum(np.minimum(rho / reach, 1 - depth / reach).clip(0, 1), 1)
    square = rho * rho
    thickness = np.sqrt(1.02 - square) * (0.81 + 7.83 * square - 4.39 * square * square) / 2.57
    own_pallor = np.float32(np.clip(pallor * rng.normal(1, 0.35), 0, 1))
    hollow = 1 - inside(rho - np.float32(rng.uniform(0.34, 0.5)), um_per_px=um_per_px, soft_um=0.35)
    amount = (1 - own_pallor) * (0.88 + 0.1 * rho) + own_pallor * thickness * (1 - 0.45 * hollow)
    amount += 0.16 * np.exp(-((depth / 0.3) ** 2))
    amount *= body * np.float32(rng.normal(1, 0.08))
    amount *= 1 + 0.03 * raster.noise(rng, scale_um=1.2)
    seam = np.exp(-(((depth + 0.32) / 0.2) ** 2)) * (1 - body)
    dyes = np.zeros((*raster.shape, DYES), dtype=np.float32)
    dyes[..., EOSIN] = amount - 0.12 * seam
    dyes[..., BLUE] = amount * np.float32(max(rng.normal(0.06, 0.05), 0))
    return Patch(raster.x_px, raster.y_px, dyes)


def platelet_outline(rng: np.random.Generator) -> Outline:
    """A platelet's border, 2 to 3 um across and seldom round."""
    radius_um = 0.5 * np.clip(rng.normal(2.5, 0.4), 1.7, 4.0)
    return Outline.wobbly(
        rng, radius_um=radius_um, elongation=abs(rng.normal(0, 0.12)), wobble=rng.uniform(0.1, 0.35)
    )


def draw_platelet(rng: np.random.Generator, *, center_um: tuple[float, float], um_per_px: float) -> Patch:
    """A small lilac body with purple granules towards its middle."""
    outline = platelet_outline(rng)
    raster = Raster.around(center_um, reach_um=outline.reach_um + 0.6, um_per_px=um_per_px)
    depth = outline.depth_um(raster.x_um, raster.y_um)
    body = inside(depth, um_per_px=um_per_px, soft_um=0.4)
    core = np.clip(depth / np.float32(0.8 * outline.reach_um), 0, 1)
    granules = np.clip(0.45 + 0.6 * raster.noise(rng, scale_um=0.32), 0, 1.5) * core
    dark = rng.uniform(0.5, 1.05)
    dyes = np.zeros((*raster.shape, DYES), dtype=np.float32)
    dyes[..., AZURE] = body * (0.16 + 0.55 * granules) * np.float32(dark)
    dyes[..., BLUE] = body * np.float32(0.3 * dark)
    dyes[..., EOSIN] = body * np.float32(0.06)
    return Patch(raster.x_px, raster.y_px, dyes, cover=0.8 * body)
