"""The licence that a collection brings along as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_NAMES: Final = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING")
_LONGEST: Final = 100


def licence_beside(folder: Path) -> str | None:
    """The first line that says something of the licence file in ``folder``; None where there is none."""
    for name in _NAMES:
        file = folder / name
        if file.is_file():
            lines = file.read_text("utf-8", errors="replace").splitlines()
            return next((each.strip(" #*")[:_LONGEST] for each in lines if each.strip(" #*")), None)
    return None
