"""``leukoscope-trainer recipes | reproduce | train | report | compare``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from torch.distributed import is_torchelastic_launched

from trainer.errors import RecipeError
from trainer.evaluation.compare import compare as compare_predictions
from trainer.evaluation.evaluation import Evaluation, Figure
from trainer.experiment.assemble import Assembled, assemble, predictions_of, report_of
from trainer.experiment.comparison import as_text
from trainer.experiment.markdown import in_markdown
from trainer.experiment.options import classes_of, hold_out_of, settings_of
from trainer.experiment.plan import cells, chosen_experiments
from trainer.experiment.request import Protocol, Request
from trainer.experiment.runner import run_fold
from trainer.experiment.subject import read_subject
from trainer.fabric import Precision
from trainer.recipes.recipe import Recipe
from trainer.recipes.shelf import load_recipe, recipe_names
from trainer.report.write import PAGE, write_report
from trainer.sweep.cell import Cell
from trainer.sweep.cell_directory import CellDirectory
from trainer.sweep.command import executor_for, go_through, status_lines
from trainer.sweep.run import CELLS

RecipeName = Annotated[str, typer.Argument(help="A recipe's name (see `recipes`), or a TOML file.")]
DataFolder = Annotated[Path, typer.Option("--data", help="The folder of labelled pictures.")]
OutFolder = Annotated[Path, typer.Option("--out", help="The folder to make, or to go on in.")]
Layout = Annotated[str | None, typer.Option("--format", help="Its layout, where the folder does not tell.")]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave broken files out and say so, instead of stopping.")
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="CLASS=LABEL,LABEL", help="Which labels are which class; once for each."),
]
AtMost = Annotated[int | None, typer.Option(min=1, help="Use at most so many pictures of each class.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting: training.batch=8.")
]
Small = Annotated[bool, typer.Option("--small", help="The recipe's size for a processor without a GPU.")]
Weights = Annotated[
    str | None, typer.Option(help="Pretrained weights: a file, or torchvision's name. [default: by name]")
]
FromScratch = Annotated[bool, typer.Option("--from-scratch", help="Begin with noise, on purpose.")]
PrecisionName = Annotated[
    Precision, typer.Option("--precision", help="bf16-mixed anywhere, 16-mixed on a GPU.")
]
Accelerator = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the training step: for long trainings.")]
ChannelsLast = Annotated[
    bool, typer.Option("--channels-last", help="Lay weights out as tensor cores want them.")
]
HoldOutName = Annotated[
    str | None,
    typer.Option(
        "--hold-out",
        metavar="laboratory[=NAME]",
        help="Hold a whole laboratory out: each in turn, or the one named. Of the honest protocol.",
    ),
]
Only = Annotated[
    list[str] | None, typer.Option(metavar="EXPERIMENT", help="Only this experiment; may be given again.")
]


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's rows and assumptions.")] = None,
) -> None:
    """List the recipes, or show one."""
    if name is not None:
        typer.echo(_shown(load_recipe(name)))
        return
    for each in recipe_names():
        recipe = load_recipe(each)
        count = len(recipe.experiments)
        typer.echo(f"{each:<20} {count:>2} experiment{'s' if count > 1 else ' '}  {recipe.title}")


def reproduce(
    recipe: RecipeName,
    *,
    data: DataFolder,
    out: OutFolder,
    protocol: Annotated[
        Protocol,
        typer.Option(help="published follows the paper; honest parts no patient, slide or block."),
    ] = "published",
    only: Only = None,
    small: Small = False,
    layout: Layout = None,
    skip_broken: SkipBroken = False,
    classes: Classes = None,
    at_most: AtMost = None,
    folds: Annotated[
        int | None, typer.Option(min=1, help="Folds of the honest protocol; 1 is a hold-out.")
    ] = None,
    hold_out: HoldOutName = None,
    changes: Settings = None,
    weights: Weights = None,
    from_scratch: FromScratch = False,
    precision: PrecisionName = "32-true",
    accelerator: Accelerator = "auto",
    compile: Compile = False,  # noqa: A002 - the option's name
    channels_last: ChannelsLast = False,
    workers: Annotated[int, typer.Option(min=1, help="Folds at a time on this machine.")] = 1,
    gpus: Annotated[str, typer.Option(help="CUDA devices to deal out to --workers, such as 0,1.")] = "",
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="On a Ray cluster: auto, HOST:PORT, or local.")
    ] = None,
    gpus_per_fold: Annotated[float, typer.Option(min=0, help="With --ray: a fold's share of a GPU.")] = 0.0,
    retry_failed: Annotated[bool, typer.Option(help="Try folds again that failed before.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how the folds stand; run none.")] = False,
) -> None:
    """Run a published system, and print the paper's tables beside its own.

    Ctrl-C stops; the same command goes on. Every experiment of the recipe runs in every fold.
    """
    request = Request(
        recipe=recipe,
        data=data,
        protocol=protocol,
        small=small,
        format=layout,
        broken="skip" if skip_broken else "fatal",
        classes=classes_of(classes or []),
        at_most=at_most,
        folds=folds,
        **hold_out_of(hold_out, protocol=protocol, folds=folds),
        changes=settings_of(changes or []),
        weights=weights,
        from_scratch=from_scratch,
        precision=precision,
        accelerator=accelerator,
        compile=compile,
        channels_last=channels_last,
    )
    planned = cells(request, chosen_experiments(request, only or ()))
    if status:
        for line in status_lines(planned, out=out):
            typer.echo(line)
        return
    _demand_pictures(request, planned)
    request.save(out)
    executor = executor_for(workers=workers, gpus=gpus, ray=ray, gpus_per_cell=gpus_per_fold)
    result = go_through(planned, out=out, executor=executor, retry_failed=retry_failed)
    if result.found:
        _tell([assemble(out)], out, command=_command())
    result.require_complete()


def train(
    recipe: RecipeName,
    *,
    data: DataFolder,
    out: OutFolder,
    experiment: Annotated[str | None, typer.Option(help="Which one. [default: the recipe's first]")] = None,
    small: Small = False,
    layout: Layout = None,
    skip_broken: SkipBroken = False,
    classes: Classes = None,
    at_most: AtMost = None,
    hold_out: HoldOutName = None,
    changes: Settings = None,
    weights: Weights = None,
    from_scratch: FromScratch = False,
    precision: PrecisionName = "32-true",
    accelerator: Accelerator = "auto",
    compile: Compile = False,  # noqa: A002 - the option's name
    channels_last: ChannelsLast = False,
) -> None:
    """Train one network on your pictures, judge it on held-out groups, and keep it.

    With --hold-out laboratory=NAME it is judged on that laboratory, of which it has seen nothing. The same
    under `torchrun --nproc-per-node N -m trainer.cli train ...` on many GPUs or hosts. Stopped at any point,
    the same command goes on.
    """
    request = Request(
        recipe=recipe,
        data=data,
        protocol="honest",
        small=small,
        format=layout,
        broken="skip" if skip_broken else "fatal",
        classes=classes_of(classes or []),
        at_most=at_most,
        folds=None if hold_out else 1,
        **hold_out_of(hold_out, protocol="honest", folds=None),
        changes=settings_of(changes or []),
        weights=weights,
        from_scratch=from_scratch,
        precision=precision,
        accelerator=accelerator,
        compile=compile,
        channels_last=channels_last,
        keep_networks=True,
    )
    name = chosen_experiments(request, [experiment] if experiment else ())[0]
    planned = cells(request, [name])
    if len(planned) > 1:
        raise RecipeError(
            f"One network is trained, and {len(planned)} laboratories could be held out.",
            remedy="Name one with --hold-out laboratory=NAME, or let `reproduce` hold out each in turn.",
        )
    (cell,) = planned
    fabric = request.fabric(devices="auto" if is_torchelastic_launched() else 1)
    processes = fabric.launch()
    with processes.rank_zero_first(local=True):
        request.save(out)
    directory = CellDirectory.begin(out / CELLS, cell)
    if directory.findings() is None:
        findings = run_fold(cell, directory.run, fabric=fabric)
        if processes.is_global_zero:
            with directory.claim():
                directory.finish(findings)
    if processes.is_global_zero:
        _tell([assemble(out)], out, command=_command())
        typer.echo(f"The network is in {directory.run}.")


def report(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `reproduce` or `train` made.")],
    *,
    out: Annotated[Path | None, typer.Option(help="Where to write it. [default: the first folder]")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file, too.")] = None,
) -> None:
    """Write one report of one or more folders of a recipe: the honest protocol beside the published one."""
    assembled = [assemble(each) for each in folders]
    _tell(assembled, out or folders[0], command=_command())
    if markdown is not None:
        markdown.write_text(in_markdown(assembled), "utf-8")


def compare(
    first: Annotated[Path, typer.Argument(help="A folder that `reproduce` or `train` made.")],
    second: Annotated[Path, typer.Argument(help="Another, on the same pictures and folds.")],
    *,
    experiment: Annotated[str, typer.Option(help="The experiment of the first folder.")],
    other: Annotated[str | None, typer.Option(help="That of the second. [default: the same name]")] = None,
) -> None:
    """Tell two runs apart on the same held-out pictures: McNemar's test, and an interval over groups."""
    found = compare_predictions(
        predictions_of(first, experiment),
        predictions_of(second, other or experiment),
        names=(f"{first.name}/{experiment}", f"{second.name}/{other or experiment}"),
        leaky=any(Request.load(each).protocol == "published" for each in (first, second)),
    )
    typer.echo(found.words)
    typer.echo(
        f"both right {found.both_right}, only the first {found.only_first_right}, only the second "
        f"{found.only_second_right}, both wrong {found.both_wrong}; {found.method}: p = {found.p_value:.3g}"
    )
    typer.echo(f"accuracy, second minus first: {_interval(found.accuracy_difference)}")
    typer.echo(f"balanced accuracy, second minus first: {_interval(found.balanced_accuracy_difference)}")


def _demand_pictures(request: Request, planned: Sequence[Cell]) -> None:
    """Read the collection for each task before anything is begun: what is wrong with it is told once.

    Costs nothing on top: the report reads it in this process, too, and it is kept.
    """
    experiments = [request.resolved(each.rows[0].experiment) for each in planned]
    for recipe in {each.experiments[0].task: each for each in experiments}.values():
        read_subject(request, recipe)


def _tell(assembled: Sequence[Assembled], out: Path, *, command: str) -> None:
    """Write the report, and say on the terminal what matters most of it."""
    for each in assembled:
        typer.echo(f"\n{each.folder}, {each.request.protocol} protocol")
        for name, outcome in each.outcomes.items():
            typer.echo(f"  {name}: {_in_short(outcome.evaluation)}")
        if shown := each.rows():
            typer.echo("\n" + as_text(shown))
    first = assembled[0]
    if first.recipe.assumptions:
        typer.echo("\nWhat the paper leaves open:")
        for sentence in first.recipe.assumptions:
            typer.echo(f"  - {sentence}")
    write_report(out, report_of(assembled, command=command))
    typer.echo(f"\nReport: {out / PAGE}")


def _in_short(evaluation: Evaluation) -> str:
    colour = evaluation.colour_baseline.overall.reached.balanced_accuracy
    words = (
        f"balanced accuracy {_interval(evaluation.figure('balanced_accuracy'))}, colour alone "
        f"{_interval(colour)}, {evaluation.pictures} pictures of {evaluation.groups} groups"
    )
    if evaluation.leaky:
        words += f"; {evaluation.leaking_groups} groups stand on both sides"
    return words


def _interval(figure: Figure) -> str:
    if figure.value is None:
        return f"not defined ({figure.why})"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _shown(recipe: Recipe) -> str:
    lines = [recipe.title, f"Data: {recipe.data}"]
    if recipe.reference is not None:
        lines.insert(1, f"{recipe.reference.authors}, {recipe.reference.venue}")
    lines += ["", "Experiments:"]
    for each in recipe.experiments:
        count = len(recipe.published_for(each.name))
        lines.append(f"  {each.name:<28} {each.title} ({count} published figures)")
    if recipe.small is not None:
        lines += ["", f"--small: {recipe.small.differs}"]
    if recipe.assumptions:
        lines += ["", "What the paper leaves open:", *(f"  - {each}" for each in recipe.assumptions)]
    return "\n".join(lines)


def _command() -> str:
    return shlex.join(["leukoscope-trainer", *sys.argv[1:]])
