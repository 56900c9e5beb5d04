"""The kinds of records: on which topic each travels, and which are worth more than others. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from edge.outbox.discard import Row
from edge.outbox.position import Position

LEAVES: Final = ("crop", "field", "update", "review", "slide")
"""The last levels of the records' topics. Where there is no room, what stands first here goes first: a
picture can be taken again and a field is in its slide's sums, while a person's review and a slide's result
are the work itself."""
_LEAF_OF_UNKNOWN: Final = "field"


@dataclass(frozen=True, kw_only=True)
class StoredRecord:
    """A record waiting to leave. ``leaf`` is the last level of its MQTT topic."""

    position: Position
    leaf: str
    body: bytes


def stored(row: Row) -> StoredRecord:
    """What is sent of a row."""
    return StoredRecord(position=row.position, leaf=leaf_of(row), body=row.body)


def leaf_of(row: Row) -> str:
    """Where a record travels; a discard record where the one that it stands for would have."""
    schema = str(json.loads(row.body)["discarded_schema"]) if row.discarded else row.schema
    return _leaf(schema)


def worth(schema: str) -> int:
    """What is worth less is given up first."""
    return LEAVES.index(_leaf(schema))


def _leaf(schema: str) -> str:
    """``field`` of ``leukoscope/field/1``."""
    _, _, rest = schema.partition("/")
    leaf, _, _ = rest.partition("/")
    return leaf if leaf in LEAVES else _LEAF_OF_UNKNOWN
