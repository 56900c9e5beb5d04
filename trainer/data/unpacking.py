"""Unpacks archives that came from outside: nothing leaves the folder, nothing fills the disk, all or nothing.

Members are read one by one and written by this module, never by the archive's own word: links and devices are
refused, and bytes are counted as they come, whatever the archive says of itself.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from trainer.data.download import free_bytes
from trainer.errors import FetchError

_CHUNK_BYTES: Final = 1 << 20
_SPARE_BYTES: Final = 64 << 20
_PADDING_BYTES: Final = 1 << 20
_DAMAGED: Final = (
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an archive may hold: so many members, and ``ratio`` times its own size, or ``always_bytes``.

    Pictures that were packed without loss shrink by tens, a bomb by thousands.
    """

    members: int = 500_000
    ratio: float = 100.0
    always_bytes: int = 64 << 20


def is_archive(file: Path) -> bool:
    """Whether it is a zip or a tar, by its bytes."""
    return zipfile.is_zipfile(file) or tarfile.is_tarfile(file)


def unpack(
    archive: Path,
    folder: Path,
    *,
    bounds: Bounds = Bounds(),
    free: Callable[[Path], int] = free_bytes,
) -> int:
    """Unpack a zip or tar into ``folder``, which may exist, and give the number of files.

    Raises FetchError, naming archive and member, when a member would be written outside the folder, is a link
    or a device, is there twice or locked; when there are more members or bytes than ``bounds`` allow or the
    disk holds; and when the archive is damaged. What was written until then stays: unpack into a folder of
    its own.
    """
    most_bytes = max(bounds.always_bytes, round(archive.stat().st_size * bounds.ratio))
    room_bytes = free(archive.parent) - _SPARE_BYTES
    written = files = 0
    try:
        members = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
        with closing(members):
            for member in members:
                files += 1
                if files > bounds.members:
                    raise _refused(archive, f"holds more than {bounds.members:,} files")
                target = folder / _inside(archive, member.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as stream:
                    while chunk := member.stream.read(_CHUNK_BYTES):
                        written += len(chunk)
                        if written > most_bytes:
                            raise _refused(
                                archive,
                                f"unpacks to more than {most_bytes / 1e6:,.0f} MB: it looks like a bomb",
                            )
                        if written > room_bytes:
                            raise FetchError(
                                f"{folder} has no room for all that is in {archive.name}.",
                                remedy="Make room, or give another folder with --to.",
                            )
                        stream.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(archive, f"holds {Path(str(error.filename)).name} twice") from error
    except _DAMAGED as error:
        raise FetchError(
            f"{archive} is damaged: {error}.", remedy="Remove it and fetch the collection again."
        ) from error
    return files


def lift_single_folder(folder: Path) -> None:
    """Where everything lies in one folder within ``folder``, bring its content up in its place."""
    inner = list(folder.iterdir())
    if len(inner) == 1 and inner[0].is_dir():
        aside = inner[0].rename(folder.with_name(f"{folder.name}.lifted"))
        folder.rmdir()
        aside.rename(folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Member:
    name: str
    stream: IO[bytes]


def _zip_members(archive: Path) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.is_dir():
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                raise _refused(archive, f"holds a link, {info.filename!r}")
            if info.flag_bits & 1:
                raise FetchError(
                    f"{archive.name} is locked with a password.",
                    remedy="Unpack it by hand with the password that its owners gave you.",
                )
            with opened.open(info) as stream:
                yield _Member(name=info.filename, stream=stream)


def _tar_members(archive: Path) -> Generator[_Member, None, None]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir():
                continue
            stream = opened.extractfile(info) if info.isreg() else None
            if stream is None:
                raise _refused(archive, f"holds a link or a device, {info.name!r}")
            with stream:
                yield _Member(name=info.name, stream=stream)
        # A compressed stream's checksum stands behind the last member: nobody looks at it without reading on.
        if opened.fileobj is not None and len(opened.fileobj.read(_PADDING_BYTES)) == _PADDING_BYTES:
            raise _refused(archive, "goes on behind its end")


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The member's path below the folder, as harmless on any system."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name or not path.parts:
        raise _refused(archive, f"would write outside its folder, to {name!r}")
    return path


def _refused(archive: Path, what: str) -> FetchError:
    return FetchError(
        f"{archive.name} {what}; nothing of it was kept.",
        remedy="Do not unpack it by hand either before you know where it comes from.",
    )
