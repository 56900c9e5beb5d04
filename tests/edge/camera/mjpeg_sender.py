"""A network camera on the loopback: JPEG after JPEG over HTTP, as good or as bad as a test wants it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np


def picture(number: int, *, width_px: int = 128, height_px: int = 96) -> np.ndarray:
    """RGB, reddish, its brightness rising with ``number``."""
    rgb = np.zeros((height_px, width_px, 3), dtype=np.uint8)
    rgb[..., 0] = 100 + 10 * number
    rgb[..., 1] = 40
    rgb[height_px // 4 : -height_px // 4, width_px // 4 : -width_px // 4, 2] = 90
    return rgb


def jpeg(rgb: np.ndarray) -> bytes:
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert done
    return coded.tobytes()


def endless() -> Iterator[bytes]:
    return (jpeg(picture(number % 10)) for number in itertools.count())


class Stream:
    """Sends what ``pictures`` gives to each that asks; ``kill`` cuts its connections and its port.

    When the pictures are over it falls silent, its connections open. A picture of which ``torn`` says so is
    sent by half, and the connection cut.
    """

    def __init__(
        self,
        *,
        pictures: Callable[[], Iterator[bytes]] = endless,
        torn: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self.pictures = pictures
        self.torn = torn
        self.port = 0
        self._cut = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/smear.mjpg"

    def start(self) -> None:
        """Listen; after ``kill`` on the port that it had."""
        self._cut = threading.Event()
        handler = type("Handler", (_Mjpeg,), {"stream": self, "is_cut": self._cut.wait})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def kill(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self._cut.set()
            server.shutdown()
            server.server_close()
            self._thread.join(5)


class _Mjpeg(BaseHTTPRequestHandler):
    stream: Stream
    is_cut: Callable[[float | None], bool]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number, content in enumerate(self.stream.pictures()):
                if self.is_cut(0.01):
                    return
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                if self.stream.torn(number):
                    self.wfile.write(head.encode() + content[: len(content) // 2])
                    return
                self.wfile.write(head.encode() + content + b"\r\n")
            self.is_cut(None)
        except (BrokenPipeError, ConnectionResetError):
            return

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del code, size  # a quiet server
