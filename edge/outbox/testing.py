"""A disk that forgets what was not synced when the power goes, as a SQLite file layer for an ``Outbox``.

It knows nothing of shared memory, which the outbox does without. It is one folder: of a path, the name
counts.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final

import apsw
from typing_extensions import Self

SECTOR_BYTES: Final = (512, 4096)
"""What a disk writes in one piece: either the old or the new is there, unless the power goes in between."""

Image = dict[str, bytes]
"""What lies on a disk: file names and their contents."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """Bytes went to a place in a file."""

    file: str
    offset_bytes: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Truncate:
    """A file was cut, or filled with zeros, to a length."""

    file: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Sync:
    """What was written to a file, and that there is such a file, is on the disk from here on.

    With ``directory``, so is that others were removed or renamed. SQLite syncs the directory with the first
    sync of a log or journal that it made.
    """

    file: str
    directory: bool


@dataclass(frozen=True, kw_only=True)
class Delete:
    """A file was removed; ``durable`` where its directory was synced after that."""

    file: str
    durable: bool


@dataclass(frozen=True, kw_only=True)
class Rename:
    """A file was given another name, which a file that was replaced may have had."""

    file: str
    to: str


@dataclass(frozen=True, kw_only=True)
class SyncNames:
    """What was removed and renamed up to here is so on the disk."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """The program that wrote all this told somebody that it is done with step ``number``."""

    number: int


Change = Write | Truncate | Delete | Rename
Event = Change | Sync | SyncNames | Promise


class MemoryDisk(apsw.VFS):
    """Files in memory, and a log of everything that was done to them, for the power to be cut anywhere in it.

    ``log`` grows until it is looked at; ``image`` is what lay there before.
    """

    def __init__(self, *, name: str, image: Image | None = None) -> None:
        self.name = name
        self.log: list[Event] = []
        self._contents = {file: bytearray(content) for file, content in (image or {}).items()}
        super().__init__(name=name, base="", maxpathname=1024)

    def __enter__(self) -> Self:
        """Ready for connections from its making on."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget it; its connections are closed."""
        self.unregister()

    def promise(self, number: int) -> None:
        """Note in the log that somebody was told."""
        self.log.append(Promise(number=number))

    def content(self, file: str) -> bytearray:
        """A file's bytes, as a running program sees them."""
        return self._contents.setdefault(file, bytearray())

    # What else an outbox does there, as :class:`~edge.outbox.folder.Folder` has it.

    def names(self) -> Collection[str]:
        """What lies there now."""
        return set(self._contents)

    def rename(self, name: str, to: str) -> None:
        """Give a file another name. Raises FileNotFoundError."""
        if name not in self._contents:
            raise FileNotFoundError(name)
        self._contents[to] = self._contents.pop(name)
        self.log.append(Rename(file=name, to=to))

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        self.xDelete(name, False)

    def sync(self) -> None:
        """Have the names on the disk."""
        self.log.append(SyncNames())

    # SQLite calls these.

    # Any object with a file's methods will do; apsw's own types know its class alone.
    def xOpen(  # type: ignore[override]  # noqa: N802
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> _MemoryFile:
        """Open or make a file."""
        if name is None:
            return _MemoryFile(disk=self, file="a temporary one", syncs_directory=False)
        path = name if isinstance(name, str) else name.filename()
        file = Path(path).name
        is_new = file not in self._contents
        is_log = bool(flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL))
        flags[1] = flags[0]
        return _MemoryFile(disk=self, file=file, syncs_directory=is_new and is_log)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Remove a file."""
        file = Path(filename).name
        if self._contents.pop(file, None) is not None:
            self.log.append(Delete(file=file, durable=syncdir))

    def xAccess(self, pathname: str, _flags: int) -> bool:  # noqa: N802
        """Whether there is such a file."""
        return Path(pathname).name in self._contents


class _MemoryFile:
    def __init__(self, *, disk: MemoryDisk, file: str, syncs_directory: bool) -> None:
        self._disk = disk
        self._file = file
        self._syncs_directory = syncs_directory
        disk.content(file)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self._disk.content(self._file)[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        event = Write(file=self._file, offset_bytes=offset, data=bytes(data))
        apply(event, self._disk.content(self._file))
        self._disk.log.append(event)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        event = Truncate(file=self._file, size_bytes=newsize)
        apply(event, self._disk.content(self._file))
        self._disk.log.append(event)

    def xSync(self, _flags: int) -> None:  # noqa: N802
        self._disk.log.append(Sync(file=self._file, directory=self._syncs_directory))
        self._syncs_directory = False

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._disk.content(self._file))

    def xLock(self, _level: int) -> None:  # noqa: N802
        """One process is here alone."""

    def xUnlock(self, _level: int) -> None:  # noqa: N802
        """As ``xLock``."""

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, _operation: int, _pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        # As SQLite takes the system's own disks: a write does not touch the bytes beside it.
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xClose(self) -> None:  # noqa: N802
        """What was written stays."""


def apply(event: Write | Truncate, content: bytearray) -> None:
    """Do to ``content`` what was done."""
    match event:
        case Write(offset_bytes=offset, data=data):
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            content[offset : offset + len(data)] = data
        case Truncate(size_bytes=size):
            content.extend(bytes(max(0, size - len(content))))
            del content[size:]


@dataclass(kw_only=True)
class PowerCut:
    """What a disk may hold when the power goes at one place in its log.

    ``synced`` is there in any case; of ``unsynced``, in the order in which it was done, the disk may have
    written all, nothing, or any part. ``promised`` is the last step that somebody was told of.
    """

    synced: dict[str, bytearray] = field(default_factory=dict)
    unsynced: list[Change] = field(default_factory=list)
    promised: int = 0

    def advance(self, event: Event) -> None:
        """Let one more thing happen before the power goes."""
        match event:
            case Promise(number=number):
                self.promised = number
            case SyncNames():
                self._sync_names()
            case Sync(file=file, directory=directory):
                # That there is such a file is on the disk with it, and then what was done to names before.
                if directory or any(isinstance(each, Rename) and each.to == file for each in self.unsynced):
                    self._sync_names()
                done = [each for each in self.unsynced if each.file == file]
                self.unsynced = [each for each in self.unsynced if each.file != file]
                self.synced.setdefault(file, bytearray())
                _apply_all(done, self.synced)
            case Delete(file=file, durable=True):
                self.unsynced.append(Delete(file=file, durable=False))
                self._sync_names()
            case _:
                self.unsynced.append(event)

    def _sync_names(self) -> None:
        """What was removed and renamed is so for good."""
        while places := [
            place for place, each in enumerate(self.unsynced) if isinstance(each, (Delete, Rename))
        ]:
            self._settle(places[0])

    def _settle(self, place: int) -> None:
        """A removal or renaming is for good; what was done to the file before it is gone, or goes with it."""
        change = self.unsynced[place]
        before, after = self.unsynced[:place], self.unsynced[place + 1 :]
        match change:
            case Delete(file=file):
                self.synced.pop(file, None)
                before = [each for each in before if each.file != file]
            case Rename(file=file, to=to):
                if file in self.synced:
                    self.synced[to] = self.synced.pop(file)
                before = [each for each in before if each.file != to]
                before = [replace(each, file=to) if each.file == file else each for each in before]
        self.unsynced = [*before, *after]

    def images(self, *, subsets: int, chance: random.Random) -> Iterator[tuple[str, Image]]:
        """The disks that may be found, each with a word on what became of the unsynced."""
        yield "nothing unsynced", self._image([])
        if not self.unsynced:
            return
        yield "all unsynced", self._image(self.unsynced)
        for sector_bytes in SECTOR_BYTES:
            torn = _tear(self.unsynced[-1], sector_bytes=sector_bytes, chance=chance)
            yield f"the last torn at {sector_bytes}", self._image([*self.unsynced[:-1], *torn])
        for number in range(subsets):
            some = [each for each in self.unsynced if chance.random() < chance.choice((0.2, 0.5, 0.9))]
            if some:
                some[-1:] = _tear(some[-1], sector_bytes=chance.choice(SECTOR_BYTES), chance=chance)
            yield f"subset {number} of the unsynced", self._image(some)

    def _image(self, also: Sequence[Change]) -> Image:
        contents = {file: bytearray(content) for file, content in self.synced.items()}
        _apply_all(also, contents)
        return {file: bytes(content) for file, content in contents.items()}


def _apply_all(events: Sequence[Change], contents: dict[str, bytearray]) -> None:
    for event in events:
        match event:
            case Delete(file=file):
                contents.pop(file, None)
            case Rename(file=file, to=to):
                if file in contents:
                    contents[to] = contents.pop(file)
            case Write() | Truncate():
                apply(event, contents.setdefault(event.file, bytearray()))


def _tear(event: Change, *, sector_bytes: int, chance: random.Random) -> list[Change]:
    """Some of the sectors that a write lies on; nothing of it, where it lies within one."""
    if not isinstance(event, Write):
        return [event]
    end = event.offset_bytes + len(event.data)
    edges = range(event.offset_bytes - event.offset_bytes % sector_bytes, end, sector_bytes)
    written: list[Change] = []
    for edge in chance.sample(edges, len(edges) // 2):
        start = max(edge, event.offset_bytes)
        data = event.data[start - event.offset_bytes : edge + sector_bytes - event.offset_bytes]
        written.append(Write(file=event.file, offset_bytes=start, data=data))
    return written
