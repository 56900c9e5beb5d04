"""A sweep as a command runs it: where, stopped by Ctrl-C, gone on with by the same command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer

from trainer.sweep.cell import Cell
from trainer.sweep.cell_directory import CellDirectory
from trainer.sweep.executors import Executor, InThisProcess
from trainer.sweep.processes import Processes
from trainer.sweep.progress import ProgressLines
from trainer.sweep.ray_cluster import RayCluster
from trainer.sweep.run import CELLS, SweepResult, run_sweep

INTERRUPTED: Final = 130


def executor_for(
    *, workers: int = 1, gpus: str = "", ray: str | None = None, gpus_per_cell: float = 0.0
) -> Executor:
    """Here; or in so many processes, with CUDA devices (``0,1``) dealt out; or a Ray cluster."""
    if ray is not None:
        return RayCluster(address=ray, local_workers=workers, gpus=gpus_per_cell)
    if workers > 1 or gpus:
        return Processes(workers=workers, devices=[each for each in gpus.split(",") if each])
    return InThisProcess()


def go_through(
    cells: Sequence[Cell], *, out: Path, executor: Executor, retry_failed: bool = False
) -> SweepResult:
    """Run the cells that have not ended, a line for each on the terminal; Ctrl-C exits with 130."""
    try:
        return run_sweep(
            cells,
            out=out,
            executor=executor,
            progress=ProgressLines(total=len(cells), write=typer.echo),
            retry_failed=retry_failed,
        )
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on where it was.", err=True)
        raise typer.Exit(INTERRUPTED) from None


def status_lines(cells: Sequence[Cell], *, out: Path) -> list[str]:
    """How each cell stands, and why it failed."""
    lines = []
    for cell in cells:
        directory = CellDirectory(path=out / CELLS / cell.name)
        failure = directory.failure()
        lines.append(f"{directory.state():<8} {cell.name}  {failure.error if failure else ''}".rstrip())
    return lines
