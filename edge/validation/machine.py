"""What the machine tells of itself: its kind, its power mode, its clock, its file systems.

All of it is read from files below ``root`` and from the machine's own programs, through ``ask``, so that a
test can put another machine in their place.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.engine.gpu import Gpu, NoGpu
from edge.engine.tensorrt_module import find_tensorrt
from edge.errors import EngineError
from edge.validation.line import Line, done, failed, not_here

Ask = Callable[[Sequence[str]], str | None]
"""Runs a program and gives what it printed; None where it is not there or fails."""

_PROGRAM_LIMIT_S: Final = 10
_CLOCK_OFF_S: Final = 2.0
_TORN_BY_POWER_LOSS: Final = frozenset({"tmpfs", "ramfs", "overlay"})


def ask_program(command: Sequence[str]) -> str | None:
    """The program's standard output."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - programs of the system, named in this file
            [program, *command[1:]], capture_output=True, text=True, timeout=_PROGRAM_LIMIT_S, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return answer.stdout


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine, as its files below ``root`` and its programs show it."""

    root: Path = Path("/")
    ask: Ask = ask_program

    def read(self, place: str) -> str | None:
        """A small file's text without its ends; None where it cannot be read."""
        try:
            return (self.root / place).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return None

    @property
    def model(self) -> str | None:
        """What the board calls itself; None on anything but a board with a device tree."""
        return self.read("proc/device-tree/model")


def device(machine: Machine, gpu: Gpu | NoGpu) -> Line:
    """What the machine is; ``done`` on a Jetson alone."""
    facts: dict[str, str] = {
        "model": machine.model or "unknown",
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": str(os.cpu_count() or 0),
    }
    facts["gpu"] = gpu.name if isinstance(gpu, Gpu) else gpu.reason
    if isinstance(gpu, Gpu):
        facts |= {"compute_capability": gpu.compute_capability, "driver": gpu.driver}
    try:
        facts["tensorrt"] = str(find_tensorrt())
    except EngineError as error:
        facts["tensorrt"] = error.fault
    model = machine.model or ""
    if not re.search(r"jetson|orin|xavier|thor", model, re.IGNORECASE):
        return not_here("device", f"this is no Jetson but {model or facts['architecture']}.", **facts)
    if isinstance(gpu, NoGpu):
        return failed("device", f"{model}, but {gpu.reason}", **facts)
    return done("device", f"{model}, {gpu.name}, {gpu.driver}.", **facts)


def power_mode(machine: Machine) -> Line:
    """The power budget that every figure of this report was measured under."""
    said = machine.ask(("nvpmodel", "-q"))
    if said is None:
        return not_here("power mode", "nvpmodel is not on this machine, or refuses.")
    found = re.search(r"NV Power Mode:\s*(\S+)", said)
    if found is None:
        return failed("power mode", f"nvpmodel says nothing of a mode: {' '.join(said.split())[:80]!r}.")
    return done("power mode", f"{found.group(1)}.", mode=found.group(1))


def hardware_clock(machine: Machine, *, now_s: float) -> Line:
    """Whether the clock outlives a power cut, and how far it is off ``now_s``, seconds since the epoch."""
    text = machine.read("sys/class/rtc/rtc0/since_epoch")
    if text is None or not text.isdigit():
        return not_here("hardware clock", "there is none: after a power cut the clock stands in the past.")
    off_s = abs(float(text) - now_s)
    words = f"it is {off_s:.1f} s off the system's"
    if off_s > _CLOCK_OFF_S:
        return failed("hardware clock", f"{words}; run `hwclock --systohc`.", off_s=round(off_s, 1))
    return done("hardware clock", f"{words}.", off_s=round(off_s, 1))


def filesystem_type(machine: Machine, directory: Path) -> str:
    """The kind of file system that ``directory`` lies on; ``unknown`` where the machine does not tell."""
    best, kind = "", "unknown"
    for line in (machine.read("proc/self/mounts") or "").splitlines():
        fields = line.split()
        if len(fields) < 3:  # noqa: PLR2004 - device, place, kind
            continue
        place = fields[1].replace("\\040", " ")
        if directory.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, fields[2]
    return kind


def survives_power_loss(kind: str) -> bool:
    """Whether what is synced to a file system of ``kind`` is still there after the power was cut."""
    return kind not in _TORN_BY_POWER_LOSS
