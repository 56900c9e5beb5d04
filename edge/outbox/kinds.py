"""The kinds of records: on which topic each travels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from edge.outbox.discard import Row
from edge.outbox.position import Position

_LEAVES: Final = {f"leukoscope/{leaf}/1": leaf for leaf in ("field", "slide", "review", "update")}
_LEAF_OF_UNKNOWN: Final = "field"


@dataclass(frozen=True, kw_only=True)
class StoredRecord:
    """A record waiting to leave. ``leaf`` is the last level of its MQTT topic."""

    position: Position
    leaf: str
    body: bytes


def stored(row: Row) -> StoredRecord:
    """Discard records travel where the record that they stand for would have."""
    schema = row.schema
    if row.discarded:
        schema = str(json.loads(row.body)["discarded_schema"])
    return StoredRecord(position=row.position, leaf=_LEAVES.get(schema, _LEAF_OF_UNKNOWN), body=row.body)
