"""The names of the files beside an outbox, behind a seam, so that a test can cut the power between two steps.

SQLite sees to the contents of the files; names are made, moved and removed durably only where their folder is
synced too.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from edge.filesystem import Disk


class Folder(Protocol):
    """The files of one folder, by their names. Every method raises OSError as the system does."""

    def names(self) -> Collection[str]:
        """What lies there now."""
        ...

    def rename(self, name: str, to: str) -> None:
        """Give a file another name, in one step; a file of that name is replaced."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def sync(self) -> None:
        """Have the names as they are now on the disk when this returns."""
        ...


class SystemFolder:
    """A folder of the machine's own file system."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._disk = Disk()

    def names(self) -> Collection[str]:
        """By the system's listing; a folder that is not there holds nothing."""
        try:
            return {each.name for each in self._place.iterdir()}
        except FileNotFoundError:
            return set()

    def rename(self, name: str, to: str) -> None:
        """By the system's rename."""
        self._disk.rename(self._place / name, self._place / to)

    def remove(self, name: str) -> None:
        """By the system's unlink."""
        (self._place / name).unlink(missing_ok=True)

    def sync(self) -> None:
        """By fsync of the folder."""
        self._disk.sync(self._place)
