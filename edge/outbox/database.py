"""The outbox's SQLite file: how it is opened, what is in it, and what its faults mean."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

from typing_extensions import Self

from edge.errors import StorageError
from edge.outbox.kept_values import KEPT_SCHEMA, KeptValues

APPLICATION_ID: Final = 0x4C4B4F58  # "LKOX"
SCHEMA_VERSION: Final = 2
LARGEST_NUMBER: Final = 2**63 - 1
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
CREATE TABLE commands (id TEXT PRIMARY KEY, expires_s REAL NOT NULL);
{KEPT_SCHEMA}
"""


class DamagedError(Exception):
    """The file is not a sound database any more; what can be read must be salvaged."""


@contextmanager
def storage_faults(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into StorageError with a remedy, or into DamagedError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"The outbox {path} cannot be used: {error}.", remedy=_remedy(str(error))
        ) from error
    except sqlite3.DatabaseError as error:
        # The sqlite3 module raises this class itself, none of its children, for SQLITE_CORRUPT and
        # SQLITE_NOTADB alone.
        if type(error) is sqlite3.DatabaseError:
            raise DamagedError(str(error)) from error
        raise
    except OSError as error:
        raise StorageError(
            f"The outbox {path} cannot be used: {error}.", remedy=_remedy(str(error))
        ) from error


def _remedy(message: str) -> str:
    lowered = message.lower()
    if "full" in lowered or "no space" in lowered:
        return "Free space on its disk; what is already saved is kept, and saving goes on by itself."
    if "readonly" in lowered or "read-only" in lowered or "permission" in lowered:
        return "Make its folder writable for the station's user, or mount the disk read-write."
    if "i/o error" in lowered:
        return "Check the disk and its cable (dmesg); what is already saved is kept where it can be."
    return "Check that its folder exists, is writable and is on a sound disk."


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the outbox's file and check it through.

    Raises StorageError where it cannot be used or is something else's; DamagedError where it is damaged.
    """
    with storage_faults(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit must survive a power cut: with NORMAL, WAL mode may lose the last ones.
    connection.execute("PRAGMA synchronous = FULL")
    application = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    if (application, version) == (0, 0) and not _pragma(connection, "schema_version"):
        connection.executescript(
            f"BEGIN; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
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


def _bring_from_1(connection: sqlite3.Connection) -> None:
    """Layout 1 kept one kind of value, among the outbox's own."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(KEPT_SCHEMA)
    newest = connection.execute("SELECT name, value FROM meta WHERE name LIKE 'newest %'").fetchall()
    KeptValues(connection=connection).write(
        {str(name).replace(" ", "/", 1): str(value).encode() for name, value in newest}
    )
    connection.execute("DELETE FROM meta WHERE name LIKE 'newest %'")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


class ProcessLock:
    """Keeps a second process from the same outbox; the system frees it even when this one is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock. Raises StorageError naming the process that has it."""
        with storage_faults(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StorageError(
                f"The outbox is held by another process ({holder}): {self._path.with_suffix('')}.",
                remedy="Stop the other station, or give this one an outbox of its own.",
            ) from error
        self._descriptor = descriptor
        with storage_faults(self._path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
