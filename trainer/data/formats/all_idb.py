"""ALL-IDB of the University of Milan: whole fields (ALL-IDB1) and single cells (ALL-IDB2).

File names are ``ImNNN_1`` (from a patient with ALL; in ALL-IDB2 a lymphoblast) and ``ImNNN_0`` (healthy). In
ALL-IDB1 a ``.xyc`` file beside each picture lists the centre of every lymphoblast, a line each: x, then y.
No patient is named. (Donida Labati, Piuri, Scotti: ALL-IDB, ICIP 2011.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trainer.data.formats.identity import read_rows
from trainer.data.formats.picture_file import FETCH_AGAIN, size_px
from trainer.data.formats.reading import Gathering, Reading
from trainer.data.formats.sight import Sight, mostly
from trainer.data.samples import Sample
from trainer.errors import DataError

LICENCE: Final = "ALL-IDB's own agreement: research and teaching, on registration with its authors"
LABORATORY: Final = "all-idb"
CELL_SIDE_PX: Final = 257
"""Side of the square around a centre: the side of ALL-IDB2's pictures, which were cut out of ALL-IDB1's."""
SUBTYPE_TABLE: Final = "subtypes.csv"
SUBTYPES: Final = ("l1", "l2", "l3")
_NAME: Final = re.compile(r"^Im(?P<number>\d+)_(?P<label>[01])$", re.IGNORECASE)
_LABELS: Final = {"1": "all", "0": "normal"}
_FOLDERS: Final = frozenset({*SUBTYPES, "normal"})


def recognise_fields(sight: Sight) -> str | None:
    """Evidence of ALL-IDB1, or None."""
    if not _named(sight) or _looks_like_cells(sight):
        return None
    return "names like Im001_1.jpg" + (" with .xyc files" if sight.ending(".xyc") else "")


def recognise_cells(sight: Sight) -> str | None:
    """Evidence of ALL-IDB2, or None."""
    if not _named(sight) or _looks_like_fields(sight):
        return None
    return "names like Im001_1.tif"


def read_fields(sight: Sight) -> Reading:
    """Whole pictures of ALL-IDB1, labelled ``all`` or ``normal``.

    A centre in a healthy picture, or a picture without its ``.xyc`` where others have one, is a problem.
    """
    gathering = Gathering()
    centred = bool(sight.ending(".xyc"))
    for picture, number, label in _pictures(sight, gathering):
        if centred and _trusted_centres(sight, picture, label, gathering) is None:
            continue
        gathering.add(
            Sample(file=picture, label=label, laboratory=LABORATORY, series="all-idb1", number=number)
        )
    _fault_orphans(sight, gathering)
    return gathering.reading(licence=LICENCE)


def read_located_cells(sight: Sight) -> Reading:
    """The lymphoblasts of ALL-IDB1, a square of `CELL_SIDE_PX` around each centre, all labelled ``all``.

    Nobody marked the healthy cells, so there are none: this is for joining with other collections. A square
    is cut at the picture's border; a centre outside of the picture is a problem. Raises DataError when there
    is no ``.xyc`` file.
    """
    if not sight.ending(".xyc"):
        raise DataError(
            f"{sight.folder} holds no .xyc file with the centres of lymphoblasts.",
            remedy="Fetch ALL-IDB1 with its folder xyc, or read whole pictures as all-idb1.",
        )
    gathering = Gathering()
    for picture, number, label in _pictures(sight, gathering):
        centres = _trusted_centres(sight, picture, label, gathering)
        if not centres:
            continue
        try:
            width, height = size_px(picture)
        except DataError as error:
            gathering.fault(picture, "is empty or is no picture", remedy=error.remedy)
            continue
        for x, y in centres:
            if not (0 <= x < width and 0 <= y < height):
                gathering.fault(
                    _centre_file(sight, picture) or picture,
                    f"puts a centre at ({x:g}, {y:g}), outside of a picture of {width}x{height}",
                    remedy="Mend the centre's line.",
                )
                continue
            half = CELL_SIDE_PX / 2
            gathering.add(
                Sample(
                    file=picture,
                    label=label,
                    laboratory=LABORATORY,
                    series="all-idb1",
                    number=number,
                    box_px=(
                        max(0.0, x - half),
                        max(0.0, y - half),
                        min(float(width), x + half),
                        min(float(height), y + half),
                    ),
                )
            )
    _fault_orphans(sight, gathering)
    return gathering.reading(licence=LICENCE)


def read_cells(sight: Sight) -> Reading:
    """Single cells of ALL-IDB2: ``all`` (lymphoblast) or ``normal``; ``l1``, ``l2``, ``l3`` where told.

    ALL-IDB2 itself carries no subtypes. They are taken from ``subtypes.csv`` (columns file, label) in the
    collection's folder, or from folders L1, L2, L3 that hold the blasts. A blast without a subtype where
    others have one, and a healthy cell with one, are problems.
    """
    gathering = Gathering()
    table = sight.folder / SUBTYPE_TABLE
    foldered = any(each.parent.name.lower() in SUBTYPES for each in sight.pictures)
    told = _subtypes(sight, gathering) if table.is_file() else None
    for picture, number, label in _pictures(sight, gathering):
        subtype: str | None = None
        if told is not None:
            subtype = told.get(picture.stem.lower())
        elif foldered:
            subtype = picture.parent.name.lower() if picture.parent.name.lower() in _FOLDERS else None
        wanted = told is not None or foldered
        if wanted and (fault := _contradiction(label, subtype)):
            gathering.fault(picture, fault, remedy="Mend its subtype, or remove the picture.")
            continue
        gathering.add(
            Sample(
                file=picture,
                label=subtype if wanted and subtype in SUBTYPES else label,
                laboratory=LABORATORY,
                series="all-idb2",
                number=number,
            )
        )
    return gathering.reading(licence=LICENCE)


def _named(sight: Sight) -> bool:
    pictures = sight.pictures
    return mostly(pictures, sum(_NAME.match(each.stem) is not None for each in pictures))


def _looks_like_fields(sight: Sight) -> bool:
    return bool(sight.ending(".xyc")) or any(each.parent.name.lower() == "im" for each in sight.pictures)


def _looks_like_cells(sight: Sight) -> bool:
    folders = {each.parent.name.lower() for each in sight.pictures}
    return bool(
        folders & {"img", *SUBTYPES}
        or any(each.suffix.lower() in {".tif", ".tiff"} for each in sight.pictures)
        or (sight.folder / SUBTYPE_TABLE).is_file()
    )


def _pictures(sight: Sight, gathering: Gathering) -> Iterator[tuple[Path, int, str]]:
    for picture in sight.pictures:
        match = _NAME.match(picture.stem)
        if match is None:
            gathering.fault(
                picture,
                "is not named like a picture of ALL-IDB",
                remedy="Expected ImNNN_1 (ALL) or ImNNN_0 (healthy).",
            )
            continue
        yield picture, int(match["number"]), _LABELS[match["label"]]


def _centre_file(sight: Sight, picture: Path) -> Path | None:
    return next((each for each in sight.ending(".xyc") if each.stem == picture.stem), None)


def _trusted_centres(
    sight: Sight, picture: Path, label: str, gathering: Gathering
) -> tuple[tuple[float, float], ...] | None:
    """The centres of a picture; None, and a problem, where its file is missing, unreadable or contradicts."""
    file = _centre_file(sight, picture)
    if file is None:
        gathering.fault(picture, "has no .xyc file", remedy="Fetch it, or remove the picture.")
        return None
    try:
        rows = [
            line.replace(",", " ").split() for line in file.read_text("utf-8").splitlines() if line.strip()
        ]
        centres = tuple((float(x), float(y)) for x, y in rows)
    except (OSError, ValueError) as error:
        gathering.fault(file, f"does not hold two numbers a line ({error})", remedy=FETCH_AGAIN)
        return None
    if centres and label == "normal":
        gathering.fault(
            picture,
            f"is named healthy, but {file.name} lists {len(centres)} lymphoblasts",
            remedy="Find out which is right, and mend the other.",
        )
        return None
    return centres


def _fault_orphans(sight: Sight, gathering: Gathering) -> None:
    stems = {each.stem for each in sight.pictures}
    for file in sight.ending(".xyc"):
        if file.stem not in stems:
            gathering.fault(file, "belongs to no picture", remedy="Fetch its picture, or remove the file.")


def _subtypes(sight: Sight, gathering: Gathering) -> dict[str, str]:
    table = sight.folder / SUBTYPE_TABLE
    stems = {each.stem.lower() for each in sight.pictures}
    told: dict[str, str] = {}
    for line, row in enumerate(read_rows(table), start=2):
        if not {"file", "label"} <= set(row):
            raise DataError(f"{table} lacks a column.", remedy="Its header must be: file,label.")
        stem, label = Path(row["file"]).stem.lower(), row["label"].lower()
        if stem not in stems:
            gathering.fault(
                table,
                f"line {line} names {row['file']!r}, which is no picture of the collection",
                remedy="Fetch the picture, or remove the row.",
            )
        elif label not in _FOLDERS:
            gathering.fault(
                table,
                f"line {line} says {row['label']!r}",
                remedy=f"Known are {', '.join(SUBTYPES)} and normal.",
            )
        else:
            told[stem] = label
    return told


def _contradiction(label: str, subtype: str | None) -> str | None:
    if label == "all" and subtype is None:
        return "is a lymphoblast without a subtype, though others have one"
    if label == "all" and subtype == "normal":
        return "is named a lymphoblast, but told to be normal"
    if label == "normal" and subtype in SUBTYPES:
        return f"is named healthy, but told to be {subtype}"
    return None
