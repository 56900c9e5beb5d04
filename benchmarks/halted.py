"""What a machine does beside a load: rates with it and without it, in turn, within seconds of one another.

A load is stopped by a signal for one slice and goes on for the next. So other programs of the machine bear
upon both alike.
"""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil
from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Rates beside a load as ``shares`` of those alone, pair by pair; ``processors`` is what the load got."""

    rate_alone: float
    shares: tuple[float, ...]
    processors: float


class Load:
    """Work beside the station, in processes whose command has ``marker``, that can be halted.

    ``work`` is done again and again; None: the station does it by itself.
    """

    def __init__(self, *, name: str, marker: str, work: Callable[[], None] | None) -> None:
        self.name = name
        self._marker = marker
        self._work = work
        self._going = threading.Event()
        self._ended = False

    def __enter__(self) -> Self:
        if self._work is not None:
            threading.Thread(target=self._repeat, args=(self._work,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._work is None:
            self.halt()
            return
        self._ended = True
        self.go_on()
        for each in self.processes():
            with suppress(psutil.Error):
                each.kill()

    def processes(self) -> list[psutil.Process]:
        """Those that are at work now, or halted."""
        found = []
        for each in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if self._marker in " ".join(each.cmdline()):
                    found.append(each)
        return found

    def await_start(self) -> None:
        """Wait until it has begun."""
        while not self.processes():
            time.sleep(0.1)

    def halt(self) -> None:
        """Stop all of it where it is."""
        self._going.clear()
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on with it."""
        self._going.set()
        self._send(signal.SIGCONT)

    def processor_s(self) -> dict[int, float]:
        """Processor time of each of its processes."""
        taken = {}
        for each in self.processes():
            with suppress(psutil.Error):
                spent = each.cpu_times()
                taken[each.pid] = spent.user + spent.system
        return taken

    def _send(self, number: signal.Signals) -> None:
        for each in self.processes():
            with suppress(psutil.Error):
                each.send_signal(number)

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._ended:
            self._going.wait()
            if not self._ended:
                work()


def compare(load: Load, rate: Callable[[], float], *, pairs: int) -> Beside:
    """Take ``rate`` alone and beside ``load``, ``pairs`` times; either comes first in turn."""
    load.go_on()
    load.await_start()
    rate()  # until it has loaded what it needs
    rate()
    alone, shares, processors = [], [], []
    for number in range(pairs):
        rates = {}
        for beside in (False, True) if number % 2 else (True, False):
            if beside:
                load.go_on()
            else:
                load.halt()
            before, begun_s = load.processor_s(), time.perf_counter()
            rates[beside] = rate()
            if beside:
                spent_s = sum(each - before.get(pid, 0.0) for pid, each in load.processor_s().items())
                processors.append(spent_s / (time.perf_counter() - begun_s))
        alone.append(rates[False])
        shares.append(rates[True] / rates[False])
    return Beside(
        rate_alone=statistics.median(alone), shares=tuple(shares), processors=statistics.median(processors)
    )
