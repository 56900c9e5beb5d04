"""A network between station and broker that does what networks do: swallow, trickle, and come back."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from types import TracebackType

from typing_extensions import Self

CHUNK_BYTES = 4096


class BadNetwork:
    """Passes TCP connections on to a port. From ``swallow`` on, the connections there are say nothing more.

    Both ends think that they are connected: nothing is closed. With ``bytes_per_s`` the way there is slow.
    """

    def __init__(self, *, port: int, bytes_per_s: int | None = None) -> None:
        self._target = port
        self._bytes_per_s = bytes_per_s
        self._swallowed: set[socket.socket] = set()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._stopped = threading.Event()
        self._listener = socket.socket()
        self._thread = threading.Thread(target=self._run, name="bad-network")
        self.swallows_new_ones = False
        self.connections = 0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def swallow(self) -> None:
        """Let nothing through on the connections that there are."""
        with self._lock:
            self._swallowed |= set(self._pairs)

    def __enter__(self) -> Self:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        for each in (self._listener, *self._pairs):
            each.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for key, _ in self._selector.select(timeout=0.02):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        self.connections += 1
        with self._lock:
            self._pairs |= {near: far, far: near}
            if self.swallows_new_ones:
                self._swallowed |= {near, far}
        for each in (near, far):
            self._selector.register(each, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        target = self._pairs.get(source)
        if target is None:
            return
        try:
            data = source.recv(CHUNK_BYTES)
            with self._lock:
                swallowed = source in self._swallowed
            if data and not swallowed:
                target.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(source, target)
        elif self._bytes_per_s is not None:
            time.sleep(len(data) / self._bytes_per_s)

    def _end(self, *pair: socket.socket) -> None:
        for each in pair:
            self._selector.unregister(each)
            each.close()
            with self._lock:
                self._pairs.pop(each, None)
                self._swallowed.discard(each)
