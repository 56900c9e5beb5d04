"""The few things an update does to a disk, behind a seam, and what must be made of them to be durable.

What is written survives a power cut only once it was synced: a file's content by syncing the file, its name
(made, moved or removed) by syncing the directory that holds the name. Journal and shelf touch the disk
through this seam alone, so that a test can cut the power between any two steps.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from edge.errors import StorageError

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


class Filesystem(Protocol):
    """What changes a disk. Every method raises OSError as the system does."""

    def write(self, path: Path, content: bytes) -> None:
        """Make the file ``path`` anew with ``content``."""
        ...

    def sync(self, path: Path) -> None:
        """Have the file's content, or the directory's names, on the disk when this returns."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Give ``source`` the name ``target``, in one step; a file or link of that name is replaced."""
        ...

    def link(self, path: Path, *, to: str) -> None:
        """Make ``path`` a symbolic link."""
        ...

    def make_directory(self, path: Path) -> None:
        """Make a directory; its parent is there."""
        ...

    def set_mode(self, path: Path, mode: int) -> None:
        """Set the permissions."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file, a link or an empty directory."""
        ...


class Disk:
    """The machine's own file system."""

    def write(self, path: Path, content: bytes) -> None:
        """Write through the page cache; ``sync`` brings it to the disk."""
        path.write_bytes(content)

    def sync(self, path: Path) -> None:
        """fsync, which a directory takes as well as a file."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """By the system's rename."""
        source.replace(target)

    def link(self, path: Path, *, to: str) -> None:
        """By the system's symlink."""
        path.symlink_to(to)

    def make_directory(self, path: Path) -> None:
        """By the system's mkdir."""
        path.mkdir()

    def set_mode(self, path: Path, mode: int) -> None:
        """By the system's chmod."""
        path.chmod(mode)

    def remove(self, path: Path) -> None:
        """By the system's unlink or rmdir."""
        if is_directory(path):
            path.rmdir()
        else:
            path.unlink()


def is_directory(path: Path) -> bool:
    """Whether ``path`` is a directory itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def is_full_disk(error: OSError) -> bool:
    """Whether the disk, or this user's share of it, is full."""
    return error.errno in _FULL


@contextmanager
def disk_faults(
    place: Path,
    *,
    kept: str = "updates",
    meanwhile: str = "the station goes on with the bundle it has",
) -> Iterator[None]:
    """Turn the system's errors at ``place`` into StorageError with a remedy.

    ``kept`` is what is kept there, and ``meanwhile`` what follows from its not being kept.
    """
    try:
        yield
    except OSError as error:
        remedy = (
            f"Free space on its disk; {meanwhile}."
            if is_full_disk(error)
            else f"Check the disk and who may write there; {meanwhile}."
        )
        fault = f"The {kept} in {place} cannot be kept: {error.strerror or error}."
        raise StorageError(fault, remedy=remedy) from error


def replace_file(filesystem: Filesystem, path: Path, content: bytes) -> None:
    """Write ``path`` durably: after a power cut it holds either the old content or the new."""
    fresh = path.with_name(path.name + ".new")
    filesystem.write(fresh, content)
    filesystem.sync(fresh)
    filesystem.rename(fresh, path)
    filesystem.sync(path.parent)


def replace_link(filesystem: Filesystem, path: Path, *, to: str) -> None:
    """Point the link ``path`` elsewhere, in one durable step."""
    fresh = path.with_name(path.name + ".new")
    if fresh.is_symlink() or fresh.exists():
        filesystem.remove(fresh)
    filesystem.link(fresh, to=to)
    filesystem.rename(fresh, path)
    filesystem.sync(path.parent)


def make_directories(filesystem: Filesystem, path: Path) -> None:
    """Make ``path`` and what is missing above it, durably."""
    if is_directory(path):
        return
    make_directories(filesystem, path.parent)
    filesystem.make_directory(path)
    filesystem.sync(path.parent)


def tree(directory: Path) -> Iterator[Path]:
    """Everything in ``directory`` and at last itself: what lies deeper comes first."""
    for entry in sorted(directory.iterdir()):
        if is_directory(entry):
            yield from tree(entry)
        else:
            yield entry
    yield directory


def sync_tree(filesystem: Filesystem, directory: Path) -> None:
    """Have every file and every name in ``directory`` on the disk."""
    for path in tree(directory):
        filesystem.sync(path)


def remove_tree(filesystem: Filesystem, directory: Path) -> None:
    """Remove a directory with all that is in it, write-protected or not. Not in one step."""
    unprotect(filesystem, directory)
    for path in list(tree(directory)):
        filesystem.remove(path)


def unprotect(filesystem: Filesystem, directory: Path) -> None:
    """Let names be made and removed in a directory and in those below it."""
    if not directory.stat().st_mode & stat.S_IWUSR:
        filesystem.set_mode(directory, 0o755)
    for entry in directory.iterdir():
        if is_directory(entry):
            unprotect(filesystem, entry)
