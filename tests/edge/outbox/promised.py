"""An outbox on a disk whose power may be cut, and what it has promised."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge.contract.message import Key, Stamp
from edge.contract.records import DurableRecord, UpdateRecord
from edge.outbox.folder import Folder
from edge.outbox.store import Outbox
from edge.outbox.testing import MemoryDisk

NAME = "outbox.sqlite3"
GIVEN_UP = "given up"
"""What stands for the detail of a discard record."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What an outbox holds: the records by key, the values kept, and the newest key that was ever given."""

    records: dict[tuple[int, int], str]
    kept: dict[str, bytes]
    newest: tuple[int, int] = (0, 0)

    def holds_the_same(self, other: State) -> bool:
        return (self.records, self.kept) == (other.records, other.kept)


def builder(detail: str) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        at = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
        stamp = Stamp(site="ward", key=key, recorded_at=at, software="1", bundle="b")
        return UpdateRecord(stamp=stamp, state="idle", candidate="c", release=1, detail=detail)

    return build


def outbox_on(disk: MemoryDisk, folder: Path, *, names: Folder | None = None) -> Outbox:
    return Outbox(
        path=folder / NAME, site="ward", station="s1", software="1", vfs=disk.name, folder=names or disk
    )


def held(outbox: Outbox) -> State:
    bodies = [json.loads(each.body) for each in outbox.pending(limit=1000)]
    keys = [(each["stamp"]["key"]["boot"], each["stamp"]["key"]["sequence"]) for each in bodies]
    details = [each.get("detail", GIVEN_UP) for each in bodies]
    return State(records=dict(zip(keys, details, strict=True)), kept=outbox.kept())


def forget(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
