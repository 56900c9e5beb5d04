"""Gives a name to every step of record, publish, acknowledge and delete, at which a process may end.

The disk's steps are those of SQLite's file layer: each write, sync and cut of the database and its log.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import apsw

from edge.outbox.link import Link, Publication
from edge.outbox.store import Outbox

When = Literal["before", "after"]
Watcher = Callable[[str, int, When], None]
"""Told of a step's name, in the how-manieth such operation of this process it is, and whether it was done."""


class Steps:
    """Names steps by the operation that the thread is at: ``delete: sync wal #1``."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._here = threading.local()
        self._times: Counter[str] = Counter()

    @contextmanager
    def during(self, operation: str) -> Iterator[None]:
        """What this thread does within the block belongs to one ``operation``."""
        self._times[operation] += 1
        self._here.operation, self._here.seen = operation, Counter()
        try:
            yield
        finally:
            self._here.operation = None

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """A step that is done within the block."""
        operation = getattr(self._here, "operation", None)
        if operation is None:
            yield
            return
        self._here.seen[what] += 1
        name = f"{operation}: {what} #{self._here.seen[what]}"
        self._watcher(name, self._times[operation], "before")
        yield
        self._watcher(name, self._times[operation], "after")


class SteppedDisk(apsw.VFS):
    """The system's own disk; what changes it is a step."""

    def __init__(self, *, name: str, steps: Steps) -> None:
        self.name = name
        self._steps = steps
        super().__init__(name=name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return SteppedFile(self._steps, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        with self._steps.step(f"remove {_kind(filename)}"):
            super().xDelete(filename, syncdir)


class SteppedFile(apsw.VFSFile):
    """A file of it."""

    def __init__(self, steps: Steps, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._kind = _kind(path or "")
        self._steps = steps
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        with self._steps.step(f"write {self._kind}"):
            super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        with self._steps.step(f"cut {self._kind}"):
            super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        with self._steps.step(f"sync {self._kind}"):
            super().xSync(flags)


def _kind(path: str) -> str:
    """``wal`` or ``journal`` of the database, or itself."""
    _, dash, kind = Path(path).name.rpartition("-")
    return kind if dash else "database"


class SteppedOutbox:
    """An outbox as its publisher sees it."""

    def __init__(self, *, outbox: Outbox, steps: Steps) -> None:
        self._outbox = outbox
        self._steps = steps

    def __getattr__(self, name: str) -> object:
        return getattr(self._outbox, name)

    def acknowledge(self, *, boot: int, sequence: int) -> int:
        with self._steps.during("acknowledge"), self._steps.step("hear"):
            pass
        with self._steps.during("delete"), self._steps.step("delete"):
            return self._outbox.acknowledge(boot=boot, sequence=sequence)


def stepped_link(steps: Steps) -> type[Link]:
    """A connection to the broker on which each publication is a step."""

    class SteppedLink(Link):
        def publish(self, publication: Publication) -> int:
            leaf = publication.topic.rpartition("/")[2]
            with steps.during("publish"), steps.step(f"publish {leaf}"):
                return super().publish(publication)

    return SteppedLink
