"""The boot counter's own file, so that a damaged outbox does not begin to count again.

Were a boot number used twice, two records would have the same key.
"""

from __future__ import annotations

from pathlib import Path

from edge.filesystem import Disk, replace_file


def read_boot(path: Path) -> int:
    """The last boot that was written; 0 where the file is missing or unreadable as a number."""
    try:
        return max(0, int(path.read_text(encoding="ascii")))
    except (FileNotFoundError, ValueError):
        return 0


def write_boot(path: Path, boot: int) -> None:
    """Write durably: after a power cut the file holds either the old or the new number. Raises OSError."""
    replace_file(Disk(), path, f"{boot}\n".encode("ascii"))
