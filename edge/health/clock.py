"""Whether the machine's wall clock is held by a time server."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.contract.message import ClockState

TIMESYNC: Final = Path("/run/systemd/timesync")
_UNSYNCHRONISED: Final = 0x0040  # STA_UNSYNC of adjtimex(2)


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex``, and room for the rest of it; see adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def kernel_status() -> int | None:
    """The status bits of the kernel's clock; None where asking is not allowed, as under ``ProtectClock=``."""
    library = ctypes.CDLL(None, use_errno=True)
    asked = _Timex()  # modes 0: nothing is set
    try:
        answer = library.adjtimex(ctypes.byref(asked))
    except AttributeError:
        return None  # no Linux
    return None if answer < 0 else int(asked.status)


def clock_state(*, status: Callable[[], int | None] = kernel_status, timesync: Path = TIMESYNC) -> ClockState:
    """Whether a time server holds the clock, as the kernel says, or else systemd-timesyncd.

    The daemon of systemd makes a file when it has set the clock for the first time; another daemon (chrony)
    makes none, so that without the kernel's word it is ``unknown`` there.
    """
    bits = status()
    if bits is not None:
        return "unsynchronised" if bits & _UNSYNCHRONISED else "synchronised"
    if (timesync / "synchronized").exists():
        return "synchronised"
    return "unsynchronised" if timesync.is_dir() else "unknown"
