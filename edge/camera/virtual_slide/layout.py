"""Where objects lie on the plane: by tile, each from its own stream, so that the order of visits is nothing.

White cells are laid first, well inside their tiles, so that none touches one of another tile. Red cells then
lie near the sites of a hexagonal lattice, which spaces them across the tiles' borders without asking the
neighbours, and make way for the white cells around.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from edge.camera.virtual_slide.blood import platelet_outline, red_cell_outline
from edge.camera.virtual_slide.conditions import Population
from edge.camera.virtual_slide.morphology import morphology_of
from edge.camera.virtual_slide.objects import FabType, SmearObject
from edge.camera.virtual_slide.outline import Outline
from edge.camera.virtual_slide.streams import stream
from edge.camera.virtual_slide.white_cell import white_cell_outline
from edge.contract.taxonomy import ObjectKind

TILE_UM: Final = 52.0
FIELD_UM2: Final = 51.2 * 38.4
"""What the counts per field refer to: 640 x 480 px of 0.08 um."""
REACH_UM: Final = 24.0
"""No object reaches farther from the tile that it belongs to."""

_MARGIN_UM: Final = 9.5
_PITCH: Final = 0.98
"""Spacing of the lattice's sites in red cells' diameters."""
_CLUMPED: Final = 0.08
"""Share of the places with platelets that hold a clump."""
_PER_PLACE: Final = 1 + 3 * _CLUMPED
"""Platelets per place on average: a clump has 3 to 5."""
_ON_RED: Final = 0.35
"""How often a platelet that falls on a red cell is let lie."""
_TRIES: Final = 10
_KEPT_TILES: Final = 512
_HIDDEN: Final = 0.3
"""Red cells nearer than this, in diameters, would look like one."""
_WHITE, _RED, _PLATELET, _BARE = range(4)
_REGION_UM: Final = 130.0


def outline_of(
    *, kind: ObjectKind, identity: int, cell_class: str | None, fab: FabType | None, red_cell_um: float
) -> Outline:
    """The border of the object with this identity."""
    rng = stream(identity)
    if kind is ObjectKind.RBC:
        return red_cell_outline(rng, diameter_um=red_cell_um)
    if kind is ObjectKind.PLATELET:
        return platelet_outline(rng)
    if cell_class is None:
        raise ValueError("a white cell needs a class")
    return white_cell_outline(rng, morphology_of(cell_class, fab))


def smear_object(
    *,
    kind: ObjectKind,
    identity: int,
    center_um: tuple[float, float],
    population: Population,
    cell_class: str | None = None,
    fab: FabType | None = None,
) -> SmearObject:
    """An object with the box of its own outline."""
    outline = outline_of(
        kind=kind, identity=identity, cell_class=cell_class, fab=fab, red_cell_um=population.red_cell_um
    )
    x0, y0, x1, y1 = outline.box_um
    x, y = center_um
    return SmearObject(
        identity=identity,
        kind=kind,
        center_um=center_um,
        box_um=(x + x0, y + y0, x + x1, y + y1),
        cell_class=cell_class,
        fab=fab,
    )


class Layout:
    """The objects of each tile of a plane. Pure: the same tile is always the same."""

    def __init__(self, *, seed: int, population: Population, planted: tuple[SmearObject, ...] = ()) -> None:
        self._seed = seed
        self._population = population
        self._planted = planted
        self._white: dict[tuple[int, int], tuple[SmearObject, ...]] = {}
        self._classes = tuple(population.mix)
        weights = np.array([population.mix[name] for name in self._classes], dtype=np.float64)
        self._class_shares = weights / weights.sum()
        self._fabs = tuple(population.fab)
        weights = np.array([population.fab[name] for name in self._fabs], dtype=np.float64)
        self._fab_shares = weights / weights.sum()

    def white_cells(self, column: int, row: int) -> tuple[SmearObject, ...]:
        """The white cells whose centres lie in a tile; kept a while, as every neighbour asks for them."""
        if (column, row) not in self._white:
            if len(self._white) >= _KEPT_TILES:
                self._white.clear()
            self._white[column, row] = self._laid_white_cells(column, row)
        return self._white[column, row]

    def _laid_white_cells(self, column: int, row: int) -> tuple[SmearObject, ...]:
        left, top = column * TILE_UM, row * TILE_UM
        cells = [
            each
            for each in self._planted
            if left <= each.center_um[0] < left + TILE_UM and top <= each.center_um[1] < top + TILE_UM
        ]
        rng = stream(self._seed, _WHITE, column, row)
        expected = self._population.white_cells_per_field * TILE_UM**2 / FIELD_UM2
        corner_um = np.array([left, top])
        for _ in range(rng.poisson(expected)):
            cell_class = str(self._classes[rng.choice(len(self._classes), p=self._class_shares)])
            blast_kind = self._fabs[rng.choice(len(self._fabs), p=self._fab_shares)]
            identity = _identity(rng)
            # Several tries for the same cell: giving up at once would thin out the large classes.
            for x, y in corner_um + rng.uniform(_MARGIN_UM, TILE_UM - _MARGIN_UM, (_TRIES, 2)):
                cell = smear_object(
                    kind=ObjectKind.WBC,
                    identity=identity,
                    center_um=(float(x), float(y)),
                    population=self._population,
                    cell_class=cell_class,
                    fab=blast_kind if cell_class == "blast" else None,
                )
                if self._is_bare(x, y):
                    break
                if all(_gap_um(cell, each) > 0 for each in (*cells, *self._planted)):
                    cells.append(cell)
                    break
        return tuple(cells)

    def objects(self, column: int, row: int) -> tuple[SmearObject, ...]:
        """Everything whose lattice site or centre lies in a tile: red cells, platelets, white cells."""
        near = [
            cell
            for around_row in (row - 1, row, row + 1)
            for around_column in (column - 1, column, column + 1)
            for cell in self.white_cells(around_column, around_row)
        ]
        reds = self._red_cells(column, row, near)
        return (*reds, *self._platelets(column, row, near, reds), *self.white_cells(column, row))

    def _red_cells(self, column: int, row: int, near: list[SmearObject]) -> list[SmearObject]:
        rng = stream(self._seed, _RED, column, row)
        diameter_um = self._population.red_cell_um
        pitch_um = _PITCH * diameter_um
        pitch_y_um = pitch_um * math.sqrt(3) / 2
        cells: list[SmearObject] = []
        for site_row in range(
            math.ceil(row * TILE_UM / pitch_y_um), math.ceil((row + 1) * TILE_UM / pitch_y_um)
        ):
            shift = 0.5 * (site_row % 2)
            first = math.ceil(column * TILE_UM / pitch_um - shift)
            last = math.ceil((column + 1) * TILE_UM / pitch_um - shift)
            for site in range(first, last):
                taken, stacked = rng.random(2)
                jitter = np.clip(rng.normal(0, 0.19 * pitch_um, 2), -0.42 * pitch_um, 0.42 * pitch_um)
                x, y = (site + shift) * pitch_um + jitter[0], site_row * pitch_y_um + jitter[1]
                chain, step = 1, np.zeros(2)
                if stacked < 0.15 * self._population.rouleaux:
                    angle = rng.uniform(0, 2 * math.pi)
                    chain = int(rng.integers(2, 6))
                    step = rng.uniform(0.35, 0.6) * diameter_um * np.array([math.cos(angle), math.sin(angle)])
                elif taken > self._population.crowding:
                    continue
                for link in range(chain):
                    along = link - 0.5 * (chain - 1)
                    center = self._make_way(x + along * step[0], y + along * step[1], near)
                    identity = _identity(rng)
                    if center is None or self._is_bare(*center):
                        continue
                    if all(math.dist(center, each.center_um) > _HIDDEN * diameter_um for each in cells):
                        cells.append(
                            smear_object(
                                kind=ObjectKind.RBC,
                                identity=identity,
                                center_um=center,
                                population=self._population,
                            )
                        )
        return cells

    def _platelets(
        self, column: int, row: int, near: list[SmearObject], reds: list[SmearObject]
    ) -> list[SmearObject]:
        rng = stream(self._seed, _PLATELET, column, row)
        left, top = column * TILE_UM, row * TILE_UM
        platelets = []
        expected = self._population.platelets_per_field * TILE_UM**2 / FIELD_UM2 / _PER_PLACE
        for _ in range(rng.poisson(expected)):
            clump = int(rng.integers(3, 6)) if rng.random() < _CLUMPED else 1
            where = np.array([left, top]) + rng.uniform(0, TILE_UM, (_TRIES, 2))
            stays = rng.random() < _ON_RED
            for spread_um in rng.normal(0, 1.8, (clump, 2)) if clump > 1 else np.zeros((1, 2)):
                identity = _identity(rng)
                for x, y in where + spread_um:
                    platelet = smear_object(
                        kind=ObjectKind.PLATELET,
                        identity=identity,
                        center_um=(float(x), float(y)),
                        population=self._population,
                    )
                    if self._is_bare(x, y):
                        break
                    obstacles = near if stays else (*near, *reds)
                    if all(_gap_um(platelet, each) > 0 for each in obstacles):
                        platelets.append(platelet)
                        break
        return platelets

    def _make_way(self, x_um: float, y_um: float, near: list[SmearObject]) -> tuple[float, float] | None:
        """Where a red cell goes that a white cell pushes aside; None where there is no room."""
        own_um = 0.5 * self._population.red_cell_um
        for cell in near:
            x0, y0, x1, y1 = cell.box_um
            free_um = 0.25 * (x1 - x0 + y1 - y0) + 0.93 * own_um
            dx, dy = x_um - cell.center_um[0], y_um - cell.center_um[1]
            distance_um = math.hypot(dx, dy)
            if distance_um >= free_um:
                continue
            if distance_um < 0.62 * free_um:
                return None
            x_um, y_um = (
                cell.center_um[0] + dx / distance_um * free_um,
                cell.center_um[1] + dy / distance_um * free_um,
            )
        return float(x_um), float(y_um)

    def _is_bare(self, x_um: float, y_um: float) -> bool:
        """Whether the smear has a hole here: some regions hold one, of about two fields' width."""
        if self._population.bare <= 0:
            return False
        column, row = math.floor(x_um / _REGION_UM), math.floor(y_um / _REGION_UM)
        hole = _hole_um(self._seed, column, row, self._population.bare)
        if hole is None:
            return False
        dx = (x_um - (column + 0.5) * _REGION_UM) / hole[0]
        dy = (y_um - (row + 0.5) * _REGION_UM) / hole[1]
        return bool(dx * dx + dy * dy < 1)


@lru_cache(maxsize=64)
def _hole_um(seed: int, column: int, row: int, bare: float) -> tuple[float, float] | None:
    """Half width and half height of the hole in a region, if it has one."""
    rng = stream(seed, _BARE, column, row)
    if rng.random() >= bare:
        return None
    half_x_um, half_y_um = rng.uniform(0.38, 0.5, 2) * _REGION_UM
    return float(half_x_um), float(half_y_um)


def _identity(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 2**63))


def _gap_um(one: SmearObject, other: SmearObject) -> float:
    """The least distance between two boxes along an axis; negative where they overlap."""
    across = max(one.box_um[0] - other.box_um[2], other.box_um[0] - one.box_um[2])
    down = max(one.box_um[1] - other.box_um[3], other.box_um[1] - one.box_um[3])
    return max(across, down)
