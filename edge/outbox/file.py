"""The outbox's file over its life: opened, found damaged, replaced by what was salvaged, opened again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from edge.contract.message import Key, Stamp
from edge.errors import StorageError
from edge.outbox.boot import read_boot, write_boot
from edge.outbox.database import DamagedError, connect, storage_faults
from edge.outbox.folder import Folder
from edge.outbox.salvage import finish_rebuild, rebuild
from edge.outbox.settings import OutboxLimits
from edge.outbox.table import RecordTable

_LOG: Final = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class OutboxFile:
    """One station's file. No lock of its own: whoever uses it sees to it that one thread at a time is here.

    ``on_new_boot`` is called when a boot has begun: at the opening, and when a damaged file was replaced.
    """

    def __init__(
        self,
        *,
        path: Path,
        site: str,
        station: str,
        software: str,
        limits: OutboxLimits,
        vfs: str | None,
        folder: Folder,
        on_new_boot: Callable[[], None],
        utc_now: Callable[[], datetime],
    ) -> None:
        self._path = path
        self._site = site
        self._station = station
        self._software = software
        self._limits = limits
        self._vfs = vfs
        self._folder = folder
        self._on_new_boot = on_new_boot
        self._utc_now = utc_now
        self._table: RecordTable | None = None
        self.boot = 0
        """The number of the boot that began last."""
        self.report = ""
        """What was salvaged and lost; empty where the file was never damaged."""

    def open(self) -> RecordTable:
        """Open the file, a damaged one after salvaging what it holds. Raises StorageError."""
        try:
            return self._begin()
        except DamagedError as damage:
            return self._recover(damage)

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def do(self, operation: Callable[[RecordTable], _Answer]) -> _Answer:
        """Have ``operation`` done; once more, on a sound file, if this one turns out to be damaged.

        Raises StorageError.
        """
        # There is no table after a rebuild that failed, say for want of space: it is tried again.
        table = self._table or self.open()
        try:
            with storage_faults(self._path):
                return operation(table)
        except DamagedError as damage:
            table = self._recover(damage)
            with storage_faults(self._path):
                return operation(table)

    def stamp_of_lost(self) -> Stamp:
        """What can be said of a record of which nothing can be read."""
        return Stamp(
            site=self._site,
            key=Key(station=self._station, boot=1, sequence=1),
            recorded_at=self._utc_now(),
            software=self._software,
            bundle="unknown",
        )

    def _begin(self) -> RecordTable:
        with ExitStack() as stack, storage_faults(self._path):
            self._finish_rebuild()
            connection = stack.enter_context(closing(connect(self._path, vfs=self._vfs)))
            table = RecordTable(connection=connection, limits=self._limits)
            self._claim(table)
            self._begin_boot(table)
            self._table = table
            stack.pop_all()
        return table

    def _recover(self, damage: DamagedError) -> RecordTable:
        self.close()
        with storage_faults(self._path):
            saved = rebuild(
                self._path,
                folder=self._folder,
                vfs=self._vfs,
                stamp=self.stamp_of_lost(),
                limits=self._limits,
                now=self._utc_now(),
            )
        self.report = (
            f"The outbox was damaged ({damage}): {saved.readable} records were salvaged, at least "
            f"{saved.unreadable} are lost; the damaged file is kept as {saved.aside}."
        )
        _LOG.error("%s", self.report)
        return self._begin()

    def _finish_rebuild(self) -> None:
        aside = finish_rebuild(self._path, folder=self._folder, now=self._utc_now())
        if aside is not None:
            self.report = (
                "The outbox was damaged, and its salvage was interrupted when it was all but done: the rest "
                f"was done now; the damaged file is kept as {aside}."
            )
            _LOG.error("%s", self.report)

    def _claim(self, table: RecordTable) -> None:
        """Note whose outbox this is; another station's may be taken over only when it is empty."""
        owner = f"{self._site}/{self._station}"
        known = table.meta("owner")
        if known == owner:
            return
        if known is not None and table.counters.records:
            raise StorageError(
                f"The outbox {self._path} holds records of {known}, and this is {owner}.",
                remedy=f"Run as {known} until it is empty, or give {owner} an outbox of its own.",
            )
        with table.transaction():
            if known is not None:
                table.kept.clear()
            table.set_meta("owner", owner)

    def _begin_boot(self, table: RecordTable) -> None:
        counter = self._path.with_name(self._path.name + ".boot")
        known = (self.boot, table.newest_boot(), int(table.meta("boot") or 0), read_boot(counter))
        boot = max(known) + 1
        write_boot(counter, boot)
        table.set_meta("boot", str(boot))
        self.boot = boot
        self._on_new_boot()
