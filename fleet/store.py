"""The collector's database: every record once, by its key; and up to where each station's are complete."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from typing_extensions import Self, assert_never

from fleet.errors import FleetStoreError
from fleet.intake import (
    DISCARD_SCHEMA,
    FromStation,
    Incoming,
    IncomingHealth,
    IncomingRecord,
    IncomingState,
    RecordKey,
    Rejected,
)

_LOG: Final = logging.getLogger(__name__)
APPLICATION_ID: Final = 0x4C4B464C  # "LKFL"
SCHEMA_VERSION: Final = 1
MAX_REJECTED: Final = 1000
_KEPT_OF_REJECTED_BYTES: Final = 2048
_BUSY_TIMEOUT_S: Final = 30.0

# ``streams.contiguous`` is the highest sequence of a boot up to which nothing can come any more: it was
# committed here, or the station said that it no longer has it.
_SCHEMA: Final = """
CREATE TABLE stations (
    station TEXT PRIMARY KEY,
    site TEXT NOT NULL,
    state BLOB,
    state_at TEXT,
    health BLOB,
    health_at TEXT
);
CREATE TABLE records (
    station TEXT NOT NULL,
    boot INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    schema TEXT NOT NULL,
    slide TEXT,
    recorded_at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    problem TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (station, boot, sequence)
);
CREATE INDEX records_by_slide ON records (schema, station, slide);
CREATE TABLE streams (
    station TEXT NOT NULL,
    boot INTEGER NOT NULL,
    contiguous INTEGER NOT NULL,
    PRIMARY KEY (station, boot)
);
CREATE TABLE conflicts (
    station TEXT NOT NULL,
    boot INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    received_at TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (station, boot, sequence, digest)
);
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY,
    received_at TEXT NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    payload BLOB NOT NULL
);
"""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a station may be told: everything of ``boot`` up to and with ``sequence`` is committed."""

    site: str
    station: str
    boot: int
    sequence: int


@contextmanager
def store_faults(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into FleetStoreError with a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        full = "full" in str(error).lower()
        raise FleetStoreError(
            f"The database {path} cannot be used: {error}.",
            remedy="Free space on its disk; stations keep what is not acknowledged."
            if full
            else "Check that it is a collector's database, writable and on a sound disk.",
        ) from error


class FleetStore:
    """The database, for the one process that writes it; others may read it meanwhile (``queries``)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open or create it. Raises FleetStoreError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FleetStoreError(f"The database's folder cannot be made: {error}.") from error
        with store_faults(self._path):
            # The writer may be another thread than the one that opens; there is only one at a time.
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT_S
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def commit(self, batch: Sequence[Incoming], *, received_at: datetime) -> tuple[Receipt, ...]:
        """Take a batch in one durable transaction; the receipts may be sent once this returns.

        A receipt never goes beyond what came in this batch: a station whose outbox was wiped counts from 1
        again, and must not be told that records arrived which it has not sent yet.

        Raises FleetStoreError; then nothing of the batch was taken.
        """
        at = received_at.isoformat()
        came: dict[tuple[str, int], int] = {}
        with store_faults(self._path), self._transaction():
            for message in batch:
                if isinstance(message, Rejected):
                    self._reject(message, at)
                elif self._belongs(message, at):
                    self._take(message, at)
                    if isinstance(message, IncomingRecord):
                        stream = (message.station, message.key.boot)
                        came[stream] = max(came.get(stream, 0), message.key.sequence)
            return tuple(
                receipt
                for (station, boot), sequence in came.items()
                if (receipt := self._receipt(station, boot, up_to=sequence)) is not None
            )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        application, version, schema = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("application_id", "user_version", "schema_version")
        )
        if schema == 0:
            connection.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise FleetStoreError(
                f"{self._path} is no collector's database of this version.", remedy="Give another path."
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._connection is None:
            raise FleetStoreError(f"The database {self._path} is closed.")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _execute(self, statement: str, values: Sequence[object]) -> sqlite3.Cursor:
        if self._connection is None:
            raise FleetStoreError(f"The database {self._path} is closed.")
        return self._connection.execute(statement, tuple(values))

    def _belongs(self, message: FromStation, at: str) -> bool:
        """A station's name is of one site for ever: the key of a record does not name the site."""
        site, station = message.site, message.station
        self._execute("INSERT OR IGNORE INTO stations (station, site) VALUES (?, ?)", (station, site))
        known = self._execute("SELECT site FROM stations WHERE station = ?", (station,)).fetchone()[0]
        if known == site:
            return True
        reason = f"station {station} is of site {known}, not {site}: give every station a name of its own"
        self._reject(Rejected(topic=f"{site}/{station}", reason=reason, payload=message.body), at)
        return False

    def _take(self, message: FromStation, at: str) -> None:
        match message:
            case IncomingRecord():
                self._take_record(message, at)
            case IncomingState(station=station, record=state):
                self._execute(
                    "UPDATE stations SET state = ?, state_at = ? WHERE station = ?",
                    (message.body, at, station),
                )
                for boot, first in state.first_pending.items():
                    self._raise_contiguous(station, boot, first - 1)
            case IncomingHealth(station=station):
                self._execute(
                    "UPDATE stations SET health = ?, health_at = ? WHERE station = ?",
                    (message.body, at, station),
                )
            case _:
                assert_never(message)

    def _take_record(self, record: IncomingRecord, at: str) -> None:
        key = (record.key.station, record.key.boot, record.key.sequence)
        known = self._execute(
            "SELECT schema, body FROM records WHERE station = ? AND boot = ? AND sequence = ?", key
        ).fetchone()
        fields = (
            record.schema,
            record.slide,
            record.recorded_at.isoformat(),
            at,
            record.problem,
            record.body,
        )
        if known is None:
            self._execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *fields))
            if record.problem:
                _LOG.warning("%s is kept but not understood: %s", record.key, record.problem)
            return
        known_discarded = known[0] == DISCARD_SCHEMA
        if bytes(known[1]) == record.body or record.discarded:
            return  # sent again, or given up by the station after it had arrived here
        if known_discarded:
            self._execute(
                "UPDATE records SET schema = ?, slide = ?, recorded_at = ?, received_at = ?, problem = ?, "
                "body = ? WHERE station = ? AND boot = ? AND sequence = ?",
                (*fields, *key),
            )
            return
        self._conflict(record.key, record.body, at)

    def _conflict(self, key: RecordKey, body: bytes, at: str) -> None:
        digest = hashlib.sha256(body).hexdigest()
        cursor = self._execute(
            "INSERT OR IGNORE INTO conflicts VALUES (?, ?, ?, ?, ?, ?)",
            (key.station, key.boot, key.sequence, digest, at, body),
        )
        if cursor.rowcount:
            _LOG.error(
                "%s came with other content than before; both are kept. Was the station's outbox wiped, "
                "or do two stations share the name?",
                key,
            )

    def _reject(self, message: Rejected, at: str) -> None:
        _LOG.warning("rejected on %s: %s", message.topic, message.reason)
        self._execute(
            "INSERT INTO rejected (received_at, topic, reason, payload) VALUES (?, ?, ?, ?)",
            (at, message.topic[:200], message.reason, message.payload[:_KEPT_OF_REJECTED_BYTES]),
        )
        self._execute("DELETE FROM rejected WHERE id <= (SELECT MAX(id) FROM rejected) - ?", (MAX_REJECTED,))

    def _contiguous(self, station: str, boot: int) -> int:
        row = self._execute(
            "SELECT contiguous FROM streams WHERE station = ? AND boot = ?", (station, boot)
        ).fetchone()
        return int(row[0]) if row else 0

    def _set_contiguous(self, station: str, boot: int, sequence: int) -> None:
        self._execute("INSERT OR REPLACE INTO streams VALUES (?, ?, ?)", (station, boot, sequence))

    def _raise_contiguous(self, station: str, boot: int, sequence: int) -> None:
        known = self._contiguous(station, boot)
        if sequence > known:
            self._set_contiguous(station, boot, sequence)
            _LOG.warning(
                "station %s no longer has what was missing of boot %d up to %d; complete here up to %d",
                station,
                boot,
                sequence,
                known,
            )

    def _receipt(self, station: str, boot: int, *, up_to: int) -> Receipt | None:
        known = reached = self._contiguous(station, boot)
        for (sequence,) in self._execute(
            "SELECT sequence FROM records WHERE station = ? AND boot = ? AND sequence > ? ORDER BY sequence",
            (station, boot, known),
        ):
            if sequence != reached + 1:
                break
            reached = sequence
        if reached != known:
            self._set_contiguous(station, boot, reached)
        if (complete := min(reached, up_to)) < 1:
            return None
        site = self._execute("SELECT site FROM stations WHERE station = ?", (station,)).fetchone()[0]
        return Receipt(site=site, station=station, boot=boot, sequence=complete)
