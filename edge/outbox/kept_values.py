"""Small named values beside the records, for whoever must go on where it stood when the power went.

No lock and no transaction of its own: a value is as durable as the transaction it is written in, so that one
written with a record is there exactly when the record is, or was until the far end took it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import apsw

from edge.errors import StorageError

MAX_VALUE_BYTES: Final = 1_000_000
MAX_NAME_CHARACTERS: Final = 200
KEPT_SCHEMA: Final = (
    "CREATE TABLE kept_values (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc32 INTEGER NOT NULL);"
)
_BY_PREFIX: Final = """
SELECT name, value, crc32 FROM kept_values WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1
"""


class KeptValues:
    """The table of them in an open outbox file."""

    def __init__(self, *, connection: apsw.Connection) -> None:
        self._connection = connection

    def read(self, prefix: str = "") -> dict[str, bytes]:
        """Those whose name begins so; one that is not bit for bit what was written counts as lost."""
        rows = self._connection.execute(_BY_PREFIX, (prefix,))
        return {name: value for name, value, crc32 in rows if zlib.crc32(value) == crc32}

    def get(self, name: str) -> bytes | None:
        """One of them, None where there is none of that name."""
        return self.read(name).get(name)

    def write(self, values: Mapping[str, bytes | None]) -> None:
        """Keep them, each in the place of an earlier one of its name; None removes that."""
        for name, value in values.items():
            if value is None:
                self._connection.execute("DELETE FROM kept_values WHERE name = ?", (name,))
            else:
                row = (name, value, zlib.crc32(value))
                self._connection.execute("INSERT OR REPLACE INTO kept_values VALUES (?, ?, ?)", row)

    def clear(self) -> None:
        """Remove all of them."""
        self._connection.execute("DELETE FROM kept_values")


def check_values(values: Mapping[str, bytes | None]) -> None:
    """Raises StorageError for a name or a value that is too long to be kept beside every record."""
    for name, value in values.items():
        if len(name) > MAX_NAME_CHARACTERS:
            raise StorageError(f"The name of a kept value has {len(name)} characters: {name[:40]}...")
        if value is not None and len(value) > MAX_VALUE_BYTES:
            raise StorageError(
                f"The kept value {name} has {len(value)} bytes; {MAX_VALUE_BYTES} are the most.",
                remedy="Part it into several, so that each record writes little anew.",
            )
