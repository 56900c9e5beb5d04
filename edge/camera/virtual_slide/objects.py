"""What lies on the smear, and where it appears in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from edge.contract.taxonomy import ObjectKind

FabType = Literal["l1", "l2", "l3"]
"""A FAB type of acute lymphoblastic leukemia."""

FAB_TYPES: Final[tuple[FabType, ...]] = ("l1", "l2", "l3")

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SmearObject:
    """One red cell, platelet or white cell of a smear plane.

    ``identity`` is the object's own for ever and is the seed of its looks. ``cell_class`` (of the class set
    ``differential``) is there for white cells, ``fab`` for lymphoblasts alone. ``box_um`` encloses the
    outline on the plane.
    """

    identity: int
    kind: ObjectKind
    center_um: tuple[float, float]
    box_um: Box
    cell_class: str | None = None
    fab: FabType | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedObject:
    """An object as a picture shows it: its box clipped to the picture, and the share of the box left."""

    object: SmearObject
    box_px: Box
    visible: float


def place(
    objects: tuple[SmearObject, ...],
    *,
    origin_um: tuple[float, float],
    width_px: int,
    height_px: int,
    um_per_px: float,
) -> tuple[PlacedObject, ...]:
    """The objects that a picture with its top left corner at ``origin_um`` shows, in the same order."""
    placed = []
    for each in objects:
        x0, x1 = ((each.box_um[side] - origin_um[0]) / um_per_px for side in (0, 2))
        y0, y1 = ((each.box_um[side] - origin_um[1]) / um_per_px for side in (1, 3))
        left, right = max(x0, 0.0), min(x1, float(width_px))
        top, bottom = max(y0, 0.0), min(y1, float(height_px))
        if right <= left or bottom <= top:
            continue
        visible = (right - left) * (bottom - top) / ((x1 - x0) * (y1 - y0))
        placed.append(PlacedObject(object=each, box_px=(left, top, right, bottom), visible=visible))
    return tuple(placed)
