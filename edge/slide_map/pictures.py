"""What is kept of the fields' pictures: a thumbnail of each, and the latest few prepared for registration."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from edge.vision.reduction import Grey
from edge.vision.registration import Plate, plate_of

_PREPARED: Final = 48
"""Plates of 0.4 MB each; a field has a dozen neighbours at most."""


class FieldPictures:
    """8 KB a field for the whole slide, and 20 MB however long it is."""

    def __init__(self) -> None:
        self._thumbnails: dict[int, Grey] = {}
        self._plates: OrderedDict[int, Plate] = OrderedDict()

    def add(self, field: int, thumbnail: Grey, plate: Plate | None = None) -> None:
        """Keep a field's picture."""
        self._thumbnails[field] = thumbnail
        if plate is not None:
            self._keep(field, plate)

    def remove(self, field: int) -> None:
        """Let go of it."""
        del self._thumbnails[field]
        self._plates.pop(field, None)

    def thumbnail(self, field: int) -> Grey:
        """The picture at 104 px of width."""
        return self._thumbnails[field]

    def plate(self, field: int) -> Plate:
        """The picture prepared for registration."""
        if field in self._plates:
            self._plates.move_to_end(field)
            return self._plates[field]
        plate = plate_of(self._thumbnails[field])
        self._keep(field, plate)
        return plate

    def _keep(self, field: int, plate: Plate) -> None:
        self._plates[field] = plate
        while len(self._plates) > _PREPARED:
            self._plates.popitem(last=False)
