"""Disks that fail: every step has a name at which a test may end the process, and the power can be cut."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from pydantic_core import from_json

from edge.filesystem import Disk, Filesystem

_ID: Final = re.compile(r"[0-9a-f]{64}")

When = Literal["before", "after"]
Loss = Literal["forgotten", "names_kept", "last_torn"]
LOSSES: Final[tuple[Loss, ...]] = ("forgotten", "names_kept", "last_torn")
"""What a power cut may leave of what was not synced: nothing of it; the names, with files as they were last
synced or half there; or everything, but the last file that was written is half there."""


class Watcher(Protocol):
    """Told of every step; what it raises, or does to the process, happens there."""

    def __call__(self, point: str, when: When) -> None:
        """The step ``point`` begins, or was done."""
        ...


class NamedSteps:
    """Gives every step of an update a name, the same in each run: ``trial: rename active.new #1``.

    A name is made of the state in the journal, what is done to what, and how often it was so before.
    """

    def __init__(self, *, root: Path, watcher: Watcher) -> None:
        self._journal = root / "journal.json"
        self._root = root
        self._watcher = watcher
        self._seen: Counter[str] = Counter()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A step that is done within the block."""
        name = f"{self._state()}: {what}"
        self._seen[name] += 1
        point = f"{name} #{self._seen[name]}"
        self._watcher(point, "before")
        yield
        self._watcher(point, "after")

    def name(self, path: Path) -> str:
        """A path as it stands in a step's name: from the root, with ``<id>`` for a bundle's id."""
        shown = path.relative_to(self._root) if path.is_relative_to(self._root) else path
        return _ID.sub("<id>", shown.as_posix())

    def _state(self) -> str:
        try:
            attempt = from_json(self._journal.read_bytes()).get("attempt")
        except (FileNotFoundError, ValueError):
            return "no journal"
        return str(attempt["state"]) if attempt else "idle"


class SteppedFilesystem:
    """Another file system, each of whose operations is a named step."""

    def __init__(self, *, steps: NamedSteps, inner: Filesystem) -> None:
        self._steps = steps
        self._inner = inner

    def write(self, path: Path, content: bytes) -> None:
        """A step, as the others are."""
        with self._step("write", path):
            self._inner.write(path, content)

    def sync(self, path: Path) -> None:
        """A step, as the others are."""
        with self._step("sync", path):
            self._inner.sync(path)

    def rename(self, source: Path, target: Path) -> None:
        """A step, as the others are."""
        with self._steps.step(f"rename {self._steps.name(source)} to {self._steps.name(target)}"):
            self._inner.rename(source, target)

    def link(self, path: Path, *, to: str) -> None:
        """A step, as the others are."""
        with self._step("link", path):
            self._inner.link(path, to=to)

    def make_directory(self, path: Path) -> None:
        """A step, as the others are."""
        with self._step("make", path):
            self._inner.make_directory(path)

    def set_mode(self, path: Path, mode: int) -> None:
        """A step, as the others are."""
        with self._step("protect" if mode & 0o222 == 0 else "unprotect", path):
            self._inner.set_mode(path, mode)

    def remove(self, path: Path) -> None:
        """A step, as the others are."""
        with self._step("remove", path):
            self._inner.remove(path)

    @contextmanager
    def _step(self, operation: str, path: Path) -> Iterator[None]:
        with self._steps.step(f"{operation} {self._steps.name(path)}"):
            yield


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A name in a directory: a file or directory by its inode's number, or a link."""

    inode: int
    link: str | None


class ForgetfulDisk(Disk):
    """A real directory that loses, when the power is cut, what was never synced.

    It knows, by inode, what each file held when it was last synced, and what names each directory had; what
    is there at its making is durable. With ``honours_sync`` False it is the disk of a program that never
    syncs: the control that shows what syncing is for.
    """

    def __init__(self, *, root: Path, honours_sync: bool = True) -> None:
        self._root = root
        self._honours_sync = honours_sync
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, Mapping[str, _Entry]] = {}
        self._held: dict[int, int] = {}
        self._unsynced: list[int] = []
        self._remember(root)

    def close(self) -> None:
        """Let go of the inodes: they were held so that no number was used twice."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def write(self, path: Path, content: bytes) -> None:
        """Write to the page cache of a machine that may lose it."""
        super().write(path, content)
        inode = self._hold(path)
        self._unsynced = [*(each for each in self._unsynced if each != inode), inode]

    def sync(self, path: Path) -> None:
        """What is there now survives."""
        if self._honours_sync:
            self._sync(path)

    def lose_power(self, loss: Loss) -> None:
        """Leave under the root what a machine would find there after the power was cut now."""
        after = self._root.with_name(self._root.name + ".after")
        after.mkdir()
        if loss == "forgotten":
            self._write_durable(self._root.stat().st_ino, into=after)
        else:
            self._write_current(self._root, into=after, loss=loss)
        self.close()
        _remove(self._root)
        after.rename(self._root)

    def _remember(self, directory: Path) -> None:
        self._sync(directory)
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                self._remember(path)
            elif not path.is_symlink():
                self._sync(path)

    def _sync(self, path: Path) -> None:
        inode = self._hold(path)
        if path.is_dir():
            self._names[inode] = {each.name: self._entry(each) for each in path.iterdir()}
        else:
            self._contents[inode] = path.read_bytes()
            self._unsynced = [each for each in self._unsynced if each != inode]

    def _entry(self, path: Path) -> _Entry:
        return _Entry(inode=self._hold(path), link=str(path.readlink()) if path.is_symlink() else None)

    def _hold(self, path: Path) -> int:
        inode = path.lstat().st_ino
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        return inode

    def _write_durable(self, inode: int, *, into: Path) -> None:
        for name, entry in self._names.get(inode, {}).items():
            place = into / name
            if entry.link is not None:
                place.symlink_to(entry.link)
            elif Path(f"/proc/self/fd/{self._held[entry.inode]}").is_dir():
                place.mkdir()
                self._write_durable(entry.inode, into=place)
            else:
                place.write_bytes(self._contents.get(entry.inode, b""))

    def _write_current(self, directory: Path, *, into: Path, loss: Loss) -> None:
        for path in directory.iterdir():
            place = into / path.name
            if path.is_symlink():
                place.symlink_to(path.readlink())
            elif path.is_dir():
                place.mkdir()
                self._write_current(path, into=place, loss=loss)
            else:
                place.write_bytes(self._left_of(path, loss))

    def _left_of(self, path: Path, loss: Loss) -> bytes:
        inode, content = path.stat().st_ino, path.read_bytes()
        torn = content[: len(content) // 2]
        if loss == "last_torn":
            return torn if self._unsynced and self._unsynced[-1] == inode else content
        return self._contents.get(inode, torn)


def _remove(directory: Path) -> None:
    for path in [directory, *directory.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(directory)
