"""A part of the station's work in a process of its own: what hangs or dies there harms nobody.

The child gives way to everybody else. It answers in lines on its standard output, and takes what it is given
on its standard input.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import psutil

from edge.cancellation import Cancelled, CancelledError

_LOOK_EVERY_S: Final = 0.2
_END_S: Final = 5.0
_CHUNK_BYTES: Final = 64 * 1024
_LOWEST_PRIORITY: Final = 19
_SESSION: Final = Path("/proc/self/autogroup")
_FIRST_TO_GO: Final = Path("/proc/self/oom_score_adj")
_SESSION_NICENESS: Final = 10
"""A tenth of a processor where the station wants all of it: little to lose, and enough to end in time."""


class SilentError(Exception):
    """The child has not answered in time, or never will."""


class Child:
    """A running child. Messages call it ``name``; no line of its is longer than ``max_line_bytes``."""

    def __init__(
        self,
        *,
        process: subprocess.Popen[bytes],
        name: str,
        max_line_bytes: int,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._process = process
        self._name = name
        self._max_line_bytes = max_line_bytes
        self._monotonic_s = monotonic_s
        self._read = b""

    def line(self, *, limit_s: float, what: str, cancelled: Cancelled) -> str:
        """The child's next line.

        Raises SilentError where none came for ``limit_s``, in which ``what`` should have been done, or none
        will come; CancelledError.
        """
        deadline_s = self._monotonic_s() + limit_s
        output = _open(self._process.stdout).fileno()
        while b"\n" not in self._read:
            self._wait(output, selectors.EVENT_READ, deadline_s, limit_s, what, cancelled)
            chunk = os.read(output, _CHUNK_BYTES)
            if not chunk:
                raise SilentError(self._end())
            self._read += chunk
            if len(self._read) > self._max_line_bytes:
                raise SilentError(f"{self._name} does not answer in lines")
        line, _, self._read = self._read.partition(b"\n")
        return line.decode(errors="replace")

    def give(self, content: bytes | memoryview, *, limit_s: float, what: str, cancelled: Cancelled) -> None:
        """Write ``content`` to it; where it is gone already, the next line says how it ended.

        Raises SilentError where it was not taken within ``limit_s``, CancelledError.
        """
        deadline_s = self._monotonic_s() + limit_s
        entrance = _open(self._process.stdin).fileno()
        rest = memoryview(content)
        while rest:
            self._wait(entrance, selectors.EVENT_WRITE, deadline_s, limit_s, what, cancelled)
            try:
                rest = rest[os.write(entrance, rest) :]
            except BrokenPipeError:
                return

    def _wait(
        self, file: int, event: int, deadline_s: float, limit_s: float, what: str, cancelled: Cancelled
    ) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(file, event)
            while not selector.select(_LOOK_EVERY_S):
                if cancelled():
                    raise CancelledError
                if self._monotonic_s() > deadline_s:
                    raise SilentError(f"{what} took longer than {limit_s:g} s")

    def _end(self) -> str:
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return f"{self._name} closed its output without an answer"
        if status < 0:
            return f"{self._name} was ended by {signal.Signals(-status).name}"
        return f"{self._name} ended with status {status} and no answer"


@contextmanager
def child_process(
    command: Sequence[str],
    *,
    name: str,
    max_line_bytes: int = _CHUNK_BYTES,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Iterator[Child]:
    """Start ``command``; it and all that it started are gone at the end of the block. Raises OSError."""
    with subprocess.Popen(  # noqa: S603 - this interpreter, and a bundle's directory from the shelf
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
    ) as process:
        # A child that takes nothing must not hold its parent beyond the time that it was given.
        os.set_blocking(_open(process.stdin).fileno(), False)
        try:
            yield Child(process=process, name=name, max_line_bytes=max_line_bytes, monotonic_s=monotonic_s)
        finally:
            # By its group, so that an engine builder that it started goes with it.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def give_way() -> None:
    """In the child: threads made from here on, the engines' among them, run when nobody else wants to."""
    process = psutil.Process()
    process.nice(_LOWEST_PRIORITY)
    if psutil.LINUX:
        process.ionice(psutil.IOPRIO_CLASS_IDLE)
    # Linux may share its processors among sessions first, and within each by priority: a child of a session
    # of its own would get as much as the whole station. A kernel that does not has no such file.
    with suppress(OSError):
        _SESSION.write_text(str(_SESSION_NICENESS))
    # Where memory runs out, the kernel is to take this process, and not the station.
    with suppress(OSError):
        _FIRST_TO_GO.write_text("1000")


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process has no such stream")
    return stream
