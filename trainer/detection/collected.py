"""A person's own pictures with boxes, in any layout, parted by patient, slide or block for a detector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.taxonomy import ObjectKind
from trainer.data.collection import Broken, Collection, open_collection
from trainer.data.duplicates import duplicate_groups, fingerprint
from trainer.data.folds import honest_folds
from trainer.data.formats.boxed import labelled_frames, whole_pictures
from trainer.data.formats.picture_file import read_whole
from trainer.data.formats.reading import AnnotatedPicture
from trainer.data.frames import LabelledFrame
from trainer.data.grouping import Grouping, group
from trainer.detection.kinds import kinds_of
from trainer.errors import DataError

RED_CELL_UM: Final = 7.5
"""The mean diameter of a red cell: what tells the scale of a collection that does not state it."""
_FEWEST_RED_CELLS: Final = 50


@dataclass(frozen=True, kw_only=True)
class BoxedCollection:
    """What was asked for: a folder, and how it is to be read and parted.

    ``kinds`` maps labels to kinds, None leaving a label out; labels that it lacks go by their names.
    ``um_per_px`` is None where the red cells' boxes are to tell it. About ``held_out`` of the objects of each
    kind are judged by, never trained on.
    """

    folder: Path
    format: str | None = None
    broken: Broken = "fatal"
    kinds: Mapping[str, ObjectKind | None] = field(default_factory=dict)
    um_per_px: float | None = None
    held_out: float = 0.2
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class PartedPictures:
    """A collection's pictures, told apart by groups of which none stands on both sides.

    ``groups`` (held out,) number the patients, slides or blocks of the pictures held out. ``scale`` says in
    words where ``um_per_px`` comes from.
    """

    collection: Collection
    kinds: Mapping[str, ObjectKind]
    um_per_px: float
    scale: str
    grouping: Grouping
    train: tuple[AnnotatedPicture, ...]
    held_out: tuple[AnnotatedPicture, ...]
    groups: NDArray[np.int64]

    @property
    def labelled(self) -> frozenset[ObjectKind]:
        """The kinds of which the collection boxes every object."""
        return frozenset(self.kinds.values())

    def train_frames(self) -> list[LabelledFrame]:
        """Decoded, to train on. Raises DataError."""
        return list(labelled_frames(self.train, kinds=self.kinds, um_per_px=self.um_per_px))

    def held_out_frames(self) -> list[LabelledFrame]:
        """Decoded, to judge by. Raises DataError."""
        return list(labelled_frames(self.held_out, kinds=self.kinds, um_per_px=self.um_per_px))

    def in_words(self) -> str:
        """How the pictures were parted, in sentences."""
        held = len(np.unique(self.groups))
        return (
            f"{self.collection.name}: {len(self.train)} pictures of {self.grouping.count - held} groups to "
            f"train on, {len(self.held_out)} of {held} held out; no group stands on both sides. "
            f"{self.grouping.words[:1].upper()}{self.grouping.words[1:]}. {self.scale}"
        )


def part_pictures(asked: BoxedCollection) -> PartedPictures:
    """Read a collection and hold some of its groups out; the same for the same collection and question.

    Raises DataError where it cannot be read, has no boxes, a label's kind or the scale is not known, or a
    kind stands in one group alone.
    """
    collection = open_collection(asked.folder, broken=asked.broken, format=asked.format)
    if not collection.pictures:
        raise DataError(
            f"{collection.name} was read as {collection.format}, which has no boxes: a detector needs some.",
            remedy="Name a collection in Pascal VOC, COCO or YOLO.",
        )
    kinds = kinds_of({each.label for each in collection.samples}, asked.kinds)
    pictures = collection.pictures
    um_per_px, scale = _scale(pictures, kinds, asked.um_per_px)
    prints = [fingerprint(read_whole(each.file)) for each in pictures]
    grouping = group(whole_pictures(pictures), duplicates=duplicate_groups(prints, turned=True))
    boxes = [
        (kinds[box.label], number)
        for each, number in zip(pictures, grouping.of, strict=True)
        for box in each.boxes
        if box.label in kinds
    ]
    (fold,) = honest_folds(
        [kind.value for kind, _ in boxes],
        [number for _, number in boxes],
        test_share=asked.held_out,
        seed=asked.seed,
    )
    # A group without a box teaches what is no cell; it would judge nothing.
    held = {boxes[index][1] for index in fold.held_out}
    of = np.asarray(grouping.of, dtype=np.int64)
    chosen = np.isin(of, list(held))
    return PartedPictures(
        collection=collection,
        kinds=kinds,
        um_per_px=um_per_px,
        scale=scale,
        grouping=grouping,
        train=tuple(each for each, out in zip(pictures, chosen, strict=True) if not out),
        held_out=tuple(each for each, out in zip(pictures, chosen, strict=True) if out),
        groups=of[chosen],
    )


def digests(pictures: Sequence[AnnotatedPicture]) -> frozenset[str]:
    """SHA-256 of each picture's file, by which it is known again wherever it lies."""
    return frozenset(hashlib.sha256(each.file.read_bytes()).hexdigest() for each in pictures)


def _scale(
    pictures: Sequence[AnnotatedPicture], kinds: Mapping[str, ObjectKind], told: float | None
) -> tuple[float, str]:
    """Micrometres a pixel, and where the number comes from."""
    if told is not None:
        return told, f"A pixel is {told:g} um wide, as was told."
    red = [
        ((x1 - x0) + (y1 - y0)) / 2
        for each in pictures
        for box in each.boxes
        if kinds.get(box.label) is ObjectKind.RBC
        for x0, y0, x1, y1 in (box.box_px,)
    ]
    if len(red) < _FEWEST_RED_CELLS:
        raise DataError(
            f"The scale is not known: {len(red)} red cells have a box, and {_FEWEST_RED_CELLS} are needed to "
            "tell it by their size.",
            remedy="Say how wide a pixel is, with --um-per-px; a microscope's micrometer slide tells.",
        )
    um_per_px = RED_CELL_UM / float(np.median(red))
    return um_per_px, (
        f"A pixel is {um_per_px:.4f} um wide, if the median of {len(red)} red cells' boxes is that of red "
        f"cells, {RED_CELL_UM:g} um."
    )
