"""The page's HTTP server, in a thread beside the station's own work."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import uvicorn
from typing_extensions import Self

from edge.errors import PageError
from edge.web.app import create_app
from edge.web.feed import Feed, FieldPictures
from edge.web.guard import Guard
from edge.web.view import StationView
from edge.web.view_calls import ViewCalls

DEFAULT_PORT: Final = 8470
_BACKLOG: Final = 64
_BEAT_S: Final = 1.0
_SETTLED_S: Final = 60.0
"""A server that has run so long and owes no answer has shown that it works, also where nobody looked."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Serving:
    """One server with its threads, until another takes over from it."""

    server: uvicorn.Server
    feed: Feed
    calls: ViewCalls
    thread: threading.Thread

    @property
    def running(self) -> bool:
        return self.thread.is_alive() and self.feed.alive

    @property
    def stuck(self) -> bool:
        """Whether it has not come to its end."""
        return self.thread.is_alive() or self.feed.alive or bool(self.calls.outstanding)

    def leave(self, timeout_s: float) -> None:
        """Have it end, and wait for that so long."""
        self.feed.stop(timeout_s)
        self.server.should_exit = True


class PageServer:
    """Serves a station's page from ``start`` to ``stop``.

    ``port`` 0 takes any free port; ``url`` tells which. By default only this machine can reach it, and
    only this machine may open and close slides even where ``host`` lets others look, unless
    ``remote_control``. ``names`` are further host names under which the page is opened.

    It stamps its own progress: its event loop about once a second, and every call to ``view`` at its end.
    """

    def __init__(
        self,
        *,
        view: StationView,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        names: Collection[str] = (),
        remote_control: bool = False,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._view = view
        self._host = host
        self._port = port
        machine = socket.gethostname().lower()
        self._names = frozenset({"localhost", host.lower(), machine, f"{machine}.local", *names})
        self._remote_control = remote_control
        self._monotonic_s = monotonic_s
        self._socket: socket.socket | None = None
        self._serving: _Serving | None = None
        self._before: list[_Serving] = []
        self._begun_s = 0.0
        self._beaten_s = 0.0
        self._passes_before = 0

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
        if self._serving is not None:
            return
        self._socket = _listen(self._host, self._port)
        self._begin(self._socket)
        _log.info("the page is at %s", self.url)

    def _begin(self, listener: socket.socket) -> None:
        self._begun_s = self._beaten_s = self._monotonic_s()
        calls = ViewCalls(monotonic_s=self._monotonic_s)
        view = calls.watching(self._view)
        pictures = FieldPictures()
        feed = Feed(view=view, pictures=pictures)
        app = create_app(view=view, feed=feed, pictures=pictures, remote_control=self._remote_control)
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
        server = uvicorn.Server(config)
        try:
            # A handle of its own, which it closes: one that takes over listens at the same socket.
            handle = listener.dup()
        except OSError as error:
            raise _page_error(self._host, self._port, error) from error
        serve = self._serve(server, calls, handle)
        thread = threading.Thread(target=asyncio.run, args=(serve,), name="page-server", daemon=True)
        self._serving = _Serving(server=server, feed=feed, calls=calls, thread=thread)
        feed.start()
        thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the pages' streams, then serve no more. Stopping twice, or before a start, is harmless."""
        if self._serving is not None:
            self._serving.leave(timeout_s)
            self._serving.thread.join(timeout_s)
            self._before = [each for each in (*self._before, self._serving) if each.stuck]
        if self._socket is not None:
            self._socket.close()
        self._serving = self._socket = None

    def restart(self) -> None:
        """Serve anew at the same address, by other threads; the old ones end when they can.

        Raises PageError where the system gives it no handle for that.
        """
        if self._socket is None or self._serving is None:
            return
        self._serving.leave(0)
        self._passes_before += self._serving.calls.passes
        self._before = [each for each in (*self._before, self._serving) if each.stuck]
        self._begin(self._socket)

    @property
    def running(self) -> bool:
        """Whether its threads live."""
        return self._serving is not None and self._serving.running

    @property
    def silent_s(self) -> float | None:
        """How long its event loop, or a call to the view, has been without progress; None while stopped.

        A call that does not come back leaves the event loop going, and the page stands still all the same.
        """
        serving = self._serving
        if serving is None:
            return None
        return max(self._monotonic_s() - self._beaten_s, serving.calls.longest_s)

    @property
    def passes(self) -> int:
        """What was seen through: calls to the view, and rounds of a server that has run for a while."""
        serving = self._serving
        return self._passes_before + (0 if serving is None else serving.calls.passes)

    @property
    def left_behind(self) -> int:
        """How many servers that were relieved are still stuck."""
        return sum(each.stuck for each in self._before)

    async def _serve(self, server: uvicorn.Server, calls: ViewCalls, listener: socket.socket) -> None:
        # Not by uvicorn's own notification: it goes by the wall clock, and would stop when that is set back.
        beating = asyncio.create_task(self._beat(calls))
        try:
            await server.serve(sockets=[listener])
        finally:
            beating.cancel()

    async def _beat(self, calls: ViewCalls) -> None:
        # One that was relieved stamps nothing.
        while (serving := self._serving) is not None and serving.calls is calls:
            self._beaten_s = self._monotonic_s()
            if self._beaten_s - self._begun_s > _SETTLED_S and calls.longest_s <= _BEAT_S:
                calls.passed()
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
