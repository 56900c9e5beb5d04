"""Prepares the next batches while the network is busy with this one."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
Job = TypeVar("Job")
_WAIT_S: Final = 0.2


def prefetched(items: Iterable[Item], *, depth: int = 3) -> Iterator[Item]:
    """The same items in the same order, drawn by one thread up to ``depth`` ahead.

    An error in drawing is raised where the item would have come. Closing the generator ends the thread.
    """
    ready: queue.Queue[tuple[Item] | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def put(item: tuple[Item] | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=_WAIT_S)
            except queue.Full:
                continue
            return

    def draw() -> None:
        try:
            for item in items:
                put((item,))
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - carried over and raised in the reader's thread
            failures.append(error)
        put(None)

    thread = threading.Thread(target=draw, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            yield item[0]
        if failures:
            raise failures[0]
    finally:
        stopped.set()
        thread.join()


def prepared(
    jobs: Iterable[Job], make: Callable[[Job], Item], *, workers: int, ahead: int = 2
) -> Iterator[Item]:
    """``make(job)`` for every job, in order, made by ``workers`` threads; ``ahead`` of them lie ready.

    Worth it where ``make`` spends its time outside of Python's lock, as OpenCV and NumPy do. An error in
    making is raised where the item would have come. Closing the generator lets the threads finish what they
    have begun, and ends them.
    """
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="prepare") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(make, job))
                if len(waiting) >= workers + ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
