"""Whose turn it is where a station has more to do than processors: that of the networks.

They take most of the time, so what holds them up holds everything up, while frames that are judged and
records that are written only need to be done by the time of the next field. On two processors and fields of
new ground this makes 0.83 of the bare engine's rate of what was 0.73 (`benchmarks/station.py`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import cv2

_SWITCH_S: Final = 0.0005
"""How long a thread may keep Python's lock from one that waits for it. At Python's own 5 ms the networks'
thread, back from a run, would wait for records to be written and pictures to be compared."""

_NICENESS: Final = 10
"""A tenth of a processor where the networks want all of it: enough to end what is in hand."""


@contextmanager
def networks_first() -> Iterator[None]:
    """Have this process share its lock and its processors in the networks' favour, until the block ends.

    OpenCV computes in the thread that asks: a helper of its own takes a processor from the networks to save
    the others a millisecond.
    """
    switch_s, opencv_threads = sys.getswitchinterval(), cv2.getNumThreads()
    sys.setswitchinterval(_SWITCH_S)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(opencv_threads)
        sys.setswitchinterval(switch_s)


def give_way() -> None:
    """Have the calling thread run after those that did not ask for this, where the system knows that."""
    if sys.platform == "linux":  # elsewhere a niceness is a whole process's
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
