"""The outbox's SQLite file: how it is opened, what is in it, and what its faults mean."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import apsw

from edge.errors import StorageError
from edge.outbox.command_log import COMMAND_SCHEMA
from edge.outbox.kept_values import KEPT_SCHEMA, KeptValues
from edge.outbox.retention import DISCARD_BYTES
from edge.process_lock import HeldElsewhereError, held, take_lock

APPLICATION_ID: Final = 0x4C4B4F58  # "LKOX"
SCHEMA_VERSION: Final = 2
LARGEST_NUMBER: Final = 2**63 - 1
_REPLACEABLE_INDEX: Final = f"""
CREATE INDEX replaceable ON records (schema, boot, sequence)
WHERE discarded = 0 AND LENGTH(body) > {DISCARD_BYTES};
"""
# A row's rowid grows with its key, since one writer appends in key order: salvage relies on that.
_SCHEMA: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE records (
    boot INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    schema TEXT NOT NULL,
    appended_s REAL NOT NULL,
    body BLOB NOT NULL,
    crc32 INTEGER NOT NULL,
    discarded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (boot, sequence)
);
CREATE INDEX kept ON records (boot, sequence) WHERE discarded = 0;
{_REPLACEABLE_INDEX}
{COMMAND_SCHEMA}
{KEPT_SCHEMA}
"""


class DamagedError(Exception):
    """The file is not a sound database any more; what can be read must be salvaged."""


_DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)
_UNUSABLE: Final = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    apsw.SQLError,
)
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE: Final = {errno.EROFS, errno.EACCES, errno.EPERM}
_TOO_MANY_FILES: Final = {errno.EMFILE, errno.ENFILE}


@contextmanager
def storage_faults(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into StorageError with a remedy, or into DamagedError."""
    try:
        yield
    except _DAMAGED as error:
        raise DamagedError(str(error)) from error
    except _UNUSABLE as error:
        # SQLite says only that it could not open a file; the system says why.
        cause = _why_not_opened(path) if isinstance(error, apsw.CantOpenError) else None
        said = error if cause is None else cause
        raise StorageError(f"The outbox {path} cannot be used: {said}.", remedy=_remedy(said)) from error
    except OSError as error:
        raise StorageError(f"The outbox {path} cannot be used: {error}.", remedy=_remedy(error)) from error


def _why_not_opened(path: Path) -> OSError | None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error
    return None


def _remedy(error: apsw.Error | OSError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, apsw.FullError) or number in _FULL:
        return "Free space on its disk; what is already saved is kept, and saving goes on by itself."
    if isinstance(error, apsw.ReadOnlyError) or number in _NOT_WRITABLE:
        return "Make its folder writable for the station's user, or mount the disk read-write."
    if number in _TOO_MANY_FILES:
        return "Restart the station; if it happens again, raise LimitNOFILE= of its unit and report it."
    if isinstance(error, apsw.IOError):
        return "Check the disk and its cable (dmesg); what is already saved is kept where it can be."
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return "Close the other program that has its file open."
    return "Check that its folder exists, is writable and is on a sound disk."


def connect(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open or create the outbox's file and check it through; ``vfs`` names the SQLite file layer.

    Raises StorageError where it cannot be used or is something else's; DamagedError where it is damaged.
    """
    with storage_faults(path):
        connection = apsw.Connection(str(path), vfs=vfs)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: apsw.Connection, path: Path) -> None:
    # One process alone is here, by its lock. So the WAL's index needs no shared memory, and every file that
    # an append needs stays open: a process that runs out of descriptors still saves.
    connection.pragma("locking_mode", "EXCLUSIVE")
    connection.pragma("journal_mode", "WAL")
    connection.pragma("temp_store", "MEMORY")
    # A commit must survive a power cut: with NORMAL, WAL mode may lose the last ones.
    connection.pragma("synchronous", "FULL")
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    if (application, version) == (0, 0) and not connection.pragma("schema_version"):
        connection.execute(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
        return
    if application != APPLICATION_ID:
        raise StorageError(
            f"{path} is a database of something else, not an outbox.", remedy="Give the outbox another path."
        )
    if version not in {1, SCHEMA_VERSION}:
        raise StorageError(
            f"The outbox {path} has layout {version}; this software knows {SCHEMA_VERSION}.",
            remedy="Run the software version that wrote it, until it is empty.",
        )
    verdict = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    if verdict != ["ok"]:
        raise DamagedError("; ".join(verdict))
    if version == 1:
        _bring_from_1(connection)


def _bring_from_1(connection: apsw.Connection) -> None:
    """Layout 1 kept one kind of value, among the outbox's own, and did not tell what kind it gave up."""
    with connection:
        connection.execute(_REPLACEABLE_INDEX + KEPT_SCHEMA)
        connection.execute("ALTER TABLE commands ADD COLUMN answer BLOB")
        connection.execute("UPDATE meta SET name = 'discarded/unknown' WHERE name = 'discarded'")
        newest = connection.execute("SELECT name, value FROM meta WHERE name LIKE 'newest %'").fetchall()
        KeptValues(connection=connection).write(
            {str(name).replace(" ", "/", 1): str(value).encode() for name, value in newest}
        )
        connection.execute("DELETE FROM meta WHERE name LIKE 'newest %'")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def hold(path: Path) -> AbstractContextManager[None]:
    """Keep a second process from the outbox ``path`` until the end of a block.

    Raises StorageError, naming the process that has it, or where the disk does not serve.
    """
    try:
        with storage_faults(path):
            return held(take_lock(path.with_name(path.name + ".lock")))
    except HeldElsewhereError as error:
        raise StorageError(
            f"The outbox is held by another process ({error.holder}): {path}.",
            remedy="Stop the other station, or give this one an outbox of its own.",
        ) from error
