"""A smear on its plane: which objects lie where, and the light that passes any window of it."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.camera.virtual_slide.blood import draw_platelet, draw_red_cell
from edge.camera.virtual_slide.conditions import DYES, EOSIN, Population, Stain
from edge.camera.virtual_slide.layout import REACH_UM, TILE_UM, Layout
from edge.camera.virtual_slide.morphology import morphology_of
from edge.camera.virtual_slide.objects import Box, PlacedObject, SmearObject, place
from edge.camera.virtual_slide.raster import Patch
from edge.camera.virtual_slide.streams import stream
from edge.camera.virtual_slide.white_cell import draw_white_cell
from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels

_TILE_PX: Final = 256
_LAID_TILES: Final = 128
_LAYERS: Final = {ObjectKind.RBC: 0, ObjectKind.PLATELET: 1, ObjectKind.WBC: 2}
_SINGLE: Final = 0.85
_STACK: Final = 0.55
"""Eosin of one red cell at its rim, and the most that a pile of others adds to it."""


class SmearPlane:
    """An endless smear, the same for the same seed whatever the order of visits.

    Drawn ground is kept in up to ``cache_bytes``. ``planted`` are white cells put there by hand; those of
    the population keep clear of them.
    """

    def __init__(
        self,
        *,
        seed: int,
        stain: Stain | None = None,
        population: Population | None = None,
        planted: tuple[SmearObject, ...] = (),
        cache_bytes: int = 12 * 1024 * 1024,
    ) -> None:
        self._stain = stain or Stain()
        self._population = population or Population()
        self._layout = Layout(seed=seed, population=self._population, planted=planted)
        self._cache_bytes = cache_bytes
        self._drawn: OrderedDict[tuple[int, int, float], Pixels] = OrderedDict()
        self._laid: OrderedDict[tuple[int, int], tuple[SmearObject, ...]] = OrderedDict()
        self._patches: OrderedDict[tuple[int, float], Patch] = OrderedDict()
        self._patch_bytes = 0

    def objects_in(self, box_um: Box) -> tuple[SmearObject, ...]:
        """The objects whose boxes meet ``box_um``, in the order they are drawn in."""
        x0, y0, x1, y1 = box_um
        found = [
            each
            for row in range(math.floor((y0 - REACH_UM) / TILE_UM), math.floor((y1 + REACH_UM) / TILE_UM) + 1)
            for column in range(
                math.floor((x0 - REACH_UM) / TILE_UM), math.floor((x1 + REACH_UM) / TILE_UM) + 1
            )
            for each in self._tile(column, row)
            if each.box_um[0] < x1 and each.box_um[2] > x0 and each.box_um[1] < y1 and each.box_um[3] > y0
        ]
        return tuple(sorted(found, key=_drawing_order))

    def placed_in(
        self, *, origin_um: tuple[float, float], width_px: int, height_px: int, um_per_px: float
    ) -> tuple[PlacedObject, ...]:
        """The ground truth of a picture with its top left corner at ``origin_um``."""
        x, y = origin_um
        objects = self.objects_in((x, y, x + width_px * um_per_px, y + height_px * um_per_px))
        return place(
            objects, origin_um=origin_um, width_px=width_px, height_px=height_px, um_per_px=um_per_px
        )

    def transmittance(
        self, *, x_px: int, y_px: int, width_px: int, height_px: int, um_per_px: float
    ) -> Pixels:
        """The share of white light that passes, 255 for all, of a window on the grid of ``um_per_px``.

        ``x_px`` and ``y_px`` count from the plane's origin and may be negative.
        """
        out = np.empty((height_px, width_px, 3), dtype=np.uint8)
        for row in range(y_px // _TILE_PX, (y_px + height_px - 1) // _TILE_PX + 1):
            for column in range(x_px // _TILE_PX, (x_px + width_px - 1) // _TILE_PX + 1):
                tile = self._drawn_tile(column, row, um_per_px)
                left, top = column * _TILE_PX - x_px, row * _TILE_PX - y_px
                x0, y0 = max(left, 0), max(top, 0)
                x1, y1 = min(left + _TILE_PX, width_px), min(top + _TILE_PX, height_px)
                out[y0:y1, x0:x1] = tile[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def draw(self, *, x_px: int, y_px: int, width_px: int, height_px: int, um_per_px: float) -> Pixels:
        """As ``transmittance``, but drawn afresh and not kept."""
        x0, y0 = x_px * um_per_px - 1.0, y_px * um_per_px - 1.0
        x1, y1 = x0 + width_px * um_per_px + 2.0, y0 + height_px * um_per_px + 2.0
        dyes = np.zeros((height_px, width_px, DYES), dtype=np.float32)
        objects = self.objects_in((x0, y0, x1, y1))
        reds = sum(each.kind is ObjectKind.RBC for each in objects)
        for each in objects[:reds]:
            _lay(self._patch(each, um_per_px), dyes, x_px=x_px, y_px=y_px)
        _press(dyes[..., EOSIN])
        for each in objects[reds:]:
            _lay(self._patch(each, um_per_px), dyes, x_px=x_px, y_px=y_px)
        density = dyes.reshape(-1, DYES) @ (self._stain.optical_densities * np.float32(-math.log(10)))
        light = np.exp(density, out=density)
        np.clip(light * np.float32(255), 0, 255, out=light)
        return light.astype(np.uint8).reshape(height_px, width_px, 3)

    def drawn_object(self, each: SmearObject, um_per_px: float) -> Patch:
        """One object alone, on clear glass; always the same for the same object and pixel size."""
        rng = stream(each.identity)
        if each.kind is ObjectKind.RBC:
            return draw_red_cell(
                rng,
                center_um=each.center_um,
                diameter_um=self._population.red_cell_um,
                pallor=self._population.pallor,
                um_per_px=um_per_px,
            )
        if each.kind is ObjectKind.PLATELET or each.cell_class is None:
            return draw_platelet(rng, center_um=each.center_um, um_per_px=um_per_px)
        morphology = morphology_of(each.cell_class, each.fab)
        return draw_white_cell(rng, morphology, center_um=each.center_um, um_per_px=um_per_px)

    def _drawn_tile(self, column: int, row: int, um_per_px: float) -> Pixels:
        key = (column, row, um_per_px)
        if key in self._drawn:
            self._drawn.move_to_end(key)
            return self._drawn[key]
        tile = self.draw(
            x_px=column * _TILE_PX,
            y_px=row * _TILE_PX,
            width_px=_TILE_PX,
            height_px=_TILE_PX,
            um_per_px=um_per_px,
        )
        self._drawn[key] = tile
        while len(self._drawn) > 1 and len(self._drawn) * tile.nbytes > self._cache_bytes:
            self._drawn.popitem(last=False)
        return tile

    def _patch(self, each: SmearObject, um_per_px: float) -> Patch:
        """The drawn object; kept a while, for an object often lies on several tiles."""
        key = (each.identity, um_per_px)
        if key in self._patches:
            self._patches.move_to_end(key)
            return self._patches[key]
        patch = self.drawn_object(each, um_per_px)
        self._patches[key] = patch
        self._patch_bytes += patch.size_bytes
        while len(self._patches) > 1 and self._patch_bytes > self._cache_bytes:
            self._patch_bytes -= self._patches.popitem(last=False)[1].size_bytes
        return patch

    def _tile(self, column: int, row: int) -> tuple[SmearObject, ...]:
        key = (column, row)
        if key not in self._laid:
            self._laid[key] = self._layout.objects(column, row)
            if len(self._laid) > _LAID_TILES:
                self._laid.popitem(last=False)
        return self._laid[key]


def _drawing_order(each: SmearObject) -> tuple[int, int]:
    return _LAYERS[each.kind], each.identity


def _lay(patch: Patch, dyes: NDArray[np.float32], *, x_px: int, y_px: int) -> None:
    """Add a patch to a window whose top left pixel is ``x_px``, ``y_px``, pushing aside what lies there."""
    left, top = patch.x_px - x_px, patch.y_px - y_px
    rows, columns = patch.dyes.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + columns, dyes.shape[1]), min(top + rows, dyes.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    part = dyes[y0:y1, x0:x1]
    source = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    if patch.cover is not None:
        part *= (1 - patch.cover[source])[..., None]
    part += patch.dyes[source]


def _press(eosin: NDArray[np.float32]) -> None:
    """Thin out stacked red cells in place: where they overlap they flatten and are far from twice as dark."""
    deep = eosin > _SINGLE
    above = eosin[deep] - np.float32(_SINGLE)
    eosin[deep] = _SINGLE + _STACK * (1 - np.exp(-above / (2 * _STACK)))
