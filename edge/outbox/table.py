"""The outbox's tables: every SQL statement on records, and the counters that go with them.

No lock of its own: the store sees to it that one thread at a time is here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from edge.contract.message import Stamp
from edge.outbox.discard import Row, discarded_row
from edge.outbox.kept_values import KeptValues
from edge.outbox.position import Position
from edge.outbox.retention import Held, to_discard, too_many_discards
from edge.outbox.settings import OutboxLimits

_COUNT: Final = """
SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0), COALESCE(SUM(LENGTH(body) * discarded), 0) FROM records
"""
_COUNT_RANGE: Final = """
SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0), COALESCE(SUM(LENGTH(body) * discarded), 0) FROM records
WHERE boot = ? AND sequence BETWEEN ? AND ?
"""
_DELETE_RANGE: Final = "DELETE FROM records WHERE boot = ? AND sequence BETWEEN ? AND ?"
_INSERT: Final = """
INSERT INTO records (boot, sequence, schema, appended_s, body, crc32, discarded)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_REPLACE: Final = """
UPDATE records SET schema = ?, appended_s = ?, body = ?, crc32 = ?, discarded = ?
WHERE boot = ? AND sequence = ?
"""
_READ: Final = """
SELECT boot, sequence, schema, appended_s, body, crc32, discarded FROM records
WHERE (boot, sequence) > (?, ?) ORDER BY boot, sequence LIMIT ?
"""
_READ_ONE: Final = """
SELECT boot, sequence, schema, appended_s, body, crc32, discarded FROM records
WHERE boot = ? AND sequence = ?
"""
_READ_KEPT: Final = """
SELECT boot, sequence, LENGTH(body), appended_s FROM records WHERE discarded = 0 ORDER BY boot, sequence
"""


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Kept beside the file, so that an append need not add up the whole table."""

    records: int
    size_bytes: int
    discard_bytes: int
    discarded_ever: int


class RecordTable:
    """The tables of an open outbox file."""

    def __init__(self, *, connection: sqlite3.Connection, limits: OutboxLimits) -> None:
        self._connection = connection
        self._limits = limits
        self.counters = self._count()
        self.kept = KeptValues(connection=connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable on leaving; the counters follow."""
        before = self.counters
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self.counters = before
            # After some faults (a full disk) SQLite has rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def meta(self, name: str) -> str | None:
        """A remembered value."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Remember a value."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def insert(self, row: Row) -> None:
        """Add a record; its position must be new."""
        values = (*row.position, row.schema, row.appended_s, row.body, row.crc32, row.discarded)
        self._connection.execute(_INSERT, values)
        self._add(records=1, size_bytes=len(row.body), discard_bytes=len(row.body) if row.discarded else 0)

    def replace(self, row: Row, *, instead_of: Row) -> None:
        """Put a discard record in another's place and count it."""
        values = (row.schema, row.appended_s, row.body, row.crc32, row.discarded, *row.position)
        self._connection.execute(_REPLACE, values)
        self._add(
            size_bytes=len(row.body) - len(instead_of.body),
            discard_bytes=len(row.body) - (len(instead_of.body) if instead_of.discarded else 0),
        )
        self.count_discarded(0 if instead_of.discarded else 1)

    def count_discarded(self, records: int) -> None:
        """Note records that are given up for ever."""
        if records:
            self._add(discarded_ever=records)
            self.set_meta("discarded", str(self.counters.discarded_ever))

    def read(self, *, after: Position, limit: int) -> list[Row]:
        """Records behind ``after`` in key order."""
        return [_row(values) for values in self._connection.execute(_READ, (*after, limit))]

    def first_by_boot(self) -> dict[int, int]:
        """The first sequence held of each boot."""
        return dict(self._connection.execute("SELECT boot, MIN(sequence) FROM records GROUP BY boot"))

    def newest_boot(self) -> int:
        """The highest boot with a record; 0 where there is none."""
        return int(self._connection.execute("SELECT COALESCE(MAX(boot), 0) FROM records").fetchone()[0])

    def oldest_appended_s(self) -> float | None:
        """When the first record in key order was appended."""
        query = "SELECT appended_s FROM records ORDER BY boot, sequence LIMIT 1"
        row = self._connection.execute(query).fetchone()
        return None if row is None else float(row[0])

    def shift_times(self, *, boot: int, step_s: float) -> None:
        """Move the times of a boot's records with the clock that was set."""
        self._connection.execute(
            "UPDATE records SET appended_s = appended_s + ? WHERE boot = ?", (step_s, boot)
        )

    def delete_up_to(self, position: Position) -> int:
        """Delete a boot's records up to and with ``position``; how many."""
        return self._delete(position.boot, 0, position.sequence)

    def delete(self, positions: Iterable[Position]) -> int:
        """Delete these records; how many there were."""
        return sum(self._delete(boot, sequence, sequence) for boot, sequence in positions)

    def note_command(self, command_id: str, *, expires_s: float, now_s: float) -> bool:
        """Remember a command's id until it expires; False where it is known."""
        self._connection.execute("DELETE FROM commands WHERE expires_s < ?", (now_s,))
        noted = self._connection.execute(
            "INSERT OR IGNORE INTO commands VALUES (?, ?)", (command_id, expires_s)
        )
        return noted.rowcount == 1

    def make_room(self, *, newest: Position, now_s: float, stamp_of_lost: Stamp) -> None:
        """Bring the table within its limits; ``newest`` stays whatever happens."""
        held = (
            Held(position=Position(boot, sequence), size_bytes=size_bytes, appended_s=appended_s)
            for boot, sequence, size_bytes, appended_s in self._connection.execute(_READ_KEPT)
        )
        decisions = to_discard(
            held, total_bytes=self.counters.size_bytes, newest=newest, limits=self._limits, now_s=now_s
        )
        for decision in decisions:
            row = self._one(decision.position)
            fresh = discarded_row(row, reason=decision.reason, stamp_of_lost=stamp_of_lost)
            self.replace(fresh, instead_of=row)
        while too_many_discards(
            total_bytes=self.counters.size_bytes,
            discard_bytes=self.counters.discard_bytes,
            limits=self._limits,
        ):
            oldest = self.read(after=Position(0, 0), limit=1)[0]
            if oldest.position == newest:
                break
            self.delete([oldest.position])
            self.count_discarded(0 if oldest.discarded else 1)

    def _count(self) -> Counters:
        row = self._connection.execute(_COUNT).fetchone()
        return Counters(
            records=int(row[0]),
            size_bytes=int(row[1]),
            discard_bytes=int(row[2]),
            discarded_ever=int(self.meta("discarded") or 0),
        )

    def _add(
        self, *, records: int = 0, size_bytes: int = 0, discard_bytes: int = 0, discarded_ever: int = 0
    ) -> None:
        now = self.counters
        self.counters = replace(
            now,
            records=now.records + records,
            size_bytes=now.size_bytes + size_bytes,
            discard_bytes=now.discard_bytes + discard_bytes,
            discarded_ever=now.discarded_ever + discarded_ever,
        )

    def _one(self, position: Position) -> Row:
        return _row(self._connection.execute(_READ_ONE, position).fetchone())

    def _delete(self, boot: int, first: int, last: int) -> int:
        records, size_bytes, discard_bytes = self._connection.execute(
            _COUNT_RANGE, (boot, first, last)
        ).fetchone()
        self._connection.execute(_DELETE_RANGE, (boot, first, last))
        self._add(records=-records, size_bytes=-size_bytes, discard_bytes=-discard_bytes)
        return int(records)


def _row(values: tuple[int, int, str, float, bytes, int, int]) -> Row:
    boot, sequence, schema, appended_s, body, crc32, discarded = values
    return Row(
        position=Position(boot, sequence),
        schema=schema,
        appended_s=appended_s,
        body=body,
        crc32=crc32,
        discarded=bool(discarded),
    )
