"""Finds the line of a key in a TOML file, which the parsers do not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_TABLE: Final = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?")
_KEY: Final = re.compile(r"""^\s*((?:[A-Za-z0-9_\-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_\-]+)*)\s*=""")


class KeyLines:
    """The lines on which a document's tables and keys stand, for messages about them."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if found := _TABLE.match(line):
                table = _parts(found.group(1))
                self._note(table, number)
            elif found := _KEY.match(line):
                self._note((*table, *_parts(found.group(1))), number)

    def line(self, place: Sequence[str | int]) -> int | None:
        """The line of ``place``, or of the nearest table that holds it; None where it is nowhere.

        Parts of ``place`` that no table or key has (a union's tag, an index) are passed over.
        """
        reached: tuple[str, ...] = ()
        for part in place:
            if (*reached, str(part)) in self._lines:
                reached = (*reached, str(part))
        return self._lines.get(reached)

    def _note(self, place: tuple[str, ...], number: int) -> None:
        for depth in range(1, len(place) + 1):
            self._lines.setdefault(place[:depth], number)


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
