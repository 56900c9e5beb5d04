"""Opens a folder of labelled pictures, whatever its layout, and leaves nothing out in silence."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from trainer.data.formats import (
    all_idb,
    class_folders,
    cnmc,
    coco,
    numbered_cells,
    review_export,
    voc,
    yolo,
)
from trainer.data.formats.picture_file import read_whole
from trainer.data.formats.reading import AnnotatedPicture, Problem, Reading, refuse
from trainer.data.formats.sight import Sight, look
from trainer.data.samples import Sample
from trainer.errors import DataError

Broken = Literal["fatal", "skip"]
_THREADS: Final = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A layout that is known. ``recognise`` gives the evidence for it, or None."""

    name: str
    title: str
    recognise: Callable[[Sight], str | None]
    read: Callable[[Sight], Reading]


def _never(_: Sight) -> None:
    return None


FORMATS: Final = (
    Format(
        name="all-idb1",
        title="ALL-IDB1: ImNNN_1.jpg or ImNNN_0.jpg, with .xyc files",
        recognise=all_idb.recognise_fields,
        read=all_idb.read_fields,
    ),
    Format(
        name="all-idb1-cells",
        title="the lymphoblasts that ALL-IDB1's .xyc files locate",
        recognise=_never,  # the same folder as all-idb1: read so where it is asked for
        read=all_idb.read_located_cells,
    ),
    Format(
        name="all-idb2",
        title="ALL-IDB2: ImNNN_1.tif or ImNNN_0.tif, perhaps with subtypes.csv",
        recognise=all_idb.recognise_cells,
        read=all_idb.read_cells,
    ),
    Format(
        name="cnmc",
        title="C-NMC 2019: UID_<subject>_<image>_<cell>_<all or hem>.bmp, perhaps in fold_N/",
        recognise=cnmc.recognise,
        read=cnmc.read,
    ),
    Format(
        name="pbc-aml",
        title="pbc_aml: myeloblast/MYO_0001.jpg and its like",
        recognise=numbered_cells.recognise_pbc_aml,
        read=numbered_cells.read_pbc_aml,
    ),
    Format(
        name="bccd-cells",
        title="bccd_cells: neutrophil/BloodImage_00001_1.jpg and its like",
        recognise=numbered_cells.recognise_bccd_cells,
        read=numbered_cells.read_bccd_cells,
    ),
    Format(
        name="all-aria",
        title="all_aria: Early/WBC-Malignant-Early-001.jpg and its like",
        recognise=numbered_cells.recognise_all_aria,
        read=numbered_cells.read_all_aria,
    ),
    Format(
        name="review-export",
        title="a fleet's reviewed cells: reviews.jsonl beside the crops",
        recognise=review_export.recognise,
        read=review_export.read,
    ),
    Format(name="voc", title="Pascal VOC: an XML file a picture", recognise=voc.recognise, read=voc.read),
    Format(
        name="coco",
        title="COCO: JSON with images, annotations and categories",
        recognise=coco.recognise,
        read=coco.read,
    ),
    Format(
        name="yolo",
        title="YOLO: a text file of boxes a picture, and data.yaml or classes.txt",
        recognise=yolo.recognise,
        read=yolo.read,
    ),
)
CLASS_FOLDERS: Final = Format(
    name="class-folders",
    title="a folder a class, perhaps within train/ and test/, perhaps with samples.csv",
    recognise=class_folders.recognise,
    read=class_folders.read,
)
"""Taken where no other layout fits: most of the others would pass for it."""
KNOWN: Final = (*FORMATS, CLASS_FOLDERS)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Labelled pictures, every one of which was decoded once.

    ``parts`` holds for each sample the collection's own fold or list, or None. ``problems`` are what was left
    out. ``pictures`` are the annotated pictures of a collection with boxes, for a detector: see
    `trainer.data.formats.boxed.labelled_frames`.
    """

    name: str
    format: str
    samples: tuple[Sample, ...]
    parts: tuple[str | None, ...]
    problems: tuple[Problem, ...]
    licence: str | None
    pictures: tuple[AnnotatedPicture, ...] = ()


def open_collection(folder: Path, *, broken: Broken = "fatal", format: str | None = None) -> Collection:  # noqa: A002
    """Read a folder, decode every picture, and deal with what is broken or mislabelled.

    ``fatal`` raises DataError with the first problem and their number; ``skip`` leaves out what they speak
    of and keeps them in ``problems``. ``format`` is the name of a layout, where the folder does not tell or
    tells two. Raises DataError for a folder of no known layout, or without a sample.
    """
    chosen, reading = read_folder(folder, format=format)
    reading = reading.without(broken_pictures(reading.files()))
    if broken == "fatal":
        refuse(reading.problems)
    if not reading.samples:
        raise DataError(
            f"{folder} holds no usable sample as {chosen.name}; {len(reading.problems)} problems were found.",
            remedy="data check lists them.",
        )
    return Collection(
        name=folder.resolve().name,
        format=chosen.name,
        samples=reading.samples,
        parts=reading.parts,
        problems=reading.problems,
        licence=reading.licence,
        pictures=reading.pictures,
    )


def read_folder(folder: Path, *, format: str | None = None) -> tuple[Format, Reading]:  # noqa: A002
    """Tell the layout and read names and labels; pictures are not decoded. Raises DataError."""
    sight = look(folder)
    chosen = recognise(sight) if format is None else _named(format)
    return chosen, chosen.read(sight)


def recognise(sight: Sight) -> Format:
    """The layout of a folder. Raises DataError, naming what was seen, where none fits or several do."""
    found = [(each, evidence) for each in FORMATS if (evidence := each.recognise(sight)) is not None]
    if len(found) > 1:
        seen = "; ".join(f"{each.name} ({evidence})" for each, evidence in found)
        raise DataError(
            f"{sight.folder} looks like several layouts: {seen}.", remedy="Say which with --format."
        )
    if found:
        return found[0][0]
    if inner := [
        f"{sub.folder.name}/ ({each.name})"
        for sub in sight.subfolders()
        for each in FORMATS
        if each.recognise(sub) is not None
    ]:
        raise DataError(
            f"{sight.folder} holds collections, but is none itself: {', '.join(inner)}.",
            remedy="Name one of these folders.",
        )
    if CLASS_FOLDERS.recognise(sight) is not None:
        return CLASS_FOLDERS
    known = "; ".join(f"{each.name} ({each.title})" for each in KNOWN)
    raise DataError(
        f"{sight.folder} has no layout that is known: it holds {sight.in_words()}.",
        remedy=f"Known are {known}. Name the folder that is one of these, or say which with --format.",
    )


def broken_pictures(files: Sequence[Path]) -> tuple[Problem, ...]:
    """Decode every file and name those that are no whole picture."""
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        return tuple(each for each in pool.map(_broken, files) if each is not None)


def problem_of(file: Path, error: DataError) -> Problem:
    """A picture's fault as a problem."""
    what = error.fault.removeprefix(str(file)).strip().removesuffix(".")
    return Problem(file=file, what=what, remedy=error.remedy)


def _broken(file: Path) -> Problem | None:
    try:
        read_whole(file)
    except DataError as error:
        return problem_of(file, error)
    return None


def _named(name: str) -> Format:
    for each in KNOWN:
        if each.name == name:
            return each
    raise DataError(
        f"There is no format {name!r}.", remedy=f"Known are {', '.join(each.name for each in KNOWN)}."
    )
