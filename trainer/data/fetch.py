"""Fetches a public collection into a folder, and remembers what was fetched.

Beside the folder NAME stands ``NAME.lock.json``: address, length and SHA-256 of every file. Where nobody
published a checksum, the first download is trusted, its checksum recorded there, and the next one held to it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.data.download import Downloader, Expected, Progress, free_bytes, sha256_of
from trainer.data.public import PublicSource, RemoteFile
from trainer.data.unpacking import is_archive, lift_single_folder, unpack
from trainer.errors import FetchError

_TIMEOUT: Final = httpx.Timeout(60.0, connect=20.0)
_AGENT: Final = "leukoscope-trainer"


class LockedFile(BaseModel):
    """A file as it was fetched. ``published`` tells whether its checksum was known beforehand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    size_bytes: int
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    published: bool
    fetched_at: str


class Lock(BaseModel):
    """What was fetched of one collection, by file name; ``unpacked`` once its folder is complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    files: dict[str, LockedFile] = Field(default_factory=dict)
    unpacked: bool = False


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A collection's folder.

    ``trusted`` names the files whose checksum was recorded now, for the first time; ``already`` says that
    nothing had to be done.
    """

    folder: Path
    trusted: tuple[str, ...] = ()
    already: bool = False


def fetch(
    source: PublicSource,
    to: Path,
    *,
    base_url: str | None = None,
    keep_archives: bool = False,
    client: httpx.Client | None = None,
    progress: Callable[[RemoteFile], Progress] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    free: Callable[[Path], int] = free_bytes,
) -> Fetched:
    """Fetch ``source`` into the folder ``to``/NAME, which appears there complete or not at all.

    ``base_url`` is a mirror's folder, with the files under their own names; checksums hold for it too. What
    is downloaded waits in ``to``/NAME.archives, where the next call takes up one that was interrupted, and
    stays there with ``keep_archives``. Raises FetchError where a person must fetch the collection (with the
    steps), where something other than its earlier download lies in the folder, and for all that may happen
    on the way.
    """
    if not source.files:
        steps = " ".join(f"({number}) {step}" for number, step in enumerate(source.steps, start=1))
        raise FetchError(f"{source.title} is not given to programs; its home is {source.home}.", remedy=steps)
    folder, lock_file = to / source.name, to / f"{source.name}.lock.json"
    lock = _read_lock(lock_file, source)
    if folder.exists():
        if lock.unpacked:
            return Fetched(folder=folder, already=True)
        raise FetchError(
            f"{folder} is there already, and was not put there by an earlier fetch.",
            remedy="Move it away, or give another folder with --to.",
        )
    archives = to / f"{source.name}.archives"
    archives.mkdir(parents=True, exist_ok=True)
    trusted: list[str] = []
    with client or httpx.Client(
        timeout=_TIMEOUT, follow_redirects=True, headers={"User-Agent": _AGENT}
    ) as opened:
        for each in source.files:
            url = each.url if base_url is None else f"{base_url.rstrip('/')}/{each.name}"
            known = lock.files.get(each.name)
            archive = archives / each.name
            if not (known and archive.exists() and sha256_of(archive) == known.sha256):
                downloader = Downloader(
                    client=opened,
                    sleep=sleep,
                    free=free,
                    progress=progress(each) if progress else lambda _have, _whole: None,
                )
                found = downloader.download(url, archive, expected=_expected(each, known, lock_file))
                if each.sha256 is None and known is None:
                    trusted.append(each.name)
                lock = _recorded(lock, each, url, archive, found)
                _write_lock(lock_file, lock)
    _unpack_all(source, archives, folder, free=free)
    _write_lock(lock_file, lock.model_copy(update={"unpacked": True}))
    if not keep_archives:
        shutil.rmtree(archives)
    return Fetched(folder=folder, trusted=tuple(trusted))


def _expected(file: RemoteFile, known: LockedFile | None, lock_file: Path) -> Expected:
    if file.sha256 is not None or known is None:
        return Expected(size_bytes=file.size_bytes, sha256=file.sha256)
    return Expected(
        size_bytes=known.size_bytes,
        sha256=known.sha256,
        whence=f"{lock_file.name} recorded on {known.fetched_at[:10]}",
    )


def _recorded(lock: Lock, file: RemoteFile, url: str, archive: Path, sha256: str) -> Lock:
    entry = LockedFile(
        url=url,
        size_bytes=archive.stat().st_size,
        sha256=sha256,
        published=file.sha256 is not None,
        fetched_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    return lock.model_copy(update={"files": {**lock.files, file.name: entry}})


def _unpack_all(source: PublicSource, archives: Path, folder: Path, *, free: Callable[[Path], int]) -> None:
    """Unpack into a folder aside, which becomes the collection's own by its last step, a rename."""
    staging = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        for each in source.files:
            archive = archives / each.name
            if is_archive(archive):
                unpack(archive, staging, free=free)
            else:
                shutil.copyfile(archive, staging / each.name)
        lift_single_folder(staging)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _read_lock(file: Path, source: PublicSource) -> Lock:
    try:
        return Lock.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Lock(source=source.name)
    except (OSError, ValidationError) as error:
        raise FetchError(
            f"{file} cannot be read as the record of an earlier fetch: {error}.",
            remedy="Move it away; the next download is then trusted anew.",
        ) from error


def _write_lock(file: Path, lock: Lock) -> None:
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(lock.model_dump_json(indent=2) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
