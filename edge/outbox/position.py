"""A record's place in its station's own order."""

from __future__ import annotations

from typing import NamedTuple


class Position(NamedTuple):
    """Boots first, then sequences; together with the station's name it is the record's key."""

    boot: int
    sequence: int
