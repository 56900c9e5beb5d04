"""Reads BCCD: smear frames with Pascal VOC boxes of white cells, red cells and platelets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import cv2
import numpy as np

from edge.contract.manifest import DataSource
from edge.contract.taxonomy import ObjectKind
from edge.vision.crop import BoxPx
from trainer.data.formats.boxed import clip
from trainer.data.formats.voc import read_objects
from trainer.data.frames import KINDS, LabelledFrame
from trainer.errors import DataError

Split = Literal["train", "val"]
UM_PER_PX: Final = 0.0715
"""From the red cells' median diameter, 105 px, and 7.5 um: the dataset itself states no scale."""
SMALLEST_SIDE_PX: Final = 6.0
_NAMES: Final[Mapping[str, ObjectKind]] = MappingProxyType(
    {"WBC": ObjectKind.WBC, "RBC": ObjectKind.RBC, "Platelets": ObjectKind.PLATELET}
)
_REMEDY: Final = "Get the BCCD dataset whole (github.com/Shenggan/BCCD_Dataset) and name its folder."


@dataclass(frozen=True, kw_only=True)
class Bccd:
    """The dataset's folder, with ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``."""

    folder: Path

    def names(self, split: Split) -> tuple[str, ...]:
        """The frames of one of the dataset's own lists. Raises DataError when the list is missing."""
        file = self.folder / "ImageSets" / "Main" / f"{split}.txt"
        try:
            names = tuple(file.read_text("utf-8").split())
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror}.", remedy=_REMEDY) from error
        if not names:
            raise DataError(f"{file} lists no frame.", remedy=_REMEDY)
        return names

    def image_file(self, name: str) -> Path:
        """Where a frame's picture is."""
        return self.folder / "JPEGImages" / f"{name}.jpg"

    def label_file(self, name: str) -> Path:
        """Where a frame's boxes are."""
        return self.folder / "Annotations" / f"{name}.xml"

    def frame(self, name: str) -> LabelledFrame:
        """One frame with its boxes; degenerate boxes are left out. Raises DataError naming the file."""
        file = self.image_file(name)
        picture = cv2.imread(os.fspath(file), cv2.IMREAD_COLOR_RGB)
        if picture is None:
            raise DataError(f"{file} is missing or is not a picture.", remedy=_REMEDY)
        pixels = np.asarray(picture, dtype=np.uint8)
        height, width = pixels.shape[:2]
        boxes, kinds = read_voc(self.label_file(name), width_px=width, height_px=height)
        return LabelledFrame(name=name, pixels=pixels, um_per_px=UM_PER_PX, boxes=boxes, kinds=kinds)

    def frames(self, split: Split) -> list[LabelledFrame]:
        """Every frame of a list, in the list's order."""
        return [self.frame(name) for name in self.names(split)]

    def source(self, *, samples: int) -> DataSource:
        """The dataset as a manifest names it."""
        return DataSource(
            name="BCCD Dataset, frames",
            licence="MIT",
            attribution="BCCD Dataset by Shenggan; images by cosmicad and akshaylambda",
            samples=samples,
        )


def read_voc(
    file: Path, *, width_px: int, height_px: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float32]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Boxes (n, 4) and kinds (n,) of a Pascal VOC file, clipped to the picture.

    A box with a side under `SMALLEST_SIDE_PX` is degenerate (a slip of the annotator's mouse) and is left
    out. Raises DataError, naming the file, when it is missing, not XML, or names an unknown object.
    """
    boxes: list[BoxPx] = []
    kinds: list[int] = []
    for item in read_objects(file):
        if item.label not in _NAMES:
            raise DataError(
                f"{file} names an unknown object {item.label!r}.",
                remedy=f"Known are {', '.join(_NAMES)}: mend the label.",
            )
        x0, y0, x1, y1 = clip(item.box_px, width_px=width_px, height_px=height_px)
        if min(x1 - x0, y1 - y0) >= SMALLEST_SIDE_PX:
            boxes.append((x0, y0, x1, y1))
            kinds.append(KINDS.index(_NAMES[item.label]))
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4), np.asarray(kinds, dtype=np.int64)
