"""What systemd is told of the station: ready, alive, stopping. See sd_notify(3).

The protocol is one datagram of ``KEY=value`` lines to the socket that ``NOTIFY_SOCKET`` names, so it needs
no library. Under anything but systemd the variable is absent and nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from typing_extensions import Self

_log = logging.getLogger(__name__)

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG_USEC: Final = "WATCHDOG_USEC"


class Watchdog:
    """Tells systemd how the daemon fares; feed it on progress alone, or a stuck station is never restarted.

    Never raises: a station must not stop because nobody listens.
    """

    def __init__(self, *, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Connect to systemd, where it asks to be told."""
        address = self._environment.get(NOTIFY_SOCKET, "")
        if not address:
            return self
        # A leading @ stands for the NUL of Linux's abstract addresses, which need no file.
        target = "\0" + address[1:] if address.startswith("@") else address
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            channel.setblocking(False)
            channel.connect(target)
        except OSError as error:
            channel.close()
            _log.warning("systemd does not listen at %s: %s", address, error)
        else:
            self._socket = channel
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the socket; closing twice is harmless."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ready(self) -> None:
        """The daemon has started, or begun anew: what waited for it may go on, and it is fed from now on."""
        configured = self._environment.get(WATCHDOG_USEC, "")
        self._tell("READY=1", *([f"{WATCHDOG_USEC}={configured}"] if configured else []))

    def alive(self, status: str) -> None:
        """There was progress; ``status`` is the line that ``systemctl status`` shows."""
        self._tell("WATCHDOG=1", f"STATUS={' '.join(status.split())}")

    def beginning_anew(self, *, within_s: float) -> None:
        """The daemon will be ready again, in this process; until then, ``within_s`` at most, it is not fed.

        Told that it stops, systemd would kill it for not having stopped.
        """
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", f"{WATCHDOG_USEC}={int(within_s * 1e6)}")

    def stopping(self) -> None:
        """The daemon is on its way out."""
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send("\n".join(lines).encode())
        except OSError as error:
            _log.warning("systemd could not be told %s: %s", lines[0], error)
