"""Cells in processes of this machine, each of which may be killed without harm to the others.

The pools of the standard library and of joblib break as a whole when one of their processes dies, and do not
say which task it had. Here each worker has a pipe of its own, so the one that died is known and gets a
successor.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType, TracebackType
from typing import Any, Final

from typing_extensions import Self

from trainer.sweep.work import Ended, Task, perform

_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
_LIFE_CHECK_S: Final = 0.5
_PATIENCE_S: Final = 10.0
_ORPHANED: Final = 75  # EX_TEMPFAIL


@dataclass(frozen=True, kw_only=True)
class _Worker:
    process: SpawnProcess
    connection: Connection[Task | None, Ended]


class Processes:
    """So many processes, begun afresh (spawned) when first needed and kept for further cells.

    Each gets an equal share of the machine's threads, and the next of ``devices`` (CUDA's names) in turn
    where there are any. Ctrl-C is for the sweep alone, which ends them. Without their sweep they end.
    """

    def __init__(self, *, workers: int, devices: Sequence[str] = ()) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers")
        self._workers = workers
        self._devices = tuple(devices)
        self._idle: list[tuple[int, _Worker]] = []
        self._busy: dict[int, tuple[_Worker, Task, float]] = {}

    @property
    def workers(self) -> int:
        """How many processes there may be."""
        return self._workers

    def start(self, task: Task) -> None:
        """Give the task to an idle process, or to a new one."""
        place, worker = self._idle.pop() if self._idle else self._new()
        # One that died while it was idle is found dead by what is read from it next.
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(task)
        self._busy[place] = (worker, task, time.monotonic())

    def wait(self, timeout_s: float) -> tuple[Ended, ...]:
        """See Executor."""
        deadline = time.monotonic() + timeout_s
        while self._busy:
            left = max(0.0, deadline - time.monotonic())
            # A process that a dead worker had started may hold the pipe's other end open, so the pipe
            # alone does not tell that the worker is dead.
            wait([worker.connection for worker, _, _ in self._busy.values()], min(left, _LIFE_CHECK_S))
            ended = tuple(self._collect())
            if ended or time.monotonic() >= deadline:
                return ended
        return ()

    def _collect(self) -> Iterator[Ended]:
        for place, (worker, task, began) in list(self._busy.items()):
            alive = worker.process.is_alive()
            try:
                ended = worker.connection.recv() if worker.connection.poll() else None
            except (EOFError, ConnectionResetError):
                ended, alive = None, False
            if ended is not None:
                self._idle.append((place, worker))
            elif not alive:
                _end(worker, at_once=True)
                ended = Ended(name=task.cell.name, ending="lost", wall_s=time.monotonic() - began)
            else:
                continue
            del self._busy[place]
            yield ended

    def _new(self) -> tuple[int, _Worker]:
        place = min(set(range(self._workers)) - self._busy.keys())
        threads = max(1, len(os.sched_getaffinity(0)) // self._workers)
        environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        if self._devices:
            environment["CUDA_VISIBLE_DEVICES"] = self._devices[place % len(self._devices)]
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(theirs,), name=f"sweep-worker-{place}", daemon=False)
        with _inherited(environment):
            process.start()
        theirs.close()
        return place, _Worker(process=process, connection=ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy = [worker for worker, _, _ in self._busy.values()]
        for worker in busy:
            worker.process.terminate()
        for worker in busy:
            _end(worker, at_once=False)
        for _, worker in self._idle:
            _end(worker, at_once=False)
        self._busy.clear()
        self._idle.clear()


def _end(worker: _Worker, *, at_once: bool) -> None:
    """Have a process end: when its pipe closes it returns; if it does not in time, it is killed."""
    worker.connection.close()
    if not at_once:
        worker.process.join(_PATIENCE_S)
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.process.close()


@contextmanager
def _inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """A process that is started within gets these variables, and ignores Ctrl-C from its first moment on.

    Thread counts are read when a library is loaded: it would be too late to set them in the process itself.
    """
    before = {name: os.environ.get(name) for name in environment}
    in_main = threading.current_thread() is threading.main_thread()
    handler: Any = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if in_main:
            signal.signal(signal.SIGINT, handler)


def _serve(connection: Connection[Ended, Task | None]) -> None:
    """A worker's life: a task in, how it ended out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        if task is None:
            return
        connection.send(perform(task))


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(128 + signal.SIGTERM)


def _end_with_parent() -> None:
    """End at once when the sweep has died: nobody would hear what comes of the work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(_ORPHANED)
