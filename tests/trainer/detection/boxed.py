"""A few real frames of BCCD as a person's own collection, in each layout that has boxes."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.data.bccd import Bccd
from trainer.data.formats.picture_file import size_px
from trainer.data.formats.voc import read_objects

NAMES = ("WBC", "RBC", "Platelets")
SLIDES = ("a", "a", "b", "b", "c", "c")


def voc(bccd: Bccd, folder: Path, *, slides: Sequence[str] | None = SLIDES) -> Path:
    """The first frames of the train list that hold every kind, with their own XML files."""
    count = len(SLIDES)
    chosen = [name for name in bccd.names("train") if {0, 1, 2} <= set(bccd.frame(name).kinds.tolist())][
        :count
    ]
    for name in chosen:
        for source in (bccd.image_file(name), bccd.label_file(name)):
            place = folder / source.parent.name / source.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    if slides is not None:
        tell_slides(folder, dict(zip((f"{name}.jpg" for name in chosen), slides, strict=True)))
    return folder


def tell_slides(folder: Path, slide_of: Mapping[str, str]) -> None:
    """Write ``samples.csv``."""
    with (folder / "samples.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "slide"))
        writer.writerows(slide_of.items())


def as_coco(source: Path, folder: Path) -> Path:
    """A VOC collection's pictures and slides, with one COCO file."""
    pictures = _copied(source, folder)
    annotations = [
        {
            "image_id": number,
            "category_id": NAMES.index(item.label),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        for number, picture in enumerate(pictures)
        for item in read_objects(source / "Annotations" / f"{picture.stem}.xml")
        for x0, y0, x1, y1 in (item.box_px,)
    ]
    content = {
        "images": [{"id": number, "file_name": each.name} for number, each in enumerate(pictures)],
        "annotations": [{"id": number, **each} for number, each in enumerate(annotations)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES)],
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


def as_yolo(source: Path, folder: Path) -> Path:
    """A VOC collection's pictures and slides, with a text file for each and the classes' names."""
    for picture in _copied(source, folder):
        width, height = size_px(picture)
        lines = [
            f"{NAMES.index(item.label)} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} "
            f"{(x1 - x0) / width} {(y1 - y0) / height}"
            for item in read_objects(source / "Annotations" / f"{picture.stem}.xml")
            for x0, y0, x1, y1 in (item.box_px,)
        ]
        picture.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return folder


def _copied(source: Path, folder: Path) -> list[Path]:
    folder.mkdir()
    for each in (*sorted((source / "JPEGImages").iterdir()), *source.glob("samples.csv")):
        shutil.copyfile(each, folder / each.name)
    return sorted(folder.glob("*.jpg"))
