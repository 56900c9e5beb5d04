"""YOLO: a text file a picture, a line an object: class number, centre x, centre y, width, height as shares.

The classes' names stand in ``data.yaml`` (or another YAML file with ``names``) or in ``classes.txt``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml  # type: ignore[import-untyped,unused-ignore]

from trainer.data.formats.boxed import PictureFinder, boxed_reading, checked_boxes
from trainer.data.formats.picture_file import size_px
from trainer.data.formats.reading import AnnotatedPicture, Gathering, LabelledBox, Reading
from trainer.data.formats.sight import Sight, mostly
from trainer.errors import DataError

_NAME_LISTS: Final = ("classes.txt", "obj.names")
_PARTS: Final = ("train", "valid", "val", "test")
_FIELDS: Final = 5
_LOOKED_AT: Final = 50
"""Label files that are opened to recognise the layout; those of empty pictures say nothing."""
_REACH: Final = 1e-3
"""How far over a picture's edge a share may round."""


def recognise(sight: Sight) -> str | None:
    """Evidence, or None."""
    labels = _label_files(sight)
    if not mostly(sight.pictures, len(labels)) or not any(
        _begins_with_a_box(each) for each in labels[:_LOOKED_AT]
    ):
        return None
    names = _names_file(sight)
    return f"YOLO labels like {labels[0].name}" + (f" with {names.name}" if names else "")


def read(sight: Sight) -> Reading:
    """A sample an object, labelled with its class's name; folders train, val, valid and test are parts.

    A picture without a label file is a problem: an empty one says that nothing is to be seen. Raises
    DataError when the classes have no names.
    """
    gathering, finder = Gathering(), PictureFinder(sight)
    names = _names(sight)
    pictures: dict[Path, AnnotatedPicture] = {}
    spoken_of = set()
    for file in _label_files(sight, whole=True):
        picture = finder.at(*_places(sight, file))
        if picture is None:
            gathering.fault(file, "belongs to no picture", remedy="Fetch its picture, or remove the labels.")
            continue
        spoken_of.add(picture)
        try:
            width, height = size_px(picture)
        except DataError as error:
            gathering.fault(picture, "is empty or is no picture", remedy=error.remedy)
            continue
        boxes = _boxes(file, names, width_px=width, height_px=height, gathering=gathering)
        pictures[picture] = AnnotatedPicture(
            file=picture,
            boxes=checked_boxes(boxes, width_px=width, height_px=height, told_in=file, gathering=gathering),
            part=next((each for each in file.relative_to(sight.folder).parts if each in _PARTS), None),
        )
    finder.fault_unlabelled(
        spoken_of, gathering, remedy="Fetch its label file; an empty one says that nothing is to be seen."
    )
    ordered = [pictures[each] for each in sight.pictures if each in pictures]
    return boxed_reading(ordered, sight, gathering)


def _boxes(
    file: Path, names: Mapping[int, str], *, width_px: int, height_px: int, gathering: Gathering
) -> list[LabelledBox]:
    boxes = []
    for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        fault = _fault(fields, names)
        if fault:
            gathering.fault(file, f"line {number} {fault}", remedy="Mend or remove the line.")
            continue
        x, y, width, height = (float(each) for each in fields[1:])
        boxes.append(
            LabelledBox(
                label=names[int(fields[0])],
                box_px=(
                    (x - width / 2) * width_px,
                    (y - height / 2) * height_px,
                    (x + width / 2) * width_px,
                    (y + height / 2) * height_px,
                ),
            )
        )
    return boxes


def _fault(fields: list[str], names: Mapping[int, str]) -> str | None:
    if len(fields) != _FIELDS:
        return f"holds {len(fields)} fields, not a class and four shares"
    try:
        kind, shares = int(fields[0]), [float(each) for each in fields[1:]]
    except ValueError:
        return "holds something that is no number"
    if kind not in names:
        return f"is of class {kind}, which has no name"
    if not all(math.isfinite(each) and -_REACH <= each <= 1 + _REACH for each in shares):
        return "holds shares outside of 0 to 1: are they pixels?"
    return None


def _begins_with_a_box(file: Path) -> bool:
    fields = file.read_text("utf-8", errors="replace").partition("\n")[0].split()
    try:
        return len([float(each) for each in fields]) == _FIELDS
    except ValueError:
        return False


def _label_files(sight: Sight, *, whole: bool = False) -> tuple[Path, ...]:
    """Text files called like a picture; with ``whole`` also every other one in a folder ``labels``."""
    stems = {each.stem for each in sight.pictures}
    return tuple(
        each
        for each in sight.ending(".txt")
        if each.name not in _NAME_LISTS
        and (each.stem in stems or (whole and "labels" in each.relative_to(sight.folder).parts))
    )


def _places(sight: Sight, file: Path) -> tuple[Path, Path]:
    """Where a label file's picture may be: in ``images`` where it is in ``labels``, or beside it."""
    parts = ["images" if each == "labels" else each for each in file.relative_to(sight.folder).parts]
    return sight.folder.joinpath(*parts), file


def _names_file(sight: Sight) -> Path | None:
    lists = [each for each in sight.files if each.name in _NAME_LISTS]
    sheets = [each for each in sight.ending(".yaml", ".yml") if b"names" in each.read_bytes()]
    return next(iter([*sheets, *lists]), None)


def _names(sight: Sight) -> dict[int, str]:
    file = _names_file(sight)
    if file is None:
        raise DataError(
            f"{sight.folder} does not say how YOLO's classes are called.",
            remedy="Put data.yaml with names, or classes.txt with a name a line, into it.",
        )
    text = file.read_text("utf-8", errors="replace")
    if file.name in _NAME_LISTS:
        lines = [each.strip() for each in text.splitlines()]
        return {number: name for number, name in enumerate(lines) if name}
    try:
        told = yaml.safe_load(text)["names"]
        pairs = told.items() if isinstance(told, dict) else enumerate(told)
        return {int(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{file} does not hold the classes' names: {error}.",
            remedy="Expected names: [first, second] or names: {0: first, 1: second}.",
        ) from error
