"""Goes through the cells of a sweep until each is done or has failed; whatever was done before stays done."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trainer.errors import RunError
from trainer.sweep.cell import Cell, Finding
from trainer.sweep.cell_directory import CellDirectory, CellTakenError, Failure
from trainer.sweep.executors import Executor
from trainer.sweep.progress import ProgressLines
from trainer.sweep.work import Ended, Task

CELLS: Final = "cells"
RESULTS: Final = "sweep.json"
_POLL_S: Final = 1.0
_MAX_LOSSES: Final = 3
_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one fold of one experiment came to. ``directory`` holds ``finding.files``."""

    experiment: str
    fold: int
    epochs: int | None
    directory: Path
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """All cells of a sweep at its end: what was found, and by cell name why the others failed."""

    found: tuple[Found, ...]
    failures: Mapping[str, Failure]

    def require_complete(self) -> None:
        """Raises RunError, naming the cells, where some failed."""
        if self.failures:
            by_error: defaultdict[str, list[str]] = defaultdict(list)
            for name, failure in sorted(self.failures.items()):
                by_error[failure.error].append(name)
            # What is wrong with the data or the weights is wrong in every fold: it is said once.
            lines = "\n".join(f"  {_some(names)}: {error}" for error, names in by_error.items())
            raise RunError(
                f"{len(self.failures)} cells failed:\n{lines}\n",
                remedy="See failure.json in their folders; --retry-failed tries them again.",
            )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def run_sweep(
    cells: Sequence[Cell],
    *,
    out: Path,
    executor: Executor,
    progress: ProgressLines,
    retry_failed: bool = False,
    max_losses: int = _MAX_LOSSES,
    pause: Callable[[float], None] = time.sleep,
) -> SweepResult:
    """Run the cells that have not ended yet, and write what all of them found to ``out``/sweep.json.

    A cell fails when its work raises, or when the process that runs it died ``max_losses`` times in this
    call; the others go on. Cells that failed before are left alone, or tried again with ``retry_failed``.
    Cells at which another sweep is are waited for. Raises RunError when ``out`` holds a cell of the same name
    with other settings.
    """
    folder = out / CELLS
    directories = {each.name: CellDirectory.begin(folder, each) for each in cells}
    if len(directories) < len(cells):
        raise ValueError("two cells of one name")
    if retry_failed:
        _forget_failures(directories.values())
    sweep = _Sweep(
        cells={each.name: each for each in cells},
        directories=directories,
        folder=folder,
        progress=progress,
        max_losses=max_losses,
    )
    sweep.look_around()
    if sweep.open:
        with executor:
            _go_on(sweep, executor, pause)
    result = collect(cells, out=out)
    _write_results(result, out)
    return result


def _go_on(sweep: _Sweep, executor: Executor, pause: Callable[[float], None]) -> None:
    while sweep.open:
        sweep.start(executor)
        ended = executor.wait(_POLL_S) if sweep.running else ()
        for each in ended:
            sweep.take(each)
        if not ended:
            if not sweep.running:
                pause(_POLL_S)
            sweep.look_again()


def collect(cells: Sequence[Cell], *, out: Path) -> SweepResult:
    """What is on disk of these cells, in their order."""
    found: list[Found] = []
    failures: dict[str, Failure] = {}
    for cell in cells:
        directory = CellDirectory(path=out / CELLS / cell.name)
        findings, failure = directory.findings(), directory.failure()
        if findings is not None:
            found += [
                Found(
                    experiment=row.experiment,
                    fold=cell.fold,
                    epochs=row.epochs,
                    directory=directory.run,
                    finding=findings[row.experiment],
                )
                for row in cell.rows
            ]
        elif failure is not None:
            failures[cell.name] = failure
    return SweepResult(found=tuple(found), failures=failures)


@dataclass(kw_only=True)
class _Sweep:
    """Which cells wait, which run here and which run elsewhere; the truth about each is on disk."""

    cells: Mapping[str, Cell]
    directories: Mapping[str, CellDirectory]
    folder: Path
    progress: ProgressLines
    max_losses: int
    waiting: deque[str] = field(default_factory=deque)
    running: set[str] = field(default_factory=set)
    elsewhere: list[str] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)

    @property
    def open(self) -> bool:
        return bool(self.waiting or self.running or self.elsewhere)

    def look_around(self) -> None:
        """Find out what is left to do."""
        for name, directory in self.directories.items():
            if directory.damaged():
                self.progress.note(f"{name} was done, but its files have changed since: it runs again")
            if directory.findings() is None and directory.failure() is None:
                self.waiting.append(name)
        self.progress.known(len(self.cells) - len(self.waiting))

    def start(self, executor: Executor) -> None:
        """Fill the executor."""
        while self.waiting and len(self.running) < executor.workers:
            name = self.waiting.popleft()
            executor.start(Task(cell=self.cells[name], folder=self.folder))
            self.running.add(name)

    def take(self, ended: Ended) -> None:
        """Note how a task ended."""
        self.running.remove(ended.name)
        if ended.ending == "lost":
            self._lost(ended)
        elif not self._report(ended.name, ended.wall_s):
            self.elsewhere.append(ended.name)

    def look_again(self) -> None:
        """Report what ended elsewhere, and let the rest be tried: who was at it may have died."""
        self.waiting.extend(name for name in self.elsewhere if not self._report(name, 0.0))
        self.elsewhere.clear()

    def _report(self, name: str, wall_s: float) -> bool:
        """Write the line of a cell that has ended; False where it has not."""
        directory = self.directories[name]
        findings, failure = directory.findings(), directory.failure()
        if findings is not None:
            self.progress.done(name, wall_s=wall_s, findings=findings)
        elif failure is not None:
            self.progress.failed(name, wall_s=wall_s, error=failure.error)
        return findings is not None or failure is not None

    def _lost(self, ended: Ended) -> None:
        name = ended.name
        self.losses[name] += 1
        if self._report(name, ended.wall_s):
            return  # it died after the work was recorded
        if self.losses[name] < self.max_losses:
            self.progress.note(f"{name}: the process that ran it died; it is tried again")
            self.waiting.append(name)
            return
        try:
            with self.directories[name].claim():
                self.directories[name].fail(
                    Failure(error=f"The process that ran it died {self.losses[name]} times: out of memory?")
                )
        except CellTakenError:
            self.elsewhere.append(name)
            return
        self._report(name, ended.wall_s)


def _forget_failures(directories: Iterable[CellDirectory]) -> None:
    for directory in directories:
        # One that is taken is being tried already.
        with suppress(CellTakenError), directory.claim():
            directory.forget_failure()


def _write_results(result: SweepResult, out: Path) -> None:
    """All figures in one file, which is the same for the same cells however they were run."""
    content = {
        "found": [
            {
                "experiment": each.experiment,
                "fold": each.fold,
                "epochs": each.epochs,
                "directory": str(each.directory.relative_to(out)),
                "figures": dict(each.finding.figures),
                "files": list(each.finding.files),
            }
            for each in result.found
        ],
        "failed": {name: failure.error for name, failure in result.failures.items()},
    }
    partial = out / f".{RESULTS}.partial"
    partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")
    partial.replace(out / RESULTS)
