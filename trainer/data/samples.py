"""A labelled picture, as every reader of training data gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.vision.crop import BoxPx


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled picture, or one labelled cell in a picture.

    ``label`` is the collection's own word. ``series`` and ``number`` order the pictures of one acquisition:
    neighbours may come from one smear. ``patient`` and ``slide`` are None where the collection does not tell.
    ``box_px`` (x0, y0, x1, y1) is the labelled part of the picture; None means all of it.
    """

    file: Path
    label: str
    laboratory: str
    series: str
    number: int
    patient: str | None = None
    slide: str | None = None
    box_px: BoxPx | None = None

    @property
    def name(self) -> str:
        """Folder and file name, and the box's corner where there is one: what a report calls the sample."""
        place = f"{self.file.parent.name}/{self.file.name}"
        return place if self.box_px is None else f"{place}@{self.box_px[0]:.0f},{self.box_px[1]:.0f}"
