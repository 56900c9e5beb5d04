"""A stage's thread, and the one that takes over from it when it is stuck."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from edge.daemon.handover import Handover
from edge.daemon.precedence import give_way
from edge.daemon.timing import StageClock
from edge.errors import LeukoscopeError

_log = logging.getLogger(__name__)

_WAIT_S: Final = 0.5
PREPARING_S: Final = 120.0
"""How long a stage that begins anew may take before its first round: networks are loaded and run once."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Next = TypeVar("_Next")


@dataclass(frozen=True, kw_only=True)
class StageWork(Generic[_Item, _Result]):
    """What a stage does with an item.

    ``do`` is the part that may get stuck. ``deliver`` hands its result on, and is not called for an item that
    was given up. ``lost`` is told, in the thread of whoever restarts the stage, that an item was given up;
    ``late`` gets the result of such an item, should it come after all. ``prepare`` is called in a thread that
    takes over, before its first item; a LeukoscopeError of it ends the thread. ``at_end`` is called when
    nothing will come any more.
    """

    do: Callable[[_Item], _Result]
    deliver: Callable[[_Item, _Result], None]
    lost: Callable[[_Item, str], None]
    late: Callable[[_Item, _Result], None]
    at_end: Callable[[], None]
    prepare: Callable[[], None] = lambda: None


class _Shift(Generic[_Item]):
    """One thread's time at a stage, until it is relieved: the token by which a late result is known."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: _Item | None = None
        self.relieved = False
        self.preparing = False
        self.finished = False
        self.fault = ""
        self.thread: threading.Thread | None = None

    def take(self, item: _Item) -> bool:
        """The thread has this item in hand now; False where it was relieved before."""
        with self._lock:
            if not self.relieved:
                self._item = item
            return not self.relieved

    def settle(self) -> bool:
        """The item in hand is done with; whether it is still this thread's to deliver."""
        with self._lock:
            self._item = None
            return not self.relieved

    def relieve(self) -> _Item | None:
        """From here on the thread's results come late; the item that it holds, where it holds one."""
        with self._lock:
            self.relieved = True
            item, self._item = self._item, None
            return item

    @property
    def is_left_behind(self) -> bool:
        return self.relieved and self.thread is not None and self.thread.is_alive()


class StageWorker(Generic[_Item, _Result]):
    """Sees to the items of ``source``, one by one, in a thread that can be relieved by another.

    Every item either is delivered once or is told as lost once, whatever the threads do. An item whose thread
    ends by an exception is lost too; the stage then stands until ``restart``. ``gives_way`` has its thread
    run after those of the stages that do not.
    """

    def __init__(
        self,
        *,
        stage: str,
        source: Handover[_Item],
        work: StageWork[_Item, _Result],
        clock: StageClock,
        gives_way: bool = False,
    ) -> None:
        self._stage = stage
        self._source = source
        self._work = work
        self._clock = clock
        self._gives_way = gives_way
        self._stopping = threading.Event()
        self._shift: _Shift[_Item] = _Shift()
        self._before: list[_Shift[_Item]] = []

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._begin(self._shift)

    def restart(self, reason: str) -> None:
        """Have another thread take over; the item in the old one's hands is told as lost for ``reason``."""
        old, self._shift = self._shift, _Shift()
        self._shift.preparing = True
        self._leave(old, reason)
        self._before = [each for each in (*self._before, old) if each.is_left_behind]
        self._begin(self._shift)

    def give_up(self, reason: str) -> None:
        """End the stage for good: what waits and what is in hand is told as lost, nothing more is taken."""
        self._stopping.set()
        for item in self._source.abandon():
            self._work.lost(item, reason)
        self._leave(self._shift, reason)
        self._work.at_end()

    def stop(self, timeout_s: float) -> bool:
        """End after the item in hand; whether it ended in time. Threads left behind are not waited for."""
        self._stopping.set()
        thread = self._shift.thread
        if thread is None:
            return True
        if not self._shift.relieved:
            thread.join(timeout_s)
        return not thread.is_alive()

    @property
    def fault(self) -> str:
        """Why the thread has ended before its time; empty while it has not."""
        return self._shift.fault

    @property
    def silent_s(self) -> float | None:
        """How long since the last sign of progress; None before the start and after the end."""
        if self._shift.thread is None or self._shift.finished or self._stopping.is_set():
            return None
        return self._clock.silent_s(self._stage)

    @property
    def preparing(self) -> bool:
        """Whether a thread that took over is not ready for its first item yet."""
        return self._shift.preparing

    @property
    def left_behind(self) -> int:
        """How many relieved threads are still stuck."""
        return sum(each.is_left_behind for each in (*self._before, self._shift))

    def hand_on(self, item: _Next, to: Handover[_Next]) -> None:
        """Put ``item`` where the next stage takes it; to wait for room there is no being stuck here."""
        to.put(item, on_wait=lambda: self._clock.alive(self._stage))

    def _leave(self, shift: _Shift[_Item], reason: str) -> None:
        item = shift.relieve()
        if item is not None:
            self._work.lost(item, reason)

    def _begin(self, shift: _Shift[_Item]) -> None:
        self._clock.alive(self._stage)
        shift.thread = threading.Thread(target=self._run, args=(shift,), name=self._stage, daemon=True)
        shift.thread.start()

    def _run(self, shift: _Shift[_Item]) -> None:
        try:
            if self._gives_way:
                give_way()
            if shift.preparing:
                self._work.prepare()
                shift.preparing = False
            self._see_to_all(shift)
        except LeukoscopeError as error:
            shift.fault = str(error)
        except BaseException as error:
            # Told and raised: a fault of the program itself is to be seen in the log with its place.
            shift.fault = f"{type(error).__name__}: {error}"
            raise

    def _see_to_all(self, shift: _Shift[_Item]) -> None:
        while not self._stopping.is_set() and not shift.relieved:
            item = self._source.get(_WAIT_S, unless=lambda: shift.relieved)
            if not shift.relieved:
                self._clock.alive(self._stage)
            if item is not None:
                self._see_to(shift, item)
            elif self._source.drained and not shift.relieved:
                shift.finished = True
                self._work.at_end()
                return

    def _see_to(self, shift: _Shift[_Item], item: _Item) -> None:
        if not shift.take(item):
            self._work.lost(item, "its thread was relieved")
            return
        result = self._work.do(item)
        if shift.settle():
            self._work.deliver(item, result)
        else:
            _log.warning(
                "%s: a result came after its thread was relieved", self._stage, extra={"stage": self._stage}
            )
            self._work.late(item, result)
