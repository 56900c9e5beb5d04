"""Where updates come from: an HTTPS server, or a directory such as a USB stick.

Both are fetchers for The Update Framework: they bring bytes and are believed in nothing. TLS keeps others
from watching; whether the bytes are right is decided by signatures, in the same way for either source.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface
from urllib3.connection import HTTPConnection

from edge.errors import ConfigError
from edge.update.catalogue import METADATA_FOLDER, STICK_FOLDER, TARGETS_FOLDER

_CHUNK_BYTES: Final = 64 * 1024
_STALL_S: Final = 20.0
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_STICK_SCHEME: Final = "stick:///"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A place that a repository is fetched from.

    ``name`` is what a person calls it. ``abort`` ends a transfer that is under way, from another thread:
    the fetcher then raises DownloadError, or seems to be at the end.
    """

    name: str
    metadata_url: str
    targets_url: str
    fetcher: FetcherInterface
    abort: Callable[[], None]


def https_source(url: str, *, ca_file: Path | None = None, stall_s: float = _STALL_S) -> Source:
    """The repository under ``url``, which holds ``metadata/`` and ``targets/``.

    ``ca_file``: a PEM file with the only authorities to be believed, instead of the system's. A proxy of
    the environment (``https_proxy``) is used, but never towards this machine. ``stall_s`` is how long a
    server may be silent. Raises ConfigError for an address that is not HTTPS (plain HTTP is for loopback
    alone) or a CA file that cannot be read; the server is not asked before something is fetched.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"{url!r} is not the address of a repository.", remedy="Give https://HOST/PATH.")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigError(
            f"{url!r} is plain HTTP: everybody on the way could watch, delay or withhold updates.",
            remedy="Give an https:// address; plain http is for loopback alone.",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "The repository's address holds more than host and path.",
            remedy="Give https://HOST/PATH, without user, password, query and fragment.",
        )
    fetcher = HttpsFetcher(tls=_tls(ca_file), stall_s=stall_s)
    base = url.rstrip("/")
    return Source(
        name=base,
        metadata_url=f"{base}/{METADATA_FOLDER}/",
        targets_url=f"{base}/{TARGETS_FOLDER}/",
        fetcher=fetcher,
        abort=fetcher.abort,
    )


def directory_source(place: Path) -> Source:
    """The repository in a directory, or in its folder ``leukoscope``, as on a USB stick.

    The directory may be absent until something is fetched.
    """
    return Source(
        name=str(place),
        metadata_url=f"{_STICK_SCHEME}{METADATA_FOLDER}/",
        targets_url=f"{_STICK_SCHEME}{TARGETS_FOLDER}/",
        fetcher=DirectoryFetcher(place),
        abort=lambda: None,
    )


class HttpsFetcher(FetcherInterface):
    """Fetches over HTTPS, one transfer at a time.

    Beside python-tuf's own fetcher it knows a private authority, hands over what has come without waiting
    for a full chunk (so that whoever counts the time gets a turn), takes no encoding that unfolds, follows
    no redirect, and can be aborted from another thread, which ends even a server that drips its headers.
    """

    def __init__(self, *, tls: ssl.SSLContext, stall_s: float) -> None:
        self._tls = tls
        self._timeout = urllib3.Timeout(connect=stall_s, read=stall_s)
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._connection: HTTPConnection | None = None

    def abort(self) -> None:
        """Shut the connection in use. May be called from another thread, and when there is none."""
        held = self._connection.sock if self._connection is not None else None
        if held is not None:
            with contextlib.suppress(OSError):  # it was closed in the meantime
                held.shutdown(socket.SHUT_RDWR)

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            response = self._pool(url).request(
                "GET",
                urllib3.util.parse_url(url).request_uri,
                headers={"Accept-Encoding": "identity", "User-Agent": "leukoscope"},
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
                timeout=self._timeout,
            )
            try:
                _refuse_status(response, url=url)
                while chunk := response.read1(_CHUNK_BYTES):
                    yield chunk
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            away = isinstance(error, urllib3.exceptions.NewConnectionError)  # which urllib3 calls a time-out
            if isinstance(error, urllib3.exceptions.TimeoutError) and not away:
                raise SlowRetrievalError(f"{url}: the server was silent for too long") from error
            raise DownloadError(f"{url}: {_plain(error)}") from error

    def _pool(self, url: str) -> urllib3.HTTPConnectionPool:
        parts = urlsplit(url)
        host = parts.hostname or ""
        direct = _is_loopback(host) or proxy_bypass(host)
        proxy = None if direct else getproxies().get(parts.scheme)
        if proxy not in self._managers:
            self._managers[proxy] = (
                urllib3.ProxyManager(proxy, ssl_context=self._tls)
                if proxy
                else urllib3.PoolManager(ssl_context=self._tls)
            )
        pool = self._managers[proxy].connection_from_url(url)
        kind = type(pool).ConnectionCls

        def connect(*arguments: Any, **settings: Any) -> Any:  # noqa: ANN401 - urllib3's own constructor
            self._connection = cast("HTTPConnection", kind(*arguments, **settings))
            return self._connection

        pool.ConnectionCls = connect  # type: ignore[assignment]
        return pool


class DirectoryFetcher(FetcherInterface):
    """Fetches from a directory. No link in it is followed, and nothing but plain files is read."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def _fetch(self, url: str) -> Iterator[bytes]:
        parts = url.removeprefix(_STICK_SCHEME).split("/")
        if not url.startswith(_STICK_SCHEME) or any(part in {"", ".", ".."} for part in parts):
            raise DownloadError(f"{url!r} is no file of the repository in {self._place}")
        base = self._place
        shown = base.joinpath(*parts)
        try:
            inside = self._place / STICK_FOLDER
            if inside.is_dir() and not inside.is_symlink():
                base = inside
                shown = base.joinpath(*parts)
            with open(_open_within(base, parts), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise DownloadError(f"{shown} is not a plain file")
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError as error:
            if not base.is_dir():
                raise DownloadError(f"{base} is not there") from error
            raise DownloadHTTPError(f"{shown} is not there", 404) from error
        except OSError as error:
            link = error.errno in {errno.ELOOP, errno.ENOTDIR}
            what = "it or a folder above it is a link" if link else os.strerror(error.errno or 0)
            raise DownloadError(f"{shown} cannot be read: {what}") from error


def _open_within(base: Path, parts: Sequence[str]) -> int:
    """A descriptor of the file ``parts`` under ``base``, reached without following a link."""
    # Without O_NONBLOCK a FIFO on a stick would hold the station until somebody wrote into it.
    leaf = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with contextlib.ExitStack() as opened:
        folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, folder)
        for part in parts[:-1]:
            folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            opened.callback(os.close, folder)
        return os.open(parts[-1], leaf, dir_fd=folder)


def _refuse_status(response: urllib3.BaseHTTPResponse, *, url: str) -> None:
    if response.status == _OK:
        return
    if response.status in _REDIRECTS:
        elsewhere = response.headers.get("Location", "an unnamed place")
        raise DownloadError(f"{url}: the server sends us to {elsewhere[:200]}; name the last address instead")
    raise DownloadHTTPError(f"{url}: the server answers {response.status}", response.status)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The authorities in {ca_file} cannot be read: {_plain(error)}.",
            remedy="Give a PEM file with the certificate of whoever signed the server's.",
        ) from error


def _plain(error: BaseException) -> str:
    """The innermost reason of a network error: the others only repeat it."""
    while isinstance(inner := error.__cause__ or getattr(error, "reason", None), BaseException):
        error = inner
    return str(error) or type(error).__name__
