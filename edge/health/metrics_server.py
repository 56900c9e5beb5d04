"""Serves the figures over HTTP to this machine, for a Prometheus or its agent to fetch."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector
from typing_extensions import Self

from edge.errors import MetricsError

_log = logging.getLogger(__name__)

_NO_DESCRIPTOR: Final = {errno.EMFILE, errno.ENFILE}
_PAUSE_S: Final = 1.0


class MetricsServer:
    """Answers scrapes from ``start`` to ``stop``; ``port`` 0 takes any free one, and ``url`` tells which."""

    def __init__(self, *, collector: Collector, host: str, port: int) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._host = host
        self._port = port
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the figures are. Raises MetricsError before ``start``."""
        if self._server is None:
            raise MetricsError("The figures are not served yet.", remedy="Start the server first.")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._server.server_port}/metrics"

    def start(self) -> None:
        """Take the port and serve. Raises MetricsError where the port is taken or may not be used."""
        try:
            self._server = _Server((self._host, self._port), _SilentHandler)
        except (OSError, OverflowError) as error:
            raise _metrics_error(self._host, self._port, error) from error
        self._server.set_app(make_wsgi_app(self._registry))
        self._thread = threading.Thread(target=self._server.serve_forever, name="figures", daemon=True)
        self._thread.start()
        _log.info("the figures are at %s", self.url)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Serve no more, and give the port back. Stopping twice, or before a start, is harmless."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._server = self._thread = None

    def __enter__(self) -> Self:
        """``start``."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """``stop``."""
        self.stop()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a request, which a slow reader may keep."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:
                # Who waits at the door stays there: without a pause it would be opened in vain all the time.
                time.sleep(_PAUSE_S)
            raise


class _SilentHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        """Log nothing: a scrape every few seconds is no news."""


def _metrics_error(host: str, port: int, error: OSError | OverflowError) -> MetricsError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return MetricsError(
            f"The port {port} on {host} for the figures is taken by another program.",
            remedy="Stop that program (ss -ltnp shows it), or choose another metrics.port; 0 takes any.",
        )
    return MetricsError(
        f"The figures cannot be served at {host} port {port}: {error}.",
        remedy="Choose a metrics.host that this machine has (127.0.0.1 is one) and a port up to 65535.",
    )
