"""Where cells are run: the one thing that the sweep asks of a place, and the nearest place, this process."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Protocol

from typing_extensions import Self

from trainer.sweep.work import Ended, Task, perform


class Executor(Protocol):
    """A place with room for ``workers`` tasks at a time, entered before the first.

    Left by an exception, it stops what is running and leaves nothing behind.
    """

    @property
    def workers(self) -> int:
        """How many tasks may be started before one has ended."""

    def start(self, task: Task) -> None:
        """Begin a task. Only while fewer than ``workers`` are running."""

    def wait(self, timeout_s: float) -> tuple[Ended, ...]:
        """Those that have ended since last asked, as soon as there is one; none after ``timeout_s``.

        A task whose process died ended as ``lost``.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InThisProcess:
    """One task at a time, here; it runs while it is waited for, however long that takes."""

    workers = 1

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()

    def start(self, task: Task) -> None:
        """Keep the task until it is waited for."""
        self._tasks.append(task)

    def wait(self, timeout_s: float) -> tuple[Ended, ...]:  # noqa: ARG002  work here cannot be left half done
        """Run what was started."""
        return (perform(self._tasks.popleft()),) if self._tasks else ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.clear()
