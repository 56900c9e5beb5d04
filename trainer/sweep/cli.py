"""``leukoscope-trainer sweep``: a recipe's whole grid, here, in processes, or on a Ray cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from trainer.errors import RecipeError
from trainer.sweep.cell import Cell
from trainer.sweep.cell_directory import CellDirectory
from trainer.sweep.executors import Executor, InThisProcess
from trainer.sweep.plan import Judging, Plan, PlanRequest
from trainer.sweep.processes import Processes
from trainer.sweep.progress import ProgressLines
from trainer.sweep.ray_cluster import RayCluster
from trainer.sweep.run import CELLS, RESULTS, run_sweep
from trainer.sweep.work import function_named

PLAN: Final = "trainer.experiment.plan:cells"
INTERRUPTED: Final = 130


def sweep_command(*, plan: str = PLAN) -> Callable[..., None]:
    """The command, to be mounted; ``plan`` names the function that turns a recipe into cells.

    It is loaded when the command runs, since planning needs packages that the other commands should not wait
    for.
    """

    def sweep(
        recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.")],
        *,
        data: Annotated[Path, typer.Option(help="The folder of labelled pictures.")],
        out: Annotated[Path, typer.Option(help="The sweep's folder, to make or to go on in.")],
        workers: Annotated[int, typer.Option(min=1, help="Cells at a time on this machine.")] = 1,
        ray: Annotated[
            str | None,
            typer.Option(metavar="ADDRESS", help="Run on a Ray cluster: auto, HOST:PORT, or local."),
        ] = None,
        gpus: Annotated[str, typer.Option(help="CUDA devices to deal out to --workers, such as 0,1.")] = "",
        gpus_per_cell: Annotated[
            float, typer.Option(min=0, help="With --ray: the share of a GPU that a cell needs.")
        ] = 0.0,
        cpus_per_cell: Annotated[
            float, typer.Option(min=0.1, help="With --ray: the processors that a cell needs.")
        ] = 1.0,
        only: Annotated[
            list[str] | None,
            typer.Option(metavar="EXPERIMENT", help="Only this experiment; may be given again."),
        ] = None,
        protocol: Annotated[Judging, typer.Option(help="Follow the paper, or judge honestly.")] = "honest",
        changes: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="A setting, such as training.batch=8."),
        ] = None,
        retry_failed: Annotated[bool, typer.Option(help="Try cells again that failed before.")] = False,
        status: Annotated[bool, typer.Option("--status", help="Say how the cells stand; run none.")] = False,
    ) -> None:
        """Run every experiment of a recipe in every fold. Ctrl-C stops; the same command goes on."""
        request = PlanRequest(recipe=recipe, data=data, protocol=protocol, changes=_changes(changes or []))
        planned: Plan = function_named(plan)
        cells = _chosen(planned(request), only or [])
        if status:
            _say_status(cells, out)
            return
        if ray is not None:
            executor: Executor = RayCluster(
                address=ray, local_workers=workers, cpus=cpus_per_cell, gpus=gpus_per_cell
            )
        elif workers > 1 or gpus:
            executor = Processes(workers=workers, devices=[each for each in gpus.split(",") if each])
        else:
            executor = InThisProcess()
        progress = ProgressLines(total=len(cells), write=typer.echo)
        try:
            result = run_sweep(
                cells, out=out, executor=executor, progress=progress, retry_failed=retry_failed
            )
        except KeyboardInterrupt:
            typer.echo("Stopped. The same command goes on where it was.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        typer.echo(f"{len(result.found)} results in {out / RESULTS}")
        result.require_complete()

    return sweep


def _chosen(cells: Sequence[Cell], only: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that answer one of these experiments, or all. Raises RecipeError for one that is unknown."""
    named = {row.experiment: None for cell in cells for row in cell.rows}
    for each in only:
        if each not in named:
            raise RecipeError(f"There is no experiment {each!r}.", remedy=f"It has {', '.join(named)}.")
    wanted = set(only or named)
    return tuple(cell for cell in cells if any(row.experiment in wanted for row in cell.rows))


def _say_status(cells: Sequence[Cell], out: Path) -> None:
    for cell in cells:
        directory = CellDirectory(path=out / CELLS / cell.name)
        failure = directory.failure()
        typer.echo(f"{directory.state():<8} {cell.name}  {failure.error if failure else ''}".rstrip())


def _changes(texts: Sequence[str]) -> dict[str, Any]:
    """Settings given as KEY=VALUE; a value is JSON, or else a word. Raises RecipeError for another form."""
    changes: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            raise RecipeError(f"{text!r} is no setting.", remedy="Give it as KEY=VALUE.")
        try:
            changes[key] = json.loads(value)
        except ValueError:
            changes[key] = value
    return changes
