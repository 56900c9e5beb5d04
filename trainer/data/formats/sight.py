"""A folder at a glance: the names below it, read once, for all who must tell its layout."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from trainer.data.formats.picture_file import is_picture, natural_key
from trainer.errors import DataError

_SHOWN: Final = 6


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The files below ``folder``, hidden ones left out, in natural order."""

    folder: Path
    files: tuple[Path, ...]

    @cached_property
    def pictures(self) -> tuple[Path, ...]:
        """The files that are pictures by their names."""
        return tuple(each for each in self.files if is_picture(each))

    def ending(self, *suffixes: str) -> tuple[Path, ...]:
        """The files whose names end so, in lower case with the dot."""
        return tuple(each for each in self.files if each.suffix.lower() in suffixes)

    def subfolders(self) -> tuple[Sight, ...]:
        """Each folder right below this one that holds files, as a sight of its own."""
        below: dict[str, list[Path]] = {}
        for each in self.files:
            if each.parent != self.folder:
                below.setdefault(each.relative_to(self.folder).parts[0], []).append(each)
        return tuple(Sight(folder=self.folder / name, files=tuple(files)) for name, files in below.items())

    def in_words(self) -> str:
        """What stands there: files by suffix, and the first few subfolders."""
        suffixes = Counter(each.suffix.lower() or "(no suffix)" for each in self.files)
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)) or "no file"
        folders = [each.folder.name for each in self.subfolders()]
        shown = ", ".join(f"{each}/" for each in folders[:_SHOWN]) + (
            ", ..." if len(folders) > _SHOWN else ""
        )
        return f"{kinds}; folders: {shown}" if folders else kinds


def look(folder: Path) -> Sight:
    """List everything below a folder. Raises DataError where there is no such folder."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", remedy="Name the folder that holds the collection.")
    files = []
    walked: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in walked:  # a link may lead back up
            folders.clear()
            continue
        walked.add(real)
        folders[:] = [each for each in folders if not each.startswith((".", "__MACOSX"))]
        files += [Path(place) / each for each in names if not each.startswith(".")]
    return Sight(folder=folder, files=tuple(sorted(files, key=natural_key)))


def mostly(pictures: tuple[Path, ...], fitting: int) -> bool:
    """Whether more than half of the pictures fit: the rest is then named as wrong, not taken for a layout."""
    return fitting * 2 > len(pictures)
