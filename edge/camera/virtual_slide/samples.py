"""Labelled pictures for training: whole fields, and single white cells with their neighbours."""

from __future__ import annotations

from dataclasses import replace

from edge.camera.virtual_slide.conditions import Conditions
from edge.camera.virtual_slide.layout import smear_object
from edge.camera.virtual_slide.objects import FabType, PlacedObject
from edge.camera.virtual_slide.optics import expose
from edge.camera.virtual_slide.plane import SmearPlane
from edge.camera.virtual_slide.streams import stream
from edge.contract.taxonomy import DIFFERENTIAL, ObjectKind
from edge.frame import Pixels


def draw_field(
    *,
    seed: int,
    width_px: int = 640,
    height_px: int = 480,
    um_per_px: float = 0.08,
    conditions: Conditions | None = None,
) -> tuple[Pixels, tuple[PlacedObject, ...]]:
    """A field and everything in it; strongly varied conditions where none are given.

    The pixels are uint8 RGB (height_px, width_px, 3). The same arguments give the same picture.
    """
    rng = stream(seed)
    own = Conditions.random(rng) if conditions is None else conditions
    plane = SmearPlane(seed=seed, stain=own.stain, population=own.population)
    x_px, y_px = (int(each) for each in rng.integers(-100_000, 100_000, 2))
    light = plane.draw(x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px, um_per_px=um_per_px)
    placed = plane.placed_in(
        origin_um=(x_px * um_per_px, y_px * um_per_px),
        width_px=width_px,
        height_px=height_px,
        um_per_px=um_per_px,
    )
    return expose(light, own.optics, um_per_px=um_per_px, rng=rng), placed


def draw_cell(
    *,
    seed: int,
    cell_class: str,
    fab: FabType | None = None,
    size_px: int = 256,
    um_per_px: float = 0.1,
    conditions: Conditions | None = None,
) -> Pixels:
    """One white cell in the middle of a square picture, with what lies around it.

    Raises ValueError for a class that is not of the differential, or a FAB type on another cell than a blast.
    """
    if cell_class not in DIFFERENTIAL.classes:
        raise ValueError(f"no class of the differential: {cell_class!r}")
    if fab is not None and cell_class != "blast":
        raise ValueError(f"only a blast has a FAB type, not a {cell_class}")
    rng = stream(seed)
    own = Conditions.random(rng) if conditions is None else conditions
    cell = smear_object(
        kind=ObjectKind.WBC,
        identity=int(rng.integers(0, 2**63)),
        center_um=(0.0, 0.0),
        population=own.population,
        cell_class=cell_class,
        fab=fab,
    )
    alone = replace(own.population, white_cells_per_field=0.4 * own.population.white_cells_per_field)
    plane = SmearPlane(seed=seed, stain=own.stain, population=alone, planted=(cell,))
    middle_px = round(0.5 * (cell.box_um[0] + cell.box_um[2]) / um_per_px)
    middle_py = round(0.5 * (cell.box_um[1] + cell.box_um[3]) / um_per_px)
    light = plane.draw(
        x_px=middle_px - size_px // 2,
        y_px=middle_py - size_px // 2,
        width_px=size_px,
        height_px=size_px,
        um_per_px=um_per_px,
    )
    return expose(light, own.optics, um_per_px=um_per_px, rng=rng)
