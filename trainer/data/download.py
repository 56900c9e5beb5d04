"""One file over HTTP: goes on where it was cut off, and stands under its name only when it is whole.

What has arrived waits in ``.NAME.partial`` beside the target, with the validator (RFC 9110, 8.8) of the copy
that it is part of. It is continued only under that validator: a file that changed on the server in between
is fetched anew, never sewn together of two.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from trainer.errors import FetchError

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes that are there and the bytes that there will be, None where nobody knows."""

_ATTEMPTS: Final = 5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_ADVANCE_BYTES: Final = 1 << 20
"""An attempt that brought so much was no failure: a large file may break off often on its way."""
_CHANGED: Final = "Fetch it again; if it stays so, the file was changed: ask its publisher."
_SPARE_BYTES: Final = 64 << 20
_CONTENT_RANGE: Final = re.compile(r"^bytes (?:(?P<first>\d+)-\d+|\*)/(?P<total>\d+|\*)$")
_TRANSIENT: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_LOCKED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is known of a file beforehand. ``whence`` says in words who told the checksum."""

    size_bytes: int | None = None
    sha256: str | None = None
    whence: str = "published"


def free_bytes(folder: Path) -> int:
    """Space left where ``folder`` lies."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Fetches files with ``client``; ``sleep`` waits between attempts, ``free`` tells the space left."""

    client: httpx.Client
    sleep: Callable[[float], None]
    free: Callable[[Path], int] = free_bytes
    progress: Progress = lambda _have, _whole: None

    def download(self, url: str, file: Path, *, expected: Expected) -> str:
        """Fetch ``url`` to ``file`` and give its SHA-256.

        Interrupted, it keeps what it has, and the next call goes on from there. Faults that may pass are
        tried again, with pauses, five times in a row at most. Raises FetchError for a fault that lasts, a
        full disk, or a file that is not what was expected, which is then removed.
        """
        partial = _Partial(file=file)
        with partial.path.open("ab") as stream:
            _claim(stream, file)
            self._complete(url, partial, stream, expected)
            found = _checked(url, partial, expected)
            os.fsync(stream.fileno())
            partial.path.replace(file)
        partial.validator_path.unlink(missing_ok=True)
        return found

    def _complete(self, url: str, partial: _Partial, stream: BinaryIO, expected: Expected) -> None:
        failures = 0
        while True:
            before = _length(stream)
            try:
                self._attempt(url, partial, stream, expected)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise FetchError(f"{url} leads nowhere: {error}.", remedy="Check --from.") from error
            except (_PassingFaultError, httpx.TransportError) as error:
                failures = 1 if _length(stream) - before >= _ADVANCE_BYTES else failures + 1
                if failures >= _ATTEMPTS:
                    raise FetchError(
                        f"{url} could not be fetched, after {failures} attempts in a row: "
                        f"{error or type(error).__name__}.",
                        remedy="Run the same command later: it goes on where this one stopped.",
                    ) from error
                asked_s = error.wait_s if isinstance(error, _PassingFaultError) else 0.0
                pause_s = _FIRST_PAUSE_S * 2 ** (failures - 1)
                self.sleep(min(max(pause_s, asked_s), _LONGEST_PAUSE_S))
            else:
                return

    def _attempt(self, url: str, partial: _Partial, stream: BinaryIO, expected: Expected) -> None:
        """Bring ``stream`` from whatever it holds to the whole file, or raise."""
        validator = partial.validator(url)
        if validator is None:
            stream.truncate(0)
        have = _length(stream)
        # Compression on the way would make the lengths and ranges those of something else.
        headers = {"Accept-Encoding": "identity"}
        if have and validator is not None:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        with self.client.stream("GET", url, headers=headers) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                if _told_range(response) == (None, have):
                    return
                stream.truncate(0)
                raise _PassingFaultError("the server holds less than was fetched before")
            _refuse_failure(url, response)
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                stream.truncate(0)
                have = 0
                whole = _number(response.headers.get("Content-Length"))
                partial.remember(url, response)
            else:
                first, whole = _told_range(response)
                if first != have:
                    stream.truncate(0)
                    raise _PassingFaultError("the server answered with another part than was asked for")
            if whole is not None:
                _demand_size(url, partial, whole, expected)
            self._demand_space(partial.path, (whole or expected.size_bytes or 0) - have)
            for chunk in response.iter_raw():
                stream.write(chunk)
                have += len(chunk)
                self.progress(have, whole or expected.size_bytes)
            stream.flush()
            if whole is not None and have != whole:
                raise _PassingFaultError(f"{have} of {whole} bytes arrived")

    def _demand_space(self, path: Path, missing_bytes: int) -> None:
        free = self.free(path.parent)
        if missing_bytes + _SPARE_BYTES > free:
            raise FetchError(
                f"{path.parent} has {free / 1e6:,.0f} MB left; {missing_bytes / 1e6:,.0f} MB are to come.",
                remedy="Make room, or give another folder with --to.",
            )


class _PassingFaultError(Exception):
    """A fault that another attempt may not meet; ``wait_s`` is what the server asked for."""

    def __init__(self, what: str, *, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class _Partial:
    """What has arrived of a file, and of which copy of it."""

    file: Path

    @property
    def path(self) -> Path:
        return self.file.with_name(f".{self.file.name}.partial")

    @property
    def validator_path(self) -> Path:
        return self.file.with_name(f".{self.file.name}.partial.json")

    def validator(self, url: str) -> str | None:
        """The validator of the copy that was begun from ``url``; None where it cannot be continued."""
        try:
            kept = json.loads(self.validator_path.read_text("utf-8"))
            return str(kept["validator"]) if kept["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember(self, url: str, response: httpx.Response) -> None:
        """Keep the validator of the copy that ``response`` begins. A weak one does not vouch for bytes."""
        tag = response.headers.get("ETag", "")
        validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        if validator is None:
            self.validator_path.unlink(missing_ok=True)
        else:
            self.validator_path.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.validator_path.unlink(missing_ok=True)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _checked(url: str, partial: _Partial, expected: Expected) -> str:
    _demand_size(url, partial, partial.path.stat().st_size, expected)
    found = sha256_of(partial.path)
    if expected.sha256 not in {None, found}:
        partial.remove()
        raise FetchError(
            f"{url} has the SHA-256 {found}, not {expected.sha256} as {expected.whence}. It was removed.",
            remedy=_CHANGED,
        )
    return found


def _demand_size(url: str, partial: _Partial, size_bytes: int, expected: Expected) -> None:
    if expected.size_bytes is not None and size_bytes != expected.size_bytes:
        partial.remove()
        raise FetchError(
            f"{url} is {size_bytes:,} bytes long, not {expected.size_bytes:,} as {expected.whence}. "
            "What was fetched of it was removed.",
            remedy=_CHANGED,
        )


def _claim(stream: BinaryIO, file: Path) -> None:
    """One download of a file at a time: two would write into each other's."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FetchError(
            f"{file} is being fetched by another process.", remedy="Wait for it, or end it."
        ) from error


def _refuse_failure(url: str, response: httpx.Response) -> None:
    status = response.status_code
    told = f"{status} {response.reason_phrase}".strip()
    if status in _TRANSIENT:
        asked = response.headers.get("Retry-After", "")
        raise _PassingFaultError(
            f"the server answered {told}", wait_s=float(asked) if asked.isdecimal() else 0.0
        )
    if status in _LOCKED:
        raise FetchError(
            f"{url} is not given to everyone ({told}).",
            remedy="Open the collection's home page (data fetch --list) and see what it asks for.",
        )
    if not response.is_success:
        raise FetchError(
            f"{url} is not there ({told}).",
            remedy="Look on the collection's home page (data fetch --list); a mirror is given with --from.",
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise FetchError(
            f"{url} answered with a web page, not with the file: it may want a person to sign in.",
            remedy="Open it in a browser.",
        )


def _told_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """First byte and whole length as Content-Range tells them."""
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return (None, None) if match is None else (_number(match["first"]), _number(match["total"]))


def _number(told: str | None) -> int | None:
    return int(told) if told is not None and told.isdecimal() else None


def _length(stream: BinaryIO) -> int:
    return stream.seek(0, os.SEEK_END)
