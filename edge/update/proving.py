"""Runs a bundle's self-test in a process of its own: what hangs or crashes there harms nobody."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from pydantic import TypeAdapter, ValidationError

from edge.contract.manifest import Precision
from edge.update.protocol import Cancelled, CancelledError, Proof

PREPARED: Final = "prepared"
"""What the child says when its engines are ready and it waits to be told to go on."""

_LOOK_EVERY_S: Final = 0.2
_END_S: Final = 5.0
_MAX_LINE_BYTES: Final = 64 * 1024
_PROOF: Final[TypeAdapter[Proof]] = TypeAdapter(Proof)
_PROGRAM: Final = (sys.executable, "-m", "edge.update.self_test")


class ChildSelfTest:
    """Runs the self-test of a bundle in a child process of low priority, with a limit to each part.

    ``prepare_s`` is how long the engines may take to be built, ``prove_s`` the golden set to run.
    """

    def __init__(
        self,
        *,
        precision: Precision,
        threads: int,
        prepare_s: float,
        prove_s: float,
        program: Sequence[str] = _PROGRAM,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._precision = precision
        self._program = [*program, "--precision", precision, "--threads", str(threads)]
        self._prepare_s = prepare_s
        self._prove_s = prove_s
        self._monotonic_s = monotonic_s

    def __call__(self, bundle: Path, *, proving: Callable[[], None], cancelled: Cancelled) -> Proof:
        """Prove ``bundle``; see :class:`edge.update.protocol.SelfTest`."""
        try:
            with _child([*self._program, str(bundle)]) as child:
                said = self._line(child, limit_s=self._prepare_s, what="preparing", cancelled=cancelled)
                if said == PREPARED:
                    proving()
                    child.go_on()
                    said = self._line(
                        child, limit_s=self._prove_s, what="the golden set", cancelled=cancelled
                    )
                return _PROOF.validate_json(said)
        except _SilentError as error:
            return self._failed(str(error))
        except (OSError, ValidationError) as error:
            return self._failed(f"the self-test did not answer: {error}")

    def _line(self, child: _Child, *, limit_s: float, what: str, cancelled: Cancelled) -> str:
        deadline_s = self._monotonic_s() + limit_s
        while (line := child.read(_LOOK_EVERY_S)) is None:
            if cancelled():
                raise CancelledError
            if self._monotonic_s() > deadline_s:
                raise _SilentError(f"{what} took longer than {limit_s:g} s")
        return line

    def _failed(self, detail: str) -> Proof:
        return Proof(
            passed=False, engine="unknown", precision=self._precision, detail=detail, latency_p99_ms=None
        )


class _SilentError(Exception):
    """The child has not answered in time, or never will."""


class _Child:
    """A running self-test and the lines that it writes."""

    def __init__(self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
        self._process = process
        self._selector = selector
        self._read = b""

    def read(self, wait_s: float) -> str | None:
        """The next line; None where none came for ``wait_s``. Raises _SilentError where none will come."""
        while b"\n" not in self._read:
            if not self._selector.select(wait_s):
                return None
            chunk = os.read(_open(self._process.stdout).fileno(), _MAX_LINE_BYTES)
            if not chunk:
                raise _SilentError(self._end())
            self._read += chunk
            if len(self._read) > _MAX_LINE_BYTES:
                raise _SilentError("the self-test does not answer in lines")
        line, _, self._read = self._read.partition(b"\n")
        return line.decode(errors="replace")

    def go_on(self) -> None:
        """Tell it that it may run the golden set."""
        # Where it is gone already, the next reading says how it ended.
        with suppress(BrokenPipeError):
            _open(self._process.stdin).write(b"go on\n")

    def _end(self) -> str:
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return "the self-test closed its output without an answer"
        if status < 0:
            return f"the self-test was ended by {signal.Signals(-status).name}"
        return f"the self-test ended with status {status} and no answer"


@contextmanager
def _child(command: Sequence[str]) -> Iterator[_Child]:
    """Start ``command``; it and all that it started are gone at the end of the block."""
    with (
        subprocess.Popen(  # noqa: S603 - this interpreter, and a bundle's directory from the shelf
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        selector.register(_open(process.stdout), selectors.EVENT_READ)
        try:
            yield _Child(process, selector)
        finally:
            # By its group, so that an engine builder that it started goes with it.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process has no such stream")
    return stream
