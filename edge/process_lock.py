"""One process at a time: a lock that the system frees even when its holder is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class HeldElsewhereError(Exception):
    """Another process has the lock; ``holder`` is its number, as far as it could be read."""

    def __init__(self, path: Path, *, holder: str) -> None:
        super().__init__(f"{path} is held by process {holder}")
        self.holder = holder


def take_lock(path: Path) -> int:
    """Take the lock at ``path`` and write down who has it; the open file, which to close is to give it back.

    Raises HeldElsewhereError at once where another process has it, OSError as the system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise HeldElsewhereError(path, holder=holder) from error
        # Whose it is helps a person; a full disk takes no number, and holds nobody up.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def held(descriptor: int) -> Iterator[None]:
    """Keep a lock that was taken until the end of the block."""
    try:
        yield
    finally:
        os.close(descriptor)
