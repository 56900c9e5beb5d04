"""Which of a slide's cells count as blasts now, so that they can be pointed out on the map."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice

from edge.slide_map.sketch import MOST_POINTED_OUT


class BlastCells:
    """The numbers of the cells whose group is one of ``blasts``; what changes costs what changes.

    ``cells`` are the groups that an earlier process left off with, by the session's names for the cells.
    """

    def __init__(self, *, blasts: Collection[str], cells: Mapping[str, str]) -> None:
        self._blasts = frozenset(blasts)
        self._numbers: dict[int, None] = {}
        self.newest: tuple[int, ...] = ()
        """The newest of them, as many as are pointed out, the newest last."""
        self.take(dict(sorted(cells.items(), key=lambda cell: (len(cell[0]), cell[0]))))

    def take(self, changes: Mapping[str, str | None]) -> None:
        """Cells that were named, named otherwise, or withdrawn (None). One without a number is on no map."""
        changed = False
        for name, group in changes.items():
            if not name.isdecimal():
                continue
            number, was = int(name), int(name) in self._numbers
            if (group in self._blasts) == was:
                continue
            changed = True
            if was:
                del self._numbers[number]
            else:
                self._numbers[number] = None
        if changed:
            self.newest = tuple(islice(reversed(self._numbers), MOST_POINTED_OUT))[::-1]
