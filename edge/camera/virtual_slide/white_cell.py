"""White cells, drawn from their morphology."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.camera.virtual_slide.conditions import AZURE, BLUE, DYES, EOSIN, ORANGE
from edge.camera.virtual_slide.morphology import Granules, Morphology, Nucleus, Range, Vacuoles
from edge.camera.virtual_slide.outline import Lobes, Notch, Outline
from edge.camera.virtual_slide.raster import Patch, Plane, Raster, inside

_COVER: Final = 0.92
"""How much of a red cell's dye a white cell over it pushes aside."""


def white_cell_outline(rng: np.random.Generator, morphology: Morphology) -> Outline:
    """A white cell's border."""
    return Outline.wobbly(
        rng,
        radius_um=0.5 * rng.uniform(*morphology.diameter_um),
        elongation=rng.uniform(*morphology.elongation),
        wobble=rng.uniform(*morphology.wobble),
    )


def draw_white_cell(
    rng: np.random.Generator, morphology: Morphology, *, center_um: tuple[float, float], um_per_px: float
) -> Patch:
    """The cell with its nucleus, cytoplasm, granules and vacuoles."""
    outline = white_cell_outline(rng, morphology)
    raster = Raster.around(center_um, reach_um=outline.reach_um + 0.7, um_per_px=um_per_px)
    depth = outline.depth_um(raster.x_um, raster.y_um) + 0.08 * raster.noise(rng, scale_um=1.1)
    body = inside(depth, um_per_px=um_per_px, soft_um=0.3)
    nuclear_depth = _nuclear_depth_um(rng, morphology.nucleus, outline, raster)
    nuclear = inside(np.minimum(nuclear_depth, depth - 0.12), um_per_px=um_per_px)

    dyes = _cytoplasm(rng, morphology, raster, depth) * body[..., None]
    if morphology.granules is not None:
        _add_granules(rng, morphology.granules, outline, raster, body, nuclear, dyes)
    dyes *= 1 - 0.75 * nuclear[..., None]
    chromatin = _chromatin(rng, morphology.nucleus, raster, nuclear, nuclear_depth)
    dyes[..., AZURE] += chromatin
    if morphology.granules is not None and morphology.granules.over_nucleus:
        _cover_nucleus(rng, morphology.granules, outline, raster, nuclear, dyes)
    if morphology.vacuoles is not None:
        dyes *= 1 - _holes(rng, morphology.vacuoles, outline, raster, nuclear)[..., None]
    return Patch(raster.x_px, raster.y_px, dyes, cover=_COVER * body)


def _nuclear_depth_um(rng: np.random.Generator, nucleus: Nucleus, outline: Outline, raster: Raster) -> Plane:
    """How deep in the nucleus each point lies; bent a little, as nothing alive is exact."""
    cell_um = math.sqrt(outline.area_um2 / math.pi)
    share = rng.uniform(*nucleus.share)
    wobble = rng.uniform(*nucleus.wobble)
    bend_um = 5.0 * wobble if nucleus.shape in {"lobed", "rod"} else 1.2 * wobble
    x = raster.x_um + np.float32(bend_um) * raster.noise(rng, scale_um=2.3)
    y = raster.y_um + np.float32(bend_um) * raster.noise(rng, scale_um=2.3)
    if nucleus.shape == "lobed":
        count = int(rng.choice(nucleus.lobes))
        bridge_um = rng.uniform(0.22, 0.5)
        lobes = Lobes.chain(rng, count=count, cell_radius_um=cell_um, share=share, bridge_um=bridge_um)
        return lobes.depth_um(x, y)
    if nucleus.shape == "rod":
        thickness_um = cell_um * rng.uniform(0.48, 0.6)
        return Lobes.sausage(rng, cell_radius_um=cell_um, thickness_um=thickness_um).depth_um(x, y)
    notch = None
    if nucleus.shape == "notched":
        notch = Notch(share=rng.uniform(*nucleus.notch_share), width=rng.uniform(*nucleus.notch_width))
    border = Outline.wobbly(
        rng,
        radius_um=cell_um * math.sqrt(share),
        elongation=rng.uniform(0.0, 0.05) + 0.3 * wobble,
        wobble=wobble,
        notch=notch,
    )
    # A notch takes area; the nucleus is scaled so that its share stays what the table says.
    border = Outline(border.radii_um * np.float32(cell_um * math.sqrt(share * math.pi / border.area_um2)))
    room_um = max(cell_um - border.reach_um - 0.15, 0.0)
    away_um = min(rng.uniform(*nucleus.off_center), room_um + 0.2)
    angle = rng.uniform(0, 2 * math.pi)
    return border.depth_um(
        x - np.float32(away_um * math.cos(angle)), y - np.float32(away_um * math.sin(angle))
    )


def _cytoplasm(
    rng: np.random.Generator, morphology: Morphology, raster: Raster, depth: Plane
) -> NDArray[np.float32]:
    """Its dyes before granules: uneven by ``dusting``, deeper towards the border by ``rim``."""
    uneven = 1 + 0.10 * raster.noise(rng, scale_um=2.5)
    uneven += np.float32(morphology.dusting) * raster.noise(rng, scale_um=0.45) * 0.6
    uneven += np.float32(morphology.rim) * np.exp(-((depth / 0.8) ** 2))
    uneven = np.clip(uneven, 0.2, 2)
    dyes = np.zeros((*raster.shape, DYES), dtype=np.float32)
    for dye, amount in ((BLUE, morphology.blue), (EOSIN, morphology.eosin), (AZURE, morphology.azure)):
        dyes[..., dye] = uneven * np.float32(rng.uniform(*amount))
    return dyes


def _chromatin(
    rng: np.random.Generator, nucleus: Nucleus, raster: Raster, nuclear: Plane, depth: Plane
) -> Plane:
    """Azure in the nucleus: clumps at two scales, a darker membrane, paler nucleoli."""
    texture = np.float32(nucleus.coarse) * raster.noise(rng, scale_um=nucleus.clump_um)
    texture += np.float32(nucleus.fine) * raster.noise(rng, scale_um=nucleus.clump_um / 3)
    amount = 1 + texture + 0.14 * np.exp(-((depth / 0.4) ** 2))
    count = int(rng.integers(nucleus.nucleoli[0], nucleus.nucleoli[1] + 1))
    if count:
        pale = _scattered(rng, count, (0.6, 1.1), raster, np.clip((depth - 0.9) * 2, 0, 1))
        amount *= 1 - 0.34 * pale
    return np.asarray(
        nuclear * np.clip(amount, 0.25, 2) * np.float32(rng.uniform(*nucleus.dark)), dtype=np.float32
    )


def _add_granules(
    rng: np.random.Generator,
    granules: Granules,
    outline: Outline,
    raster: Raster,
    body: Plane,
    nuclear: Plane,
    dyes: NDArray[np.float32],
) -> None:
    count = int(outline.area_um2 * rng.uniform(*granules.per_um2))
    grains = _scattered(rng, count, granules.radius_um, raster, None) * body * (1 - nuclear)
    shade = 1 + 0.2 * raster.noise(rng, scale_um=0.6)
    for dye, amount in ((AZURE, granules.azure), (ORANGE, granules.orange), (EOSIN, granules.eosin)):
        if amount:
            dyes[..., dye] += grains * shade * np.float32(amount)


def _cover_nucleus(
    rng: np.random.Generator,
    granules: Granules,
    outline: Outline,
    raster: Raster,
    nuclear: Plane,
    dyes: NDArray[np.float32],
) -> None:
    count = int(outline.area_um2 * rng.uniform(*granules.per_um2) * granules.over_nucleus)
    grains = _scattered(rng, count, granules.radius_um, raster, None) * nuclear
    dyes[..., AZURE] += grains * np.float32(0.8 * granules.azure)
    dyes[..., ORANGE] += grains * np.float32(0.7 * granules.orange)


def _holes(
    rng: np.random.Generator, vacuoles: Vacuoles, outline: Outline, raster: Raster, nuclear: Plane
) -> Plane:
    count = int(rng.integers(vacuoles.count[0], vacuoles.count[1] + 1))
    inner = Outline(outline.radii_um - np.float32(vacuoles.radius_um[1] + 0.25))
    room = (inner.depth_um(raster.x_um, raster.y_um) > 0).astype(np.float32)
    over = round(count * vacuoles.over_nucleus)
    beside = _scattered(rng, count - over, vacuoles.radius_um, raster, room * (1 - nuclear))
    upon = _scattered(rng, over, vacuoles.radius_um, raster, room * nuclear)
    return np.asarray(np.maximum(0.85 * beside, 0.6 * upon), dtype=np.float32)


def _scattered(
    rng: np.random.Generator, count: int, radius_um: Range, raster: Raster, where: Plane | None
) -> Plane:
    """Discs at random places of the cell, or of ``where``: then the best of many throws are kept."""
    throws = count if where is None else 40 * count
    reach = raster.reach_um
    angles, distances = rng.uniform(0, 2 * math.pi, throws), reach * np.sqrt(rng.random(throws))
    centers = np.stack([distances * np.cos(angles), distances * np.sin(angles)], axis=1)
    radii = rng.uniform(*radius_um, throws)
    if where is not None:
        rows, columns = raster.shape
        column = ((centers[:, 0] - raster.x_um[0, 0]) / raster.um_per_px).astype(int).clip(0, columns - 1)
        row = ((centers[:, 1] - raster.y_um[0, 0]) / raster.um_per_px).astype(int).clip(0, rows - 1)
        kept = np.flatnonzero(np.round(where[row, column]) > 0)[:count]
        centers, radii = centers[kept], radii[kept]
    return raster.discs(centers, radii)
