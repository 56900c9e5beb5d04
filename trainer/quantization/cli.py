"""``leukoscope-trainer quantize``: eight bits after a training, or with some more of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer

from trainer.errors import TrainerError
from trainer.quantization.calibrate import METHODS, MIN_PICTURES, Method
from trainer.quantization.opening import open_subject, source_run, task_of
from trainer.quantization.quantize import Choice, aware_training, post_training, weights_digest
from trainer.quantization.report import PTQ_BUDGET_POINTS, QAT_BUDGET_POINTS, table
from trainer.quantization.subject import FineTuning, Subject
from trainer.run import RunDirectory

app = typer.Typer(
    no_args_is_help=True, help="Eight bits for a trained network, and what they cost on held-out pictures."
)
DEFAULT_DATA: Final = Path("../shared/data")
Run = Annotated[
    Path,
    typer.Argument(
        help="A finished run of `detector fit` or `classifier fit`, or a folder that `train RECIPE` made."
    ),
]
ExperimentName = Annotated[
    str | None,
    typer.Option("--experiment", help="Of a recipe's folder: whose network, where it keeps several."),
]
FoldNumber = Annotated[
    int | None,
    typer.Option("--fold", min=0, help="Of a recipe's folder: of which fold, where it has several."),
]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="LEUKOSCOPE_DATA",
        help="Folder of what a detector or classifier was trained on; a recipe's run knows its own.",
    ),
]
MethodName = Annotated[
    str | None,
    typer.Option(
        "--ranges",
        help=f"How ranges are chosen: {', '.join(METHODS)}. [default: the one with the least noise]",
    ),
]
KeepFloat = Annotated[
    list[str] | None, typer.Option(help="A layer to leave in float whatever it costs; may be repeated.")
]
CalibrationPictures = Annotated[
    int | None,
    typer.Option(
        min=MIN_PICTURES,
        help="Pictures to find ranges on. [default: classifier 256, detector 96, recipe 128]",
    ),
]
TuningPictures = Annotated[
    int | None,
    typer.Option(
        min=MIN_PICTURES,
        help="Pictures, of the training part, to compare versions on. [default: classifier 280, detector 48, "
        "recipe 128]",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: all cores]")]
Resume = Annotated[bool, typer.Option(help="Go on where an interrupted call stopped.")]


@app.command()
def ptq(
    run: Run,
    *,
    experiment: ExperimentName = None,
    fold: FoldNumber = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory to make. [default: the run's name with -ptq]")
    ] = None,
    data: DataDir = DEFAULT_DATA,
    ranges: MethodName = None,
    keep_float: KeepFloat = None,
    search: Annotated[
        bool, typer.Option(help="Measure every layer, and leave the worst in float to keep to the budget.")
    ] = True,
    budget: Annotated[float, typer.Option(min=0, help="Points that may be lost.")] = PTQ_BUDGET_POINTS,
    calibration_pictures: CalibrationPictures = None,
    tuning_pictures: TuningPictures = None,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Quantize as it is: ranges from training pictures, the cost from held-out ones."""
    choice = Choice(
        budget_points=budget,
        method=_method(ranges),
        always_float=tuple(keep_float or ()),
        search=search,
    )
    place = out or run.with_name(f"{run.name}-ptq")
    source = source_run(run, experiment=experiment, fold=fold)
    wanted = _configuration(source, choice, calibration_pictures, tuning_pictures)
    _demand_place(place, wanted, resume=resume)
    subject = _open(source, data, calibration_pictures, tuning_pictures, threads)
    made = RunDirectory.begin(place, wanted, resume=resume)
    typer.echo(table(post_training(subject, made, choice, source=source)))


@app.command()
def qat(
    run: Run,
    *,
    experiment: ExperimentName = None,
    fold: FoldNumber = None,
    out: Annotated[
        Path | None, typer.Option(help="The run directory to make. [default: the run's name with -qat]")
    ] = None,
    data: DataDir = DEFAULT_DATA,
    epochs: Annotated[int, typer.Option(min=1)] = FineTuning.epochs,
    rate: Annotated[
        float, typer.Option(min=0, help="In parts of the rate that the run was trained at.")
    ] = FineTuning.rate,
    following: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the steps in which ranges still move.")
    ] = FineTuning.following,
    continued: Annotated[
        bool,
        typer.Option(
            help="Train the float network on for as long, too, to tell what eight bits cost from what more "
            "training gives. Takes twice the time."
        ),
    ] = True,
    ranges: MethodName = None,
    keep_float: KeepFloat = None,
    budget: Annotated[float, typer.Option(min=0, help="Points that may be lost.")] = QAT_BUDGET_POINTS,
    calibration_pictures: CalibrationPictures = None,
    tuning_pictures: TuningPictures = None,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Train on with rounded layers, on the run's own pictures; Ctrl-C stops, --resume goes on."""
    choice = Choice(
        budget_points=budget,
        method=_method(ranges),
        always_float=tuple(keep_float or ()),
        search=False,
    )
    tuning = FineTuning(epochs=epochs, rate=rate, following=following)
    place = out or run.with_name(f"{run.name}-qat")
    source = source_run(run, experiment=experiment, fold=fold)
    wanted = _configuration(source, choice, calibration_pictures, tuning_pictures)
    wanted["fine_tuning"] = vars(tuning)
    _demand_place(place, wanted, resume=resume)
    subject = _open(source, data, calibration_pictures, tuning_pictures, threads)
    made = RunDirectory.begin(place, wanted, resume=resume)
    typer.echo(table(aware_training(subject, made, choice, tuning, source=source, continued=continued)))


def _method(name: str | None) -> Method | None:
    known: dict[str, Method] = {each: each for each in METHODS}
    if name is None:
        return None
    if name not in known:
        raise TrainerError(
            f"There is no way {name!r} to choose ranges.", remedy=f"Known: {', '.join(METHODS)}."
        )
    return known[name]


def _open(run: Path, data: Path, calibration: int | None, tuning: int | None, threads: int | None) -> Subject:
    if threads is not None:
        torch.set_num_threads(threads)
    return open_subject(
        run,
        data,
        calibration_pictures=calibration,
        tuning_pictures=tuning,
        drawn=run.parent / "drawn-cells.npz",
    )


def _configuration(run: Path, choice: Choice, calibration: int | None, tuning: int | None) -> dict[str, Any]:
    """The run's own weights are part of what is asked for: another training is not gone on with."""
    directory = RunDirectory.open(run)
    task_of(directory)
    directory.require("last")
    return {
        "quantizes": str(run),
        "weights_digest": weights_digest(run),
        "choice": vars(choice),
        "calibration_pictures": calibration,
        "tuning_pictures": tuning,
    }


def _demand_place(place: Path, wanted: dict[str, Any], *, resume: bool) -> None:
    """Refuse a directory of something else now, not after a minute of reading pictures."""
    if place.exists():
        RunDirectory.begin(place, wanted, resume=resume)
