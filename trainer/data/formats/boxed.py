"""Pictures with boxes, whatever the format: for a classifier samples, for a detector labelled frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from edge.contract.taxonomy import ObjectKind
from edge.vision.crop import BoxPx
from trainer.data.formats.identity import read_identities
from trainer.data.formats.licence_file import licence_beside
from trainer.data.formats.picture_file import read_whole
from trainer.data.formats.reading import AnnotatedPicture, Gathering, LabelledBox, Reading
from trainer.data.formats.sight import Sight
from trainer.data.frames import KINDS, LabelledFrame
from trainer.data.samples import Sample

SMALLEST_SIDE_PX: Final = 2.0
"""A box with a shorter side is a slip of the mouse: in formats that count whole pixels, a click is 1 x 1."""
_MEND: Final = "Mend the box, or remove it."


class PictureFinder:
    """Finds the picture that a label file speaks of, by path or by a name that only one picture has."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._by_stem: defaultdict[str, list[Path]] = defaultdict(list)
        for each in sight.pictures:
            self._by_stem[each.stem].append(each)

    def at(self, *places: Path) -> Path | None:
        """The picture at the first of ``places``, suffix aside, that is one; else the only one so named."""
        found = self._by_stem.get(places[0].stem, [])
        for place in places:
            for picture in found:
                if picture.with_suffix("") == place.with_suffix(""):
                    return picture
        return found[0] if len(found) == 1 else None

    def fault_unlabelled(self, labelled: Iterable[Path], gathering: Gathering, *, remedy: str) -> None:
        """Name every picture that no label file speaks of."""
        spoken_of = set(labelled)
        for picture in self._sight.pictures:
            if picture not in spoken_of:
                gathering.fault(picture, "has no labels", remedy=remedy)


def checked_boxes(
    boxes: Iterable[LabelledBox], *, width_px: int, height_px: int, told_in: Path, gathering: Gathering
) -> tuple[LabelledBox, ...]:
    """The boxes, clipped to the picture. One without area or wholly outside becomes a problem."""
    kept = []
    for number, box in enumerate(boxes, start=1):
        clipped = clip(box.box_px, width_px=width_px, height_px=height_px)
        x0, y0, x1, y1 = clipped
        if min(x1 - x0, y1 - y0) < SMALLEST_SIDE_PX:
            shown = ", ".join(f"{each:g}" for each in box.box_px)
            gathering.fault(told_in, f"box {number} ({box.label}: {shown}) holds nothing", remedy=_MEND)
        else:
            kept.append(LabelledBox(label=box.label, box_px=clipped))
    return tuple(kept)


def clip(box_px: BoxPx, *, width_px: int, height_px: int) -> BoxPx:
    """What of a box lies in the picture; without area where nothing does."""
    x0, y0, x1, y1 = box_px
    return max(0.0, x0), max(0.0, y0), min(float(width_px), x1), min(float(height_px), y1)


def boxed_reading(
    pictures: Sequence[AnnotatedPicture], sight: Sight, gathering: Gathering, *, licence: str | None = None
) -> Reading:
    """A sample a box. Boxes of one picture share its number, so that no split parts them.

    A picture's place in natural order is its number; ``samples.csv`` may tell its patient and slide.
    """
    identities = read_identities(sight.folder, sight.pictures, gathering)
    laboratory = sight.folder.resolve().name
    kept = []
    for number, picture in enumerate(pictures, start=1):
        identity = identities.find(picture.file, gathering)
        if identity is None:
            continue
        known = replace(
            picture,
            part=identity.part or picture.part,
            laboratory=identity.laboratory or laboratory,
            patient=identity.patient,
            slide=identity.slide,
        )
        kept.append(known)
        for box in known.boxes:
            gathering.add(
                replace(_whole(known, number=number), label=box.label, box_px=box.box_px), part=known.part
            )
    return gathering.reading(pictures=tuple(kept), licence=licence or licence_beside(sight.folder))


def whole_pictures(pictures: Iterable[AnnotatedPicture]) -> tuple[Sample, ...]:
    """Each picture as one sample without a label, numbered by its place, to tell which may not be parted.

    Those without a box are among them: no cell speaks for such a picture.
    """
    return tuple(_whole(each, number=number) for number, each in enumerate(pictures, start=1))


def labelled_frames(
    pictures: Iterable[AnnotatedPicture], *, kinds: Mapping[str, ObjectKind], um_per_px: float
) -> Iterator[LabelledFrame]:
    """Frames for a detector, decoded one at a time; ``kinds`` says what each label is to it.

    Boxes of other labels are left out, and a kind that no label stands for counts as unlabelled. Raises
    DataError when a picture cannot be decoded.
    """
    for picture in pictures:
        boxes = [each for each in picture.boxes if each.label in kinds]
        yield LabelledFrame(
            name=picture.file.stem,
            pixels=read_whole(picture.file),
            um_per_px=um_per_px,
            boxes=np.asarray([each.box_px for each in boxes], dtype=np.float32).reshape(-1, 4),
            kinds=np.asarray([KINDS.index(kinds[each.label]) for each in boxes], dtype=np.int64),
            labelled=frozenset(kinds.values()),
        )


def _whole(picture: AnnotatedPicture, *, number: int) -> Sample:
    return Sample(
        file=picture.file,
        label="",
        laboratory=picture.laboratory,
        series=picture.laboratory,
        number=number,
        patient=picture.patient,
        slide=picture.slide,
    )
