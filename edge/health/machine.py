"""What the process and its machine are at, read at most so often."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import psutil

from edge.contract.message import ClockState
from edge.health.board import Board, Heat

FRESH_S: Final = 2.0
"""Health is asked for several times in a second, and some sensors take milliseconds to answer."""
_NO_DESCRIPTOR: Final = {errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """One look at the process and its machine; None is what the system does not tell.

    Without a free file descriptor nothing can be looked at: ``descriptors_spent`` says so, and the rest is as
    it was before.
    """

    memory_bytes: int
    open_files: int | None
    threads: int
    heat: Heat
    clock: ClockState
    descriptors_spent: bool = False


_UNSEEN: Final = MachineState(memory_bytes=0, open_files=None, threads=0, heat=Heat(), clock="unknown")


class Machine:
    """Looks at the machine when asked, and remembers it for a moment; safe from any thread."""

    def __init__(
        self, *, board: Board, clock: Callable[[], ClockState], monotonic_s: Callable[[], float]
    ) -> None:
        self._board = board
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._process = psutil.Process()
        self._lock = threading.Lock()
        self._seen: tuple[float, MachineState] | None = None

    def state(self) -> MachineState:
        """How it is now, or was two seconds ago at most."""
        with self._lock:
            now_s = self._monotonic_s()
            if self._seen is None or now_s - self._seen[0] >= FRESH_S:
                self._seen = (now_s, self._look())
            return self._seen[1]

    def _look(self) -> MachineState:
        try:
            return self._look_at_all()
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR:
                raise
            before = _UNSEEN if self._seen is None else self._seen[1]
            return replace(before, open_files=None, descriptors_spent=True)

    def _look_at_all(self) -> MachineState:
        with self._process.oneshot():
            return MachineState(
                memory_bytes=int(self._process.memory_info().rss),
                open_files=self._open_files(),
                threads=self._process.num_threads(),
                heat=self._board.heat(),
                clock=self._clock(),
            )

    def _open_files(self) -> int | None:
        try:
            return self._process.num_fds()
        except psutil.Error:  # a hardened system may keep it to itself
            return None
