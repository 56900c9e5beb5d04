"""COCO: one JSON file with images, annotations and categories; several files are parts of one collection."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.data.formats.boxed import PictureFinder, boxed_reading, checked_boxes
from trainer.data.formats.picture_file import size_px
from trainer.data.formats.reading import AnnotatedPicture, Gathering, LabelledBox, Reading
from trainer.data.formats.sight import Sight
from trainer.errors import DataError

_KEYS: Final = (b'"images"', b'"annotations"', b'"categories"')


class _Image(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int | None = None
    image_id: int
    category_id: int
    bbox: Annotated[tuple[float, float, float, float], Field(description="left, top, width, height")]
    iscrowd: int = 0


class _Category(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    name: str


class _Licence(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = ""


class _Coco(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]
    licenses: tuple[_Licence, ...] = ()


def recognise(sight: Sight) -> str | None:
    """Evidence, or None."""
    files = _label_files(sight)
    return f"COCO labels in {', '.join(each.name for each in files)}" if files else None


def read(sight: Sight) -> Reading:
    """A sample an annotation, labelled with its category; where there are several JSON files, each is a part.

    Crowd annotations name no single cell and are problems. Raises DataError when a file is not COCO.
    """
    gathering, finder = Gathering(), PictureFinder(sight)
    files = _label_files(sight)
    if not files:
        raise DataError(
            f"{sight.folder} holds no JSON file with images, annotations and categories.",
            remedy="Put COCO's JSON file beside the pictures.",
        )
    pictures: dict[Path, AnnotatedPicture] = {}
    licences: set[str] = set()
    for file in files:
        coco = _parse(file)
        licences |= {each.name for each in coco.licenses if each.name}
        part = _part(file) if len(files) > 1 else None
        _read_file(file, coco, part, finder, pictures, gathering)
    finder.fault_unlabelled(pictures, gathering, remedy="Add its entry to the JSON file, or remove it.")
    ordered = [pictures[each] for each in sight.pictures if each in pictures]
    return boxed_reading(ordered, sight, gathering, licence=", ".join(sorted(licences)) or None)


def _read_file(
    file: Path,
    coco: _Coco,
    part: str | None,
    finder: PictureFinder,
    pictures: dict[Path, AnnotatedPicture],
    gathering: Gathering,
) -> None:
    names = {each.id: each.name for each in coco.categories}
    boxes: defaultdict[int, list[LabelledBox]] = defaultdict(list)
    known = {each.id for each in coco.images}
    for annotation in coco.annotations:
        fault = None
        if annotation.image_id not in known:
            fault = f"is of image {annotation.image_id}, which the file does not list"
        elif annotation.category_id not in names:
            fault = f"is of category {annotation.category_id}, which the file does not name"
        elif annotation.iscrowd:
            fault = "marks a crowd, not one object"
        if fault:
            gathering.fault(file, f"annotation {annotation.id} {fault}", remedy="Mend or remove it.")
            continue
        left, top, width, height = annotation.bbox
        boxes[annotation.image_id].append(
            LabelledBox(label=names[annotation.category_id], box_px=(left, top, left + width, top + height))
        )
    for image in coco.images:
        name = Path(image.file_name)
        folders = (file.parent, file.parent.parent, file.parent / "images", file.parent.parent / "images")
        picture = finder.at(*(each / name for each in (*folders, file.parent.parent / (part or ""))))
        if picture is None:
            gathering.fault(file, f"lists {image.file_name!r}, which is missing", remedy="Fetch the picture.")
            continue
        if picture in pictures:
            gathering.fault(picture, "is listed twice", remedy="Keep one entry, in one part.")
            continue
        try:
            size = size_px(picture)
        except DataError as error:
            gathering.fault(picture, "is empty or is no picture", remedy=error.remedy)
            pictures.setdefault(picture, AnnotatedPicture(file=picture, boxes=(), part=part))
            continue
        pictures[picture] = AnnotatedPicture(
            file=picture,
            boxes=checked_boxes(
                boxes[image.id], width_px=size[0], height_px=size[1], told_in=file, gathering=gathering
            ),
            part=part,
        )


def _label_files(sight: Sight) -> tuple[Path, ...]:
    found = []
    for file in sight.ending(".json"):
        text = file.read_bytes()
        if all(key in text for key in _KEYS):
            found.append(file)
    return tuple(found)


def _part(file: Path) -> str:
    """``train`` of ``instances_train2017.json`` or of ``train/_annotations.coco.json``."""
    stem = file.stem.removeprefix("instances_").removesuffix("2017")
    return file.parent.name if stem.startswith("_") else stem


def _parse(file: Path) -> _Coco:
    try:
        return _Coco.model_validate(json.loads(file.read_bytes()))
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()
        raise DataError(
            f"{file} is not COCO: {' '.join(each.strip() for each in first[:3])}.",
            remedy="Export the labels again as COCO JSON.",
        ) from error
