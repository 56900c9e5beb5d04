"""An MQTT broker of one's own on the loopback, for the demo and the tests: no root, no configuration.

A station in earnest talks to the laboratory's broker. Where none is to be had, ``find_or_embed`` runs
mosquitto as a child if it is installed, and else amqtt, a broker in pure Python, in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Protocol

from typing_extensions import Self

from edge.errors import BrokerError

LOOPBACK: Final = "127.0.0.1"
MqttProtocol = Literal["5", "3.1.1"]

_START_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.01
_PORT_ATTEMPTS: Final = 5
# Distributions keep the daemon outside an ordinary user's PATH.
_DAEMON_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


class Broker(Protocol):
    """A broker that lives as long as its ``with`` block."""

    @property
    def host(self) -> str:
        """The address it listens on."""
        ...

    @property
    def port(self) -> int:
        """The TCP port it listens on; known once it is entered."""
        ...

    @property
    def protocol(self) -> MqttProtocol:
        """The newest MQTT version that it speaks."""
        ...

    def __enter__(self) -> Self:
        """Start it; it accepts connections on return. Raises BrokerError."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and free everything it held."""
        ...


def find_mosquitto() -> str | None:
    """The path of mosquitto's daemon, or None where it is not installed."""
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), *_DAEMON_FOLDERS))
    return shutil.which("mosquitto", path=search)


def find_or_embed() -> Broker:
    """A broker that is not started yet: mosquitto where it is installed, else amqtt in a thread."""
    return Mosquitto() if find_mosquitto() else EmbeddedBroker()


def free_port() -> int:
    """A loopback TCP port that was free a moment ago; whoever takes it must be ready to try again."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0):
            return True
    except OSError:
        return False


class Mosquitto:
    """A mosquitto of our own: free loopback port, own configuration, own data directory.

    After ``kill`` or ``stop`` it can be started again: the port and what mosquitto saved in ``directory``
    stay. A directory that is not given is temporary and is removed on exit. ``extra`` are further lines of
    mosquitto.conf.
    """

    protocol: Final[MqttProtocol] = "5"
    host: Final = LOOPBACK

    def __init__(self, *, directory: Path | None = None, extra: Sequence[str] = ()) -> None:
        self._given_directory = directory
        self._extra = tuple(extra)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._port: int | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The TCP port, chosen at the first start."""
        if self._port is None:
            raise BrokerError("mosquitto was never started.", remedy="Enter it first.")
        return self._port

    @property
    def directory(self) -> Path:
        """Where mosquitto.conf, mosquitto.log and the saved state lie."""
        if self._given_directory is not None:
            return self._given_directory
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="leukoscope-mosquitto-")
        return Path(self._temporary.name)

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BrokerError:
            self._remove_temporary()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and remove a temporary directory."""
        self.stop()
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def start(self) -> None:
        """Start, or start again on the same port. Raises BrokerError with mosquitto's own last words."""
        if self._child is not None:
            return
        program = find_mosquitto()
        if program is None:
            raise BrokerError(
                "mosquitto is not installed.", remedy="Install it (Debian, Ubuntu: apt install mosquitto)."
            )
        # Between finding a free port and binding it, another process may take it.
        for _ in range(1 if self._port is not None else _PORT_ATTEMPTS):
            port = self._port if self._port is not None else free_port()
            child = self._launch(program, port)
            if child is not None:
                self._child, self._port = child, port
                return
        raise BrokerError(f"mosquitto does not start: {self._last_words()}", remedy="Mend what it names.")

    def _launch(self, program: str, port: int) -> subprocess.Popen[bytes] | None:
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text("\n".join(self._configuration(port)) + "\n", encoding="utf-8")
        child = subprocess.Popen(  # noqa: S603 - the program was found by its name, its one argument is ours
            [program, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while child.poll() is None and time.monotonic() < deadline_s:
            if _answers(port) and child.poll() is None:
                return child
            time.sleep(_POLL_S)
        child.kill()
        child.wait()
        return None

    def _configuration(self, port: int) -> list[str]:
        return [
            f"listener {port} {LOOPBACK}",
            "allow_anonymous true",
            # Started by root, mosquitto would change to a user who may not write in our directory.
            f"user {pwd.getpwuid(os.getuid()).pw_name}",
            "persistence true",
            f"persistence_location {self.directory}/",
            "autosave_interval 1",
            f"log_dest file {self.directory / 'mosquitto.log'}",
            "log_type error",
            "log_type warning",
            "log_type notice",
            *self._extra,
        ]

    def _last_words(self) -> str:
        log = self.directory / "mosquitto.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return " / ".join(lines[-3:]) or "it says nothing"

    def stop(self) -> None:
        """End it in good order; it saves what it holds."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None


class EmbeddedBroker:
    """amqtt in a thread of this process, on a free loopback port: MQTT 3.1.1, nothing kept on disk."""

    protocol: Final[MqttProtocol] = "3.1.1"
    host: Final = LOOPBACK

    def __init__(self) -> None:
        self._port: int | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._started = threading.Event()
        self._fault: BrokerError | None = None

    @property
    def port(self) -> int:
        """The TCP port, chosen at the start."""
        if self._port is None:
            raise BrokerError("The embedded broker was never started.", remedy="Enter it first.")
        return self._port

    def __enter__(self) -> Self:
        """Start it. Raises BrokerError where amqtt is not installed or does not start."""
        self._thread = threading.Thread(target=self._run, name="embedded-broker", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S):
            raise BrokerError("The embedded broker does not start.", remedy="Install mosquitto instead.")
        if self._fault is not None:
            raise self._fault
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it; connections are cut."""
        if self._loop is not None and self._leave is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave.set)
        if self._thread is not None:
            self._thread.join(_STOP_TIMEOUT_S)
            self._thread = None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BrokerError as error:
            self._fault = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        # Imported here because only a demo without mosquitto needs it; it comes with the extra "demo".
        try:
            amqtt, faults = import_module("amqtt.broker"), import_module("amqtt.errors")
        except ImportError as error:
            raise BrokerError(
                "There is no broker: neither mosquitto nor amqtt is installed.",
                remedy="Install mosquitto, or leukoscope with the extra 'demo'.",
            ) from error
        for chatty in ("amqtt", "transitions"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        port = free_port()
        broker = amqtt.Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            await broker.start()
        except faults.AMQTTError as error:
            raise BrokerError(f"The embedded broker does not start: {error}") from error
        self._port = port
        self._started.set()
        await self._leave.wait()
        await broker.shutdown()
