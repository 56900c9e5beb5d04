"""Pascal VOC: an XML file a picture; BCCD is kept so.

The folders' names do not matter: a picture is found by its file name. ``ImageSets/Main/*.txt``, where there
are such lists, are the collection's own parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from trainer.data.formats.boxed import PictureFinder, boxed_reading, checked_boxes
from trainer.data.formats.picture_file import FETCH_AGAIN, size_px
from trainer.data.formats.reading import AnnotatedPicture, Gathering, LabelledBox, Reading
from trainer.data.formats.sight import Sight, mostly
from trainer.errors import DataError

_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
_HEAD_BYTES: Final = 1000
_NO_PART: Final = re.compile(r"^trainval$|_(train|val|trainval|test)$")
"""Lists that repeat others: two parts in one, or a class's own."""


def recognise(sight: Sight) -> str | None:
    """Evidence, or None."""
    labels = sight.ending(".xml")
    if not mostly(sight.pictures, len(labels)) or b"<annotation" not in labels[0].read_bytes()[:_HEAD_BYTES]:
        return None
    return f"Pascal VOC labels like {labels[0].name}"


def read(sight: Sight) -> Reading:
    """A sample an object, labelled with the object's own name."""
    gathering, finder = Gathering(), PictureFinder(sight)
    part_of = _lists(sight, gathering)
    pictures: dict[Path, AnnotatedPicture] = {}
    spoken_of = set()
    for file in sight.ending(".xml"):
        picture = finder.at(file)
        if picture is None:
            gathering.fault(file, "belongs to no picture", remedy="Fetch its picture, or remove the labels.")
            continue
        spoken_of.add(picture)
        try:
            boxes = read_objects(file)
        except DataError as error:
            gathering.fault(file, "cannot be read as Pascal VOC labels", remedy=error.remedy)
            continue
        try:
            width, height = size_px(picture)
        except DataError as error:
            gathering.fault(picture, "is empty or is no picture", remedy=error.remedy)
            continue
        kept = checked_boxes(boxes, width_px=width, height_px=height, told_in=file, gathering=gathering)
        pictures[picture] = AnnotatedPicture(file=picture, boxes=kept, part=part_of.get(picture.stem))
    finder.fault_unlabelled(spoken_of, gathering, remedy="Fetch its XML file, or remove the picture.")
    ordered = [pictures[each] for each in sight.pictures if each in pictures]
    return boxed_reading(ordered, sight, gathering)


def read_objects(file: Path) -> tuple[LabelledBox, ...]:
    """The objects of a VOC file, not yet clipped to the picture.

    VOC counts pixels from 1 and includes the last one; here a box runs from edge to edge. Raises DataError,
    naming the file, when it is missing, not XML, or a box lacks a number or a name.
    """
    try:
        root = ET.parse(file).getroot()  # noqa: S314 - a dataset's own file; expat bounds what entities cost
    except (OSError, ET.ParseError) as error:
        raise DataError(
            f"{file} cannot be read as Pascal VOC labels: {error}.", remedy=FETCH_AGAIN
        ) from error
    boxes = []
    for item in root.iter("object"):
        try:
            x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{key}", "")) for key in _CORNERS)
        except ValueError as error:
            raise DataError(
                f"{file} has a box without four numbers.", remedy="Mend or remove the label."
            ) from error
        boxes.append(
            LabelledBox(label=item.findtext("name", default="").strip(), box_px=(x0 - 1, y0 - 1, x1, y1))
        )
    return tuple(boxes)


def _lists(sight: Sight, gathering: Gathering) -> Mapping[str, str]:
    """The list that each picture's name stands in."""
    stems = {each.stem for each in sight.pictures}
    part_of: dict[str, str] = {}
    for file in (each for each in sight.ending(".txt") if each.parent.name == "Main"):
        if _NO_PART.search(file.stem):
            continue
        for name in dict.fromkeys(file.read_text("utf-8", errors="replace").split()):
            if name not in stems:
                gathering.fault(file, f"lists {name!r}, which is missing", remedy="Fetch the picture.")
            elif part_of.setdefault(name, file.stem) != file.stem:
                gathering.fault(
                    file, f"lists {name!r}, as {part_of[name]} does", remedy="Keep it in one of the lists."
                )
    return part_of
