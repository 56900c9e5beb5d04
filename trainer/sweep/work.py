"""Runs one cell, wherever that may be: claim it, do its work, record what came of it."""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.errors import RunError, TrainerError
from trainer.sweep.cell import Cell, Work
from trainer.sweep.cell_directory import CellDirectory, CellTakenError, Failure

Ending = Literal["done", "failed", "elsewhere", "lost"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A cell, and the folder that its directory is in."""

    cell: Cell
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a task ended.

    ``elsewhere``: another process is at the cell, or has just ended it, and nothing was done here. ``lost``:
    the process that did the work died.
    """

    name: str
    ending: Ending
    wall_s: float = 0.0


def perform(task: Task) -> Ended:
    """Do a task's work, unless another process is at it or it was ended meanwhile.

    Whatever the work raises is recorded in the cell's directory as its failure and never raised here, but for
    what stops the process itself (KeyboardInterrupt, SystemExit): then the cell waits, as if never begun.
    """
    began = time.monotonic()
    directory = CellDirectory.begin(task.folder, task.cell)
    try:
        with directory.claim():
            if directory.findings() is not None or directory.failure() is not None:
                return Ended(name=task.cell.name, ending="elsewhere")
            ending: Ending = "done" if _run(task.cell, directory) else "failed"
    except CellTakenError:
        return Ended(name=task.cell.name, ending="elsewhere")
    return Ended(name=task.cell.name, ending=ending, wall_s=time.monotonic() - began)


def _run(cell: Cell, directory: CellDirectory) -> bool:
    try:
        work: Work = function_named(cell.work)
        findings = work(cell, directory.run)
        wanted = {each.experiment for each in cell.rows}
        if findings.keys() != wanted:
            raise RunError(
                f"{cell.work} answered {', '.join(sorted(findings)) or 'nothing'} "
                f"where {', '.join(sorted(wanted))} was asked.",
                remedy="Mend the work.",
            )
        directory.finish(findings)
    except TrainerError as error:
        directory.fail(Failure(error=str(error), traceback=traceback.format_exc()))
        return False
    except Exception as error:  # noqa: BLE001  a cell's error is its result, and the others go on
        directory.fail(Failure(error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()))
        return False
    return True


def function_named(name: str) -> Callable[..., Any]:
    """The function ``module:function``. Raises RunError when there is none."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunError(f"{name} cannot be run: {error}.", remedy="Give it as module:function.") from error
    if not callable(found):
        raise RunError(f"{name} is no function.", remedy="Give it as module:function.")
    return found  # type: ignore[no-any-return]
