"""The record that stands where another had to go, so that the sequence has no gap. Pure."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Literal

from edge.contract.message import Key, Stamp
from edge.contract.records import DiscardRecord
from edge.outbox.position import Position


@dataclass(frozen=True, kw_only=True)
class Row:
    """One stored record; ``appended_s`` is UTC since the epoch, for the age limit alone."""

    position: Position
    schema: str
    appended_s: float
    body: bytes
    crc32: int
    discarded: bool = False

    @property
    def intact(self) -> bool:
        """Whether the body is, bit for bit, what was written."""
        return zlib.crc32(self.body) == self.crc32


def discarded_row(row: Row, *, reason: Literal["outbox_bytes", "outbox_age"], stamp_of_lost: Stamp) -> Row:
    """The row that takes ``row``'s place; it keeps the stamp, so it still tells when there was a result."""
    if not row.intact:
        return unreadable_row(row.position, stamp=stamp_of_lost, appended_s=row.appended_s, schema=row.schema)
    stamp = Stamp.model_validate(json.loads(row.body)["stamp"])
    record = DiscardRecord(stamp=stamp, discarded_schema=row.schema, reason=reason)
    return _row(record, row.position, appended_s=row.appended_s)


def unreadable_row(position: Position, *, stamp: Stamp, appended_s: float, schema: str = "unknown") -> Row:
    """The row that stands where nothing can be read any more; ``stamp`` serves, under the lost key."""
    key = Key(station=stamp.key.station, boot=position.boot, sequence=position.sequence)
    stamp = stamp.model_copy(update={"key": key})
    record = DiscardRecord(stamp=stamp, discarded_schema=schema, reason="unreadable")
    return _row(record, position, appended_s=appended_s)


def _row(record: DiscardRecord, position: Position, *, appended_s: float) -> Row:
    body = record.model_dump_json(by_alias=True).encode()
    return Row(
        position=position,
        schema=record.schema_id,
        appended_s=appended_s,
        body=body,
        crc32=zlib.crc32(body),
        discarded=True,
    )
