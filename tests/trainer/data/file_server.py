"""A loopback HTTP server that serves files with ranges, and misbehaves when it is told to."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from typing_extensions import Self


@dataclass
class Served:
    """A file and the faults that its next answers have, one taken off each list per request."""

    body: bytes
    etag: str | None = '"one"'
    last_modified: str | None = None
    ranges: bool = True
    tell_length: bool = True
    content_type: str = "application/zip"
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the connection breaks."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    path: str
    range: str | None


class FileServer:
    """Serves ``files`` by path while it is entered; ``asked`` lists the requests."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []

    def __enter__(self) -> Self:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(Asked(self.path, self.headers["Range"]))
                owner.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        served = self.files.get(to.path)
        status = 404 if served is None else served.statuses.pop(0) if served.statuses else 200
        if served is None or status != 200:
            to.send_response(status)
            for name, value in (served.headers if served else {}).items():
                to.send_header(name, value)
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        first = self.first_byte(to, served)
        if first is not None and first >= len(served.body):
            to.send_response(416)
            to.send_header("Content-Range", f"bytes */{len(served.body)}")
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        body = served.body[first or 0 :]
        to.send_response(200 if first is None else 206)
        if first is not None:
            last = len(served.body) - 1
            to.send_header("Content-Range", f"bytes {first}-{last}/{len(served.body)}")
        if served.tell_length:
            to.send_header("Content-Length", str(len(body)))
        for name, value in (
            ("ETag", served.etag),
            ("Last-Modified", served.last_modified),
            ("Content-Type", served.content_type),
        ):
            if value is not None:
                to.send_header(name, value)
        to.end_headers()
        if served.cuts:
            to.wfile.write(body[: served.cuts.pop(0)])
            to.wfile.flush()
            to.connection.shutdown(socket.SHUT_WR)
        else:
            to.wfile.write(body)

    def first_byte(self, to: BaseHTTPRequestHandler, served: Served) -> int | None:
        """Where the asked range begins; None where the whole file is to be sent."""
        asked = re.match(r"bytes=(\d+)-$", to.headers["Range"] or "")
        condition = to.headers["If-Range"]
        if asked is None or not served.ranges or condition not in {None, served.etag, served.last_modified}:
            return None
        return int(asked[1])
