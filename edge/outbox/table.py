"""The outbox's tables: every SQL statement on records, and the counters that go with them.

No lock of its own: the store sees to it that one thread at a time is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import apsw

from edge.contract.message import Stamp
from edge.outbox.command_log import CommandLog
from edge.outbox.discard import Row, discarded_row
from edge.outbox.kept_values import KeptValues
from edge.outbox.kinds import leaf_of, worth
from edge.outbox.position import Position
from edge.outbox.retention import DISCARD_BYTES, Discard, Held, too_many_bytes, too_many_discards, too_old
from edge.outbox.settings import OutboxLimits

DISCARDED: Final = "discarded/"
"""Under these names, each with a leaf behind it, the file remembers how many records were given up."""

_DISCARDED_BY_LEAF: Final = "SELECT name, value FROM meta WHERE name LIKE 'discarded/%'"
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
_READ_HELD: Final = """
SELECT boot, sequence, LENGTH(body), appended_s FROM records WHERE discarded = 0 ORDER BY boot, sequence
"""
# The condition is that of the index ``replaceable``: without it every append to a full outbox would pass over
# all that is too small to be replaced.
_REPLACEABLE: Final = f"discarded = 0 AND LENGTH(body) > {DISCARD_BYTES}"
_READ_REPLACEABLE: Final = f"""
SELECT boot, sequence, LENGTH(body), appended_s FROM records
WHERE schema = ? AND {_REPLACEABLE} ORDER BY boot, sequence
"""  # noqa: S608 - made of our own constants
# From one to the next by the index: what is between them, a million records perhaps, is not looked at.
_SCHEMAS: Final = f"""
WITH RECURSIVE found(schema) AS (
    SELECT MIN(schema) FROM records WHERE {_REPLACEABLE}
    UNION ALL
    SELECT (SELECT MIN(schema) FROM records WHERE schema > found.schema AND {_REPLACEABLE})
    FROM found WHERE found.schema IS NOT NULL
)
SELECT schema FROM found WHERE schema IS NOT NULL
"""  # noqa: S608 - made of our own constants
_FIRST_BY_BOOT: Final = """
WITH RECURSIVE found(boot) AS (
    SELECT MIN(boot) FROM records
    UNION ALL
    SELECT (SELECT MIN(boot) FROM records WHERE boot > found.boot) FROM found WHERE found.boot IS NOT NULL
)
SELECT boot, (SELECT MIN(sequence) FROM records WHERE boot = found.boot) FROM found WHERE boot IS NOT NULL
"""
_END_OF_SLICE: Final = """
SELECT sequence FROM records WHERE boot = ? AND sequence <= ? ORDER BY sequence LIMIT 1 OFFSET ?
"""


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Kept beside the file, so that an append need not add up the whole table."""

    records: int
    size_bytes: int
    discard_bytes: int
    discarded_by_leaf: Mapping[str, int]

    @property
    def discarded_ever(self) -> int:
        """How many records were ever given up, of all kinds."""
        return sum(self.discarded_by_leaf.values())


class RecordTable:
    """The tables of an open outbox file."""

    def __init__(self, *, connection: apsw.Connection, limits: OutboxLimits) -> None:
        self._connection = connection
        self._limits = limits
        self.counters = self._count()
        self.kept = KeptValues(connection=connection)
        self.commands = CommandLog(connection=connection)

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
        value = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
        return None if value is None else str(value)

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
        if not instead_of.discarded:
            self.count_discarded({leaf_of(instead_of): 1})

    def count_discarded(self, by_leaf: Mapping[str, int]) -> None:
        """Note records that are given up for ever, by the last level of their topics."""
        known = self.counters.discarded_by_leaf
        fresh = {leaf: known.get(leaf, 0) + more for leaf, more in by_leaf.items() if more}
        self.counters = replace(self.counters, discarded_by_leaf={**known, **fresh})
        for leaf, count in fresh.items():
            self.set_meta(DISCARDED + leaf, str(count))

    def read(self, *, after: Position, limit: int) -> list[Row]:
        """Records behind ``after`` in key order."""
        return [_row(values) for values in self._connection.execute(_READ, (*after, limit))]

    def first_by_boot(self) -> dict[int, int]:
        """The first sequence held of each boot."""
        return {int(boot): int(first) for boot, first in self._connection.execute(_FIRST_BY_BOOT)}

    def newest_boot(self) -> int:
        """The highest boot with a record; 0 where there is none."""
        return int(self._connection.execute("SELECT COALESCE(MAX(boot), 0) FROM records").get)

    def oldest_appended_s(self) -> float | None:
        """When the first record in key order was appended."""
        query = "SELECT appended_s FROM records ORDER BY boot, sequence LIMIT 1"
        appended_s = self._connection.execute(query).get
        return None if appended_s is None else float(appended_s)

    def shift_times(self, *, boot: int, step_s: float) -> None:
        """Move the times of a boot's records with the clock that was set."""
        self._connection.execute(
            "UPDATE records SET appended_s = appended_s + ? WHERE boot = ?", (step_s, boot)
        )

    def delete_up_to(self, position: Position, *, limit: int) -> int:
        """Delete a boot's records up to and with ``position``, the first ``limit`` of them; how many."""
        end = self._connection.execute(_END_OF_SLICE, (*position, limit - 1)).get
        return self._delete(position.boot, 0, position.sequence if end is None else int(end))

    def delete(self, positions: Iterable[Position]) -> int:
        """Delete these records; how many there were."""
        return sum(self._delete(boot, sequence, sequence) for boot, sequence in positions)

    def make_room(self, *, newest: Position, now_s: float | None, stamp_of_lost: Stamp) -> None:
        """Bring the table within its limits; ``newest`` stays whatever happens.

        ``now_s`` is None while it cannot be said how old a record is.
        """
        if now_s is not None:
            held = _held(self._connection.execute(_READ_HELD))
            for decision in too_old(held, newest=newest, limits=self._limits, now_s=now_s):
                self._give_up(decision, stamp_of_lost)
        if self.counters.size_bytes > self._limits.max_bytes:
            decisions = too_many_bytes(
                self._replaceable(),
                total_bytes=self.counters.size_bytes,
                newest=newest,
                limits=self._limits,
            )
            for decision in decisions:
                self._give_up(decision, stamp_of_lost)
        while too_many_discards(
            total_bytes=self.counters.size_bytes,
            discard_bytes=self.counters.discard_bytes,
            limits=self._limits,
        ):
            oldest = self.read(after=Position(0, 0), limit=1)[0]
            if oldest.position == newest:
                break
            self.delete([oldest.position])
            if not oldest.discarded:
                self.count_discarded({leaf_of(oldest): 1})

    def _replaceable(self) -> Iterator[Held]:
        """What a discard record could stand for and be smaller, in the order in which it is given up."""
        schemas = [str(schema) for (schema,) in self._connection.execute(_SCHEMAS)]
        for schema in sorted(schemas, key=worth):
            yield from _held(self._connection.execute(_READ_REPLACEABLE, (schema,)))

    def _give_up(self, decision: Discard, stamp_of_lost: Stamp) -> None:
        row = self._one(decision.position)
        fresh = discarded_row(row, reason=decision.reason, stamp_of_lost=stamp_of_lost)
        self.replace(fresh, instead_of=row)

    def _count(self) -> Counters:
        records, size_bytes, discard_bytes = self._connection.execute(_COUNT).get
        by_leaf = self._connection.execute(
            "SELECT name, value FROM meta WHERE name LIKE ?", (f"{DISCARDED}%",)
        )
        return Counters(
            records=records,
            size_bytes=size_bytes,
            discard_bytes=discard_bytes,
            discarded_by_leaf={str(name).removeprefix(DISCARDED): int(value) for name, value in by_leaf},
        )

    def _add(self, *, records: int = 0, size_bytes: int = 0, discard_bytes: int = 0) -> None:
        now = self.counters
        self.counters = replace(
            now,
            records=now.records + records,
            size_bytes=now.size_bytes + size_bytes,
            discard_bytes=now.discard_bytes + discard_bytes,
        )

    def _one(self, position: Position) -> Row:
        return _row(self._connection.execute(_READ_ONE, position).get)

    def _delete(self, boot: int, first: int, last: int) -> int:
        counted = self._connection.execute(_COUNT_RANGE, (boot, first, last)).get
        records, size_bytes, discard_bytes = counted
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


def _held(rows: Iterable[tuple[int, int, int, float]]) -> Iterator[Held]:
    for boot, sequence, size_bytes, appended_s in rows:
        yield Held(position=Position(boot, sequence), size_bytes=size_bytes, appended_s=appended_s)
