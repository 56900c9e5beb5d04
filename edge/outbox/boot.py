"""The boot counter's own file, so that a damaged outbox does not begin to count again.

Were a boot number used twice, two records would have the same key.
"""

from __future__ import annotations

import os
from pathlib import Path


def read_boot(path: Path) -> int:
    """The last boot that was written; 0 where the file is missing or unreadable as a number."""
    try:
        return max(0, int(path.read_text(encoding="ascii")))
    except (FileNotFoundError, ValueError):
        return 0


def write_boot(path: Path, boot: int) -> None:
    """Write durably: after a power cut the file holds either the old or the new number. Raises OSError."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(f"{boot}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
