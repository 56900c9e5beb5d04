"""Prepares the next batches while the network is busy with this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

Item = TypeVar("Item")
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
