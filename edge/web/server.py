"""The page's HTTP server, in a thread beside the station's own work."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Final

import uvicorn
from typing_extensions import Self

from edge.errors import PageError
from edge.web.app import create_app
from edge.web.feed import Feed, FieldPictures
from edge.web.guard import Guard
from edge.web.view import StationView

DEFAULT_PORT: Final = 8470
_BACKLOG: Final = 64
_BEAT_S: Final = 1.0

_log = logging.getLogger(__name__)


class PageServer:
    """Serves a station's page from ``start`` to ``stop``.

    ``port`` 0 takes any free port; ``url`` tells which. By default only this machine can reach it, and
    only this machine may open and close slides even where ``host`` lets others look, unless
    ``remote_control``. ``names`` are further host names under which the page is opened. ``on_progress`` is
    called about once a second in the server's thread, for as long as it answers.
    """

    def __init__(
        self,
        *,
        view: StationView,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        names: Collection[str] = (),
        remote_control: bool = False,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self._view = view
        self._host = host
        self._port = port
        machine = socket.gethostname().lower()
        self._names = frozenset({"localhost", host.lower(), machine, f"{machine}.local", *names})
        self._remote_control = remote_control
        self._on_progress = on_progress
        self._socket: socket.socket | None = None
        self._feed: Feed | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page. Raises PageError before ``start``."""
        if self._socket is None:
            raise PageError("The page is not served yet.", remedy="Start the server first.")
        host = reachable_host(self._host)
        port = self._socket.getsockname()[1]
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def start(self) -> None:
        """Take the port and serve; when this returns, the page answers.

        Raises PageError where the port is taken or may not be used.
        """
        if self._thread is not None:
            return
        self._socket = _listen(self._host, self._port)
        self._begin(self._socket)
        _log.info("the page is at %s", self.url)

    def _begin(self, listener: socket.socket) -> None:
        pictures = FieldPictures()
        self._feed = Feed(view=self._view, pictures=pictures)
        app = create_app(
            view=self._view, feed=self._feed, pictures=pictures, remote_control=self._remote_control
        )
        guarded = Guard(app, names=self._names, remote_control=self._remote_control)
        config = uvicorn.Config(
            guarded,
            access_log=False,
            http="h11",
            interface="asgi3",
            lifespan="off",
            limit_concurrency=128,
            log_config=None,
            log_level="warning",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=2,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._feed.start()
        self._thread = threading.Thread(
            target=asyncio.run,
            # A handle of its own, which it closes: one that takes over listens at the same socket.
            args=(self._serve(self._server, listener.dup()),),
            name="page-server",
            daemon=True,
        )
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the pages' streams, then serve no more. Stopping twice, or before a start, is harmless."""
        if self._feed is not None:
            self._feed.stop(timeout_s)
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._socket is not None:
            self._socket.close()
        self._thread = self._server = self._feed = self._socket = None

    def restart(self) -> None:
        """Serve anew at the same address, by other threads; the old ones end when they can."""
        if self._socket is None:
            return
        if self._feed is not None:
            self._feed.stop(0)
        if self._server is not None:
            self._server.should_exit = True
        self._begin(self._socket)

    @property
    def running(self) -> bool:
        """Whether its threads live."""
        return (
            self._thread is not None
            and self._thread.is_alive()
            and self._feed is not None
            and self._feed.alive
        )

    async def _serve(self, server: uvicorn.Server, listener: socket.socket) -> None:
        # Not by uvicorn's own notification: it goes by the wall clock, and would stop when that is set back.
        beating = asyncio.create_task(self._beat())
        try:
            await server.serve(sockets=[listener])
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._on_progress()
            await asyncio.sleep(_BEAT_S)

    def __enter__(self) -> Self:
        """``start``."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """``stop``."""
        self.stop()


def reachable_host(host: str) -> str:
    """The host for this machine's own browser: "any address" is none that can be opened."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host or "127.0.0.1"
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if isinstance(address, ipaddress.IPv4Address) else "::1"


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket: from here on a browser's connection waits instead of being refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise _page_error(host, port, error) from error
    return listener


def _page_error(host: str, port: int, error: OSError | OverflowError) -> PageError:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return PageError(
            f"The page's port {port} on {host} is taken by another program.",
            remedy="Stop that program (ss -ltnp shows it), or choose another port; 0 takes any free one.",
        )
    if code == errno.EACCES:
        return PageError(
            f"The page may not use port {port} on {host}.", remedy="Choose a port of 1024 or above."
        )
    return PageError(
        f"The page cannot be served at {host} port {port}: {error}.",
        remedy="Choose an address that this machine has (127.0.0.1 is always one) and a port up to 65535.",
    )
