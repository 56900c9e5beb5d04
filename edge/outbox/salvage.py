"""What to do with a damaged outbox: put it aside, never delete it, and take out what can be read."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import apsw
from pydantic import ValidationError

from edge.contract.message import Stamp
from edge.contract.records import DURABLE_RECORD
from edge.outbox.database import LARGEST_NUMBER, connect
from edge.outbox.discard import Row, unreadable_row
from edge.outbox.folder import Folder
from edge.outbox.kinds import LEAVES
from edge.outbox.position import Position
from edge.outbox.settings import OutboxLimits
from edge.outbox.table import DISCARDED, RecordTable

_KEPT_ASIDE: Final = 3
_UNFINISHED: Final = ".fresh"
_COMPLETE: Final = ".salvaged"
_DAMAGED: Final = ".damaged-"
_SIDECARS: Final = ("", "-wal", "-shm")
_MAX_FAILURES: Final = 200
_SINGLE_STEPS: Final = 100
_FORWARD: Final = """
SELECT rowid, boot, sequence, schema, appended_s, body, crc32, discarded FROM records
WHERE rowid > ? ORDER BY rowid
"""
_BACKWARD: Final = """
SELECT rowid, boot, sequence, schema, appended_s, body, crc32, discarded FROM records
WHERE rowid < ? ORDER BY rowid DESC
"""
_KEPT: Final = (
    "SELECT name, value, crc32 FROM kept_values ORDER BY rowid",
    "SELECT name, value, crc32 FROM kept_values ORDER BY rowid DESC",
)
_META: Final = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?"


@dataclass(frozen=True, kw_only=True)
class Salvaged:
    """What became of a damaged outbox: records saved, records lost that are known of, where it lies now."""

    readable: int
    unreadable: int
    aside: Path


def rebuild(
    path: Path, *, folder: Folder, vfs: str | None, stamp: Stamp, limits: OutboxLimits, now: datetime
) -> Salvaged:
    """Replace a damaged file by a sound one that holds every intact record.

    A lost record between two that were found is seen by its number, and a discard record with ``stamp``
    stands for it; what was lost at a boot's end cannot be known. The damaged file and its log stay untouched
    until their successor is complete and on the disk under a name that says so; from then on
    ``finish_rebuild`` ends it. So this can be interrupted anywhere, by a power cut too. Raises apsw.Error or
    OSError.
    """
    unfinished = path.with_name(path.name + _UNFINISHED)
    for suffix in _SIDECARS:
        folder.remove(unfinished.name + suffix)
    with closing(_open_damaged(path, vfs)) as damaged, closing(connect(unfinished, vfs=vfs)) as connection:
        table = RecordTable(connection=connection, limits=limits)
        with table.transaction():
            found = _copy_intact(damaged, table, station=stamp.key.station)
            table.kept.write(_kept_values(damaged))
            lost = tuple(_gaps(found))
            for position in lost:
                table.insert(unreadable_row(position, stamp=stamp, appended_s=now.timestamp()))
            table.count_discarded(_discarded(damaged))
            table.count_discarded({"unknown": len(lost)})
            table.set_meta("boot", str(_meta(damaged, "boot")))
        # Closing does that too, but is silent where it fails; the log would be left under another name.
        connection.pragma("wal_checkpoint(TRUNCATE)")
    folder.rename(unfinished.name, path.name + _COMPLETE)
    folder.sync()
    return Salvaged(readable=len(found), unreadable=len(lost), aside=_take_over(path, folder=folder, now=now))


def finish_rebuild(path: Path, *, folder: Folder, now: datetime) -> Path | None:
    """Put a complete successor in the damaged file's place, also one that an interrupted rebuild left behind.

    Where the damaged file lies now; None where there is no successor. Raises OSError.
    """
    if path.name + _COMPLETE not in folder.names():
        return None
    return _take_over(path, folder=folder, now=now)


def _take_over(path: Path, *, folder: Folder, now: datetime) -> Path:
    damaged = path.name + _DAMAGED
    aside = f"{damaged}{now:%Y%m%dT%H%M%S%f}"
    for suffix in _SIDECARS:
        if path.name + suffix in folder.names():
            folder.rename(path.name + suffix, aside + suffix)
    # Were the old log there again after a power cut, SQLite would take it for that of the new file.
    folder.sync()
    folder.rename(path.name + _COMPLETE, path.name)
    folder.sync()
    kept = sorted(
        name for name in folder.names() if name.startswith(damaged) and not name.endswith(_SIDECARS[1:])
    )
    for victim in kept[:-_KEPT_ASIDE]:
        for suffix in _SIDECARS:
            folder.remove(victim + suffix)
    return path.with_name(kept[-1] if kept else aside)


def _open_damaged(path: Path, vfs: str | None) -> apsw.Connection:
    """For reading alone: its log is read with it and neither brought over nor removed.

    Read-write all the same, since a log can be read without shared memory only by one that may lock the file.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.pragma("locking_mode", "EXCLUSIVE")
    connection.pragma("query_only", 1)
    # Without this SQLite reads nothing at all of a file that was cut short.
    connection.pragma("writable_schema", 1)
    return connection


def _meta(connection: apsw.Connection, name: str) -> int:
    """A number that the damaged file still tells; 0 where it tells none."""
    try:
        row = connection.execute(_META, (name,)).fetchone()
    except apsw.Error:
        return 0
    return int(row[0]) if row else 0


def _discarded(connection: apsw.Connection) -> dict[str, int]:
    return {leaf: _meta(connection, DISCARDED + leaf) for leaf in (*LEAVES, "unknown")}


def _copy_intact(damaged: apsw.Connection, table: RecordTable, *, station: str) -> set[Position]:
    found: set[Position] = set()
    for query, start, direction in ((_FORWARD, 0, +1), (_BACKWARD, LARGEST_NUMBER, -1)):
        for row in _scan(damaged, query, start, direction):
            if row.position not in found and row.intact and _is_record_of(row, station):
                table.insert(row)
                found.add(row.position)
    return found


def _gaps(found: Iterable[Position]) -> Iterator[Position]:
    for before, after in pairwise(sorted(found)):
        if before.boot == after.boot:
            for sequence in range(before.sequence + 1, after.sequence):
                yield Position(after.boot, sequence)


def _scan(connection: apsw.Connection, query: str, start: int, direction: int) -> Iterator[Row]:
    """Read rows in one direction; step over what cannot be read, first row by row, then ever further.

    Where pages are missing, the tree may lead back to rows that were read before: only what lies further on
    counts as progress, or there would be no end.
    """
    at, failures = start, 0
    while failures < _MAX_FAILURES and 0 <= at <= LARGEST_NUMBER:
        for values in _until_damage(connection, query, at):
            if (int(values[0]) - at) * direction <= 0:
                break
            at, failures = int(values[0]), 0
            yield from _row(values)
        failures += 1
        at += direction * 2 ** max(0, failures - _SINGLE_STEPS)


def _kept_values(connection: apsw.Connection) -> dict[str, bytes]:
    """What lies before the first damage and behind the last; each value vouches for itself by its sum."""
    found: dict[str, bytes] = {}
    for query in _KEPT:
        for values in _until_damage(connection, query):
            match values:
                case (str(name), bytes(value), int(crc32)) if zlib.crc32(value) == crc32:
                    found[name] = value
    return found


def _until_damage(connection: apsw.Connection, query: str, *at: int) -> Iterator[tuple[Any, ...]]:
    try:
        yield from connection.execute(query, at)
    except (apsw.Error, OverflowError):
        return


def _row(values: tuple[Any, ...]) -> Iterator[Row]:
    """The row, or nothing: a damaged page can hold anything."""
    match values:
        case (_, int(boot), int(sequence), str(schema), float(appended_s), bytes(body), int(crc32), flag):
            yield Row(
                position=Position(boot, sequence),
                schema=schema,
                appended_s=appended_s,
                body=body,
                crc32=crc32,
                discarded=flag == 1,
            )


def _is_record_of(row: Row, station: str) -> bool:
    try:
        key = DURABLE_RECORD.validate_json(row.body).stamp.key
    except ValidationError:
        return False
    return (key.station, key.boot, key.sequence) == (station, *row.position)
