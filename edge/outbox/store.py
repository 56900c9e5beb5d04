"""The outbox: a result exists when ``append`` has returned, and until the far end has committed it.

One SQLite file in WAL mode with full synchronisation. Appending and acknowledging may come from different
threads; one lock makes one writer of them.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from typing_extensions import Self

from edge.contract.message import MAX_RECORD_BYTES, Key
from edge.contract.records import DiscardRecord, DurableRecord
from edge.errors import StorageError
from edge.outbox.database import LARGEST_NUMBER, hold
from edge.outbox.discard import Row, unreadable_row
from edge.outbox.file import OutboxFile
from edge.outbox.folder import Folder, SystemFolder
from edge.outbox.kept_values import check_values
from edge.outbox.kinds import StoredRecord, stored
from edge.outbox.position import Position
from edge.outbox.retention import ages_count, clock_step_s
from edge.outbox.settings import OutboxLimits
from edge.outbox.table import RecordTable

_Answer = TypeVar("_Answer")
_SLICE: Final = 1000
"""Records that are deleted in one transaction: an acknowledgement of many must not keep an append waiting."""


@dataclass(frozen=True, kw_only=True)
class OutboxStatistics:
    """What the outbox holds now, and how many records it has ever given up, in all and by topic leaf."""

    records: int
    size_bytes: int
    oldest_age_s: float | None
    discarded: int
    discarded_by_leaf: Mapping[str, int]


class Outbox:
    """The durable records of one station that nobody has acknowledged yet.

    ``utc_now`` and ``monotonic_s`` are the clocks; ``software`` goes into discard records that must be
    written where nothing of the lost record can be read. ``vfs`` names another SQLite file layer than the
    system's own, and ``folder`` has the names of the files there.
    """

    def __init__(
        self,
        *,
        path: Path,
        site: str,
        station: str,
        software: str,
        limits: OutboxLimits | None = None,
        vfs: str | None = None,
        folder: Folder | None = None,
        utc_now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._station = station
        self._limits = limits or OutboxLimits()
        self._file = OutboxFile(
            path=path,
            site=site,
            station=station,
            software=software,
            limits=self._limits,
            vfs=vfs,
            folder=folder or SystemFolder(path.parent),
            on_new_boot=self._note_new_boot,
            utc_now=utc_now,
        )
        self._utc_now = utc_now
        self._monotonic_s = monotonic_s
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._resources = ExitStack()
        self._entered = False
        self._sequence = 0
        self._opened_at_s = 0.0
        self._wall_minus_monotonic_s = 0.0

    def __enter__(self) -> Self:
        """Open, and begin a new boot.

        Raises StorageError when another process has the outbox, when it belongs to another station, or when
        the disk does not serve. A damaged file is no error: see ``report``.
        """
        with ExitStack() as stack:
            stack.enter_context(hold(self._path))
            stack.callback(self._file.close)
            self._opened_at_s = self._monotonic_s()
            self._file.open()
            self._entered = True
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; everything appended is on disk already."""
        with self._lock:
            self._entered = False
            self._resources.close()

    @property
    def boot(self) -> int:
        """The boot number of new records. It rises on opening, and when a damaged file is replaced."""
        return self._file.boot

    @property
    def last_sequence(self) -> int:
        """The sequence of this boot's newest record; 0 before the first."""
        return self._sequence

    @property
    def report(self) -> str:
        """What a person should know of this outbox: what was salvaged and lost; empty where all is well."""
        return self._file.report

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after each append, in the appending thread; it must not block."""
        self._listeners.append(listener)

    def append(
        self, build: Callable[[Key], DurableRecord], *, keep: Mapping[str, bytes | None] | None = None
    ) -> Key:
        """Save the record that ``build`` makes for its key, and with it the values in ``keep``.

        Durable on return, the record and the values together or neither; None removes a value. See ``kept``.

        Raises StorageError when it cannot be saved (then nothing was, and the key is used for the next
        record), ValueError when the record carries another key, and whatever ``build`` raises. ``build`` is
        called a second time, with a new key, if the file turns out to be damaged.
        """
        values = keep or {}
        check_values(values)
        key = self._on_disk(lambda table: self._save(table, build, keep=values))
        self._tell_listeners()
        return key

    def append_once(self, build: Callable[[Key], DurableRecord], *, subject: str, name: str) -> Key | None:
        """As ``append``, but None where the newest record of ``subject`` was saved under ``name`` already.

        So whoever hands records over one by one, and was killed before it noted the last one, may hand that
        one over again. Raises what ``append`` raises.
        """
        note, value = f"newest/{subject}", name.encode()
        check_values({note: value})

        def save(table: RecordTable) -> Key | None:
            return None if table.kept.get(note) == value else self._save(table, build, keep={note: value})

        key = self._on_disk(save)
        if key is not None:
            self._tell_listeners()
        return key

    def keep(self, values: Mapping[str, bytes | None]) -> None:
        """Keep small named values, durable on return, all of them or none; None removes one.

        Raises StorageError.
        """
        check_values(values)

        def write(table: RecordTable) -> None:
            with table.transaction():
                table.kept.write(values)

        self._on_disk(write)

    def kept(self, prefix: str = "") -> dict[str, bytes]:
        """The values that are kept under names that begin so, also by an earlier process.

        They stay until they are removed or written anew. Of a damaged file as many are salvaged as can be
        read; whoever needs several must expect that one is missing. Raises StorageError.
        """
        return self._on_disk(lambda table: table.kept.read(prefix))

    def pending(self, *, after: Position | None = None, limit: int = 100) -> tuple[StoredRecord, ...]:
        """The oldest records behind ``after``, in key order, at most ``limit``."""

        def read(table: RecordTable) -> tuple[StoredRecord, ...]:
            rows = table.read(after=after or Position(0, 0), limit=limit)
            return tuple(stored(row if row.intact else self._give_up_unreadable(table, row)) for row in rows)

        return self._on_disk(read)

    def acknowledge(self, *, boot: int, sequence: int) -> int:
        """Delete what the collector has committed: everything of ``boot`` up to ``sequence``; how many.

        Raises StorageError, deleting nothing, for a record that was never written here.
        """

        def delete(table: RecordTable) -> int:
            if (boot, sequence) > (self._file.boot, self._sequence):
                raise StorageError(
                    f"Record {boot}/{sequence} is acknowledged, but the newest here is "
                    f"{self._file.boot}/{self._sequence}.",
                    remedy="An outbox was wiped, or two stations share one name: give each its own.",
                )
            with table.transaction():
                return table.delete_up_to(Position(boot, min(sequence, LARGEST_NUMBER)), limit=_SLICE)

        deleted = 0
        while (more := self._on_disk(delete)) == _SLICE:
            deleted += more
        return deleted + more

    def delivered_to_broker(self, positions: Iterable[Position]) -> int:
        """Delete what the broker has taken, where its acknowledgement is enough; how many."""
        wanted = tuple(positions)

        def delete(table: RecordTable) -> int:
            with table.transaction():
                return table.delete(wanted)

        return self._on_disk(delete)

    def first_pending(self) -> Mapping[int, int]:
        """By boot, the first sequence still held; for this boot, if it holds none, the next one."""
        return self._on_disk(lambda table: {self._file.boot: self._sequence + 1, **table.first_by_boot()})

    def enforce_limits(self) -> None:
        """Give up what has grown too old while nothing was appended."""

        def give_up(table: RecordTable) -> None:
            with self._following_the_clock(table, now_s=self._now_s()):
                self._make_room(table)

        self._on_disk(give_up)

    def remember_command(self, command_id: str, *, expires_at: datetime) -> bool:
        """Note durably that a command is being carried out; False where it was already."""

        def note(table: RecordTable) -> bool:
            with table.transaction():
                return table.commands.note(command_id, expires_s=expires_at.timestamp(), now_s=self._now_s())

        return self._on_disk(note)

    def remember_answer(self, command_id: str, answer: bytes) -> None:
        """Note durably what was answered to a command that is remembered; it is forgotten with it."""

        def note(table: RecordTable) -> None:
            with table.transaction():
                table.commands.set_answer(command_id, answer)

        self._on_disk(note)

    def answer_to(self, command_id: str) -> bytes | None:
        """What was answered to a command that is remembered; None where nothing was."""
        return self._on_disk(lambda table: table.commands.answer(command_id))

    def statistics(self) -> OutboxStatistics:
        """What is held now."""

        def read(table: RecordTable) -> OutboxStatistics:
            oldest_s = table.oldest_appended_s()
            return OutboxStatistics(
                records=table.counters.records,
                size_bytes=table.counters.size_bytes,
                oldest_age_s=None if oldest_s is None else max(0.0, self._now_s() - oldest_s),
                discarded=table.counters.discarded_ever,
                discarded_by_leaf=table.counters.discarded_by_leaf,
            )

        return self._on_disk(read)

    def _tell_listeners(self) -> None:
        for listener in self._listeners:
            listener()

    # Below here the lock is held.

    def _on_disk(self, operation: Callable[[RecordTable], _Answer]) -> _Answer:
        with self._lock:
            if not self._entered:
                raise StorageError(f"The outbox {self._path} is closed.", remedy="Enter it first.")
            return self._file.do(operation)

    def _note_new_boot(self) -> None:
        self._sequence = 0
        self._wall_minus_monotonic_s = self._now_s() - self._monotonic_s()

    def _save(
        self,
        table: RecordTable,
        build: Callable[[Key], DurableRecord],
        *,
        keep: Mapping[str, bytes | None],
    ) -> Key:
        position = Position(self._file.boot, self._sequence + 1)
        key = Key(station=self._station, boot=position.boot, sequence=position.sequence)
        record = build(key)
        if record.stamp.key != key:
            raise ValueError(f"the record carries the key {record.stamp.key}, not {key}")
        body = record.model_dump_json(by_alias=True).encode()
        if len(body) > MAX_RECORD_BYTES:
            raise StorageError(
                f"A record of {len(body)} bytes is beyond the {MAX_RECORD_BYTES} that a collector takes."
            )
        row = Row(
            position=position,
            schema=record.schema_id,
            appended_s=self._now_s(),
            body=body,
            crc32=zlib.crc32(body),
            discarded=isinstance(record, DiscardRecord),
        )
        with self._following_the_clock(table, now_s=row.appended_s):
            table.insert(row)
            table.kept.write(keep)
            self._make_room(table, newest=position)
        self._sequence = position.sequence
        return key

    @contextmanager
    def _following_the_clock(self, table: RecordTable, *, now_s: float) -> Iterator[None]:
        """A transaction in which this boot's records have the times of the clock as it now is.

        A board without a battery learns the time late; its records must neither seem a year old by that, nor
        of the future.
        """
        expected_s = self._monotonic_s() + self._wall_minus_monotonic_s
        step_s = clock_step_s(expected_s=expected_s, now_s=now_s)
        with table.transaction():
            if step_s:
                table.shift_times(boot=self._file.boot, step_s=step_s)
            yield
        self._wall_minus_monotonic_s += step_s

    def _make_room(self, table: RecordTable, newest: Position | None = None) -> None:
        open_s = self._monotonic_s() - self._opened_at_s
        table.make_room(
            newest=newest or Position(self._file.boot, self._sequence),
            now_s=self._now_s() if ages_count(open_s=open_s, limits=self._limits) else None,
            stamp_of_lost=self._file.stamp_of_lost(),
        )

    def _give_up_unreadable(self, table: RecordTable, row: Row) -> Row:
        """A flipped bit in a body that SQLite does not see: a discard record says so."""
        fresh = unreadable_row(
            row.position, stamp=self._file.stamp_of_lost(), appended_s=row.appended_s, schema=row.schema
        )
        with table.transaction():
            table.replace(fresh, instead_of=row)
        return fresh

    def _now_s(self) -> float:
        return self._utc_now().timestamp()
