"""How long the disk takes until a record is safe."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import numpy as np

from edge.errors import StorageError
from edge.validation.line import Line, done, failed, not_here
from edge.validation.machine import Machine, filesystem_type, survives_power_loss

_WRITES: Final = 60
_RECORD_BYTES: Final = 16 * 1024
_SLOW_MS: Final = 250.0
"""A field every quarter of a second is more than a microscope gives."""


def fsync(machine: Machine, directory: Path, *, clock_s: Callable[[], float] = time.perf_counter) -> Line:
    """Write and sync records in ``directory``; ``clock_s`` measures. Raises StorageError."""
    taken_ms = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=directory, prefix="validate-") as file:
            for _ in range(_WRITES):
                file.write(os.urandom(_RECORD_BYTES))
                file.flush()
                began = clock_s()
                os.fsync(file.fileno())
                taken_ms.append(1000 * (clock_s() - began))
    except OSError as error:
        raise StorageError(
            f"{directory} cannot be written: {error.strerror}.", remedy="Mend the disk or its permissions."
        ) from error
    kind = filesystem_type(machine, directory.resolve())
    median, worst = float(np.median(taken_ms)), float(np.max(taken_ms))
    figures: dict[str, float | str] = {
        "filesystem": kind,
        "median_ms": round(median, 2),
        "worst_ms": round(worst, 2),
    }
    words = f"{_WRITES} syncs of 16 KiB on {kind}: median {median:.1f} ms, worst {worst:.1f} ms"
    if not survives_power_loss(kind):
        return not_here(
            "disk fsync", f"{words}; but {kind} forgets all of it when the power is cut.", **figures
        )
    if worst > _SLOW_MS:
        return failed("disk fsync", f"{words}: too slow for a record a field.", **figures)
    return done("disk fsync", f"{words}.", **figures)
