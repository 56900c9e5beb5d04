"""The optional table beside a collection's pictures: patient, slide, laboratory, label and part of each file.

``samples.csv`` or ``patients.csv`` in the collection's folder, UTF-8 with a header, parted by commas or
semicolons. ``file`` is a path from that folder, or a bare name where only one picture has it.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainer.data.formats.reading import Gathering
from trainer.errors import DataError

TABLES: Final = ("samples.csv", "patients.csv")
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("file", "filename", "image"),
    "label": ("label", "class"),
    "patient": ("patient", "patient_id", "subject"),
    "slide": ("slide", "slide_id"),
    "laboratory": ("laboratory", "lab"),
    "part": ("part", "split", "fold"),
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A row of the table; None where the column is missing or the cell empty."""

    label: str | None = None
    patient: str | None = None
    slide: str | None = None
    laboratory: str | None = None
    part: str | None = None


UNKNOWN: Final = Identity()


@dataclass(frozen=True, kw_only=True)
class Identities:
    """Who each picture comes from. ``table`` is None where the collection has none."""

    table: Path | None
    of: Mapping[Path, Identity]
    contradicting: frozenset[Path] = frozenset()

    def find(self, picture: Path, gathering: Gathering) -> Identity | None:
        """The picture's row. None, and a problem, where a table exists but does not tell."""
        if self.table is None:
            return UNKNOWN
        if picture in self.contradicting:
            gathering.fault(
                picture, f"has contradicting rows in {self.table.name}", remedy="Keep the row that is right."
            )
            return None
        if picture not in self.of:
            gathering.fault(
                picture,
                f"has no row in {self.table.name}",
                remedy=f"Add its row to {self.table.name}, or remove the picture.",
            )
        return self.of.get(picture)


def table_of(folder: Path) -> Path | None:
    """The collection's table, if it has one. Raises DataError where it has two."""
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(found) > 1:
        raise DataError(
            f"{folder} holds both {' and '.join(TABLES)}.", remedy="Keep one table with all the columns."
        )
    return found[0] if found else None


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV with a header, column names in lower case, cells stripped.

    Raises DataError when it cannot be read.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            delimiter = ";" if header.count(";") > header.count(",") else ","
            return [
                {
                    str(key).strip().lower(): (value or "").strip()
                    for key, value in row.items()
                    if key is not None
                }
                for row in csv.DictReader(stream, delimiter=delimiter)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{file} cannot be read as a table: {error}.", remedy="Save it as UTF-8 CSV."
        ) from error


def read_identities(folder: Path, pictures: Iterable[Path], gathering: Gathering) -> Identities:
    """Read the table of ``folder``; rows without their picture become problems.

    Raises DataError when the table cannot be read or has no column ``file``.
    """
    table = table_of(folder)
    if table is None:
        return Identities(table=None, of={})
    rows = read_rows(table)
    if rows and not any(name in rows[0] for name in _COLUMNS["file"]):
        raise DataError(
            f"{table} has no column 'file'.",
            remedy=f"Its header may name {', '.join(_COLUMNS)}; 'file' is needed.",
        )
    known = set(pictures)
    by_name: defaultdict[str, list[Path]] = defaultdict(list)
    for each in known:
        by_name[each.name].append(each)
    of: dict[Path, Identity] = {}
    contradicting: set[Path] = set()
    for line, row in enumerate(rows, start=2):
        written = _cell(row, "file") or ""
        picture = _picture(folder / written, by_name.get(written, []), known)
        identity = Identity(**{name: _cell(row, name) for name in _COLUMNS if name != "file"})
        if picture is None:
            gathering.fault(
                table,
                f"line {line} names {written!r}, which is no picture of the collection",
                remedy="Write its path from the table's folder, or remove the row.",
            )
        elif of.setdefault(picture, identity) != identity:
            contradicting.add(picture)
    return Identities(table=table, of=of, contradicting=frozenset(contradicting))


def _picture(place: Path, namesakes: list[Path], known: set[Path]) -> Path | None:
    if place in known:
        return place
    return namesakes[0] if len(namesakes) == 1 else None


def _cell(row: Mapping[str, str], column: str) -> str | None:
    return next((row[name] for name in _COLUMNS[column] if row.get(name)), None)
