"""``leukoscope-trainer classifier``: fit, evaluate, cross-validate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import torch
import typer

from edge.contract.manifest import Metric
from trainer.classification import measurements
from trainer.classification.corpus import ALL, FOLDS, HOUSE, SPLITS, Corpus, read_corpus
from trainer.classification.fit import ClassifierRecipe, fit_classifier
from trainer.errors import DataError, RunError
from trainer.run import RunDirectory

app = typer.Typer(no_args_is_help=True, help="The cell classifier: what a white cell is called.")

DEFAULT_DATA: Final = Path("../shared/data")
DataDir = Annotated[
    Path,
    typer.Option(
        "--data", envvar="LEUKOSCOPE_DATA", help="Folder with pbc_aml/, bccd_cells/, bccd/ and weights/."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Pretrained trunk: a file, or torchvision's name. [default: DATA/weights/mobilenet_v2.pth]"
    ),
]
FromScratch = Annotated[bool, typer.Option(help="Begin with random weights, on purpose.")]
Epochs = Annotated[int, typer.Option(min=1)]
SizePx = Annotated[int, typer.Option(min=32, help="Side of a crop.")]
VirtualCells = Annotated[int, typer.Option(min=1, help="Drawn cells of each class to mix in.")]
Seed = Annotated[int, typer.Option()]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: all cores]")]
Resume = Annotated[bool, typer.Option(help="Go on after the last whole epoch.")]


@app.command()
def fit(
    *,
    out: Annotated[Path, typer.Option(help="The run directory to make, or to go on in with --resume.")],
    split: Annotated[
        str, typer.Option(help=f"What to hold out: {', '.join(SPLITS)} (blocks, a laboratory, nothing).")
    ] = HOUSE,
    data: DataDir = DEFAULT_DATA,
    weights: Weights = None,
    from_scratch: FromScratch = False,
    epochs: Epochs = ClassifierRecipe.epochs,
    size_px: SizePx = ClassifierRecipe.size_px,
    virtual_cells: VirtualCells = ClassifierRecipe.virtual_per_class,
    seed: Seed = ClassifierRecipe.seed,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Train one network; Ctrl-C stops, --resume goes on."""
    _set_threads(threads)
    recipe = ClassifierRecipe(epochs=epochs, size_px=size_px, virtual_per_class=virtual_cells, seed=seed)
    corpus = _read(data, recipe, beside=out)
    _fit(recipe, corpus, split, out, weights=_weights(data, weights, from_scratch), resume=resume)
    typer.echo(f"Trained: {out}. Now: leukoscope-trainer classifier evaluate {out}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory that fit made.")],
    *,
    measured: Annotated[
        Path | None,
        typer.Option(
            help="Directory that cross-validate made: quote its figures and thresholds. A run that held "
            "nothing out needs it."
        ),
    ] = None,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Measure a run and make it ready to export; writes facts.json."""
    opened = RunDirectory.open(run)
    recipe, split = measurements.recipe_of(opened)
    corpus = _read(data, recipe, beside=run)
    if split not in {HOUSE, ALL}:
        raise RunError(
            f"{run} left the laboratory {split} out: it is a measurement, not a network to serve.",
            remedy="Evaluate a run of the split house or all; cross-validate measures the folds.",
        )
    facts = measurements.make_ready(opened, corpus, folds=measured)
    typer.echo(table(facts.metrics))


@app.command()
def cross_validate(
    *,
    out: Annotated[
        Path, typer.Option(help="Directory for the runs: house, and a run for everything left out.")
    ],
    data: DataDir = DEFAULT_DATA,
    weights: Weights = None,
    from_scratch: FromScratch = False,
    epochs: Epochs = ClassifierRecipe.epochs,
    size_px: SizePx = ClassifierRecipe.size_px,
    virtual_cells: VirtualCells = ClassifierRecipe.virtual_per_class,
    seed: Seed = ClassifierRecipe.seed,
    threads: Threads = None,
    resume: Resume = False,
) -> None:
    """Train and measure on held-out blocks and on each laboratory left out."""
    _set_threads(threads)
    recipe = ClassifierRecipe(epochs=epochs, size_px=size_px, virtual_per_class=virtual_cells, seed=seed)
    corpus = _read(data, recipe, beside=out / HOUSE)
    trunk = _weights(data, weights, from_scratch)
    for split in (HOUSE, *FOLDS):
        _fit(recipe, corpus, split, out / split, weights=trunk, resume=resume)
    typer.echo(table(measurements.measure_folds(out, corpus)))


def table(metrics: Sequence[Metric]) -> str:
    """Metrics as lines of text, one block for each thing they were measured on."""
    lines: list[str] = []
    for place in dict.fromkeys(each.measured_on for each in metrics):
        lines += ["", place]
        for each in metrics:
            if each.measured_on == place:
                interval = "" if each.low is None else f"[{each.low:.3f}, {each.high:.3f}]"
                lines.append(f"  {each.name:<76} {each.value:6.3f} {interval:<16} {each.samples:5} cells")
    return "\n".join(lines)


def _fit(
    recipe: ClassifierRecipe, corpus: Corpus, split: str, out: Path, *, weights: str | None, resume: bool
) -> None:
    chosen = corpus.split(split)
    run = RunDirectory.begin(
        out, {"split": split, "weights": weights, "recipe": recipe.configuration()}, resume=resume
    )
    fit_classifier(
        recipe,
        run,
        train=corpus.chosen(chosen.train) + corpus.virtual,
        held_out=corpus.chosen(chosen.held_out),
        weights=weights,
    )


def _read(data: Path, recipe: ClassifierRecipe, *, beside: Path) -> Corpus:
    return read_corpus(
        data,
        virtual_per_class=recipe.virtual_per_class,
        seed=recipe.seed,
        drawn=beside.parent / "drawn-cells.npz",
    )


def _weights(data: Path, weights: str | None, from_scratch: bool) -> str | None:
    if from_scratch and weights is not None:
        raise DataError("--weights and --from-scratch contradict each other.", remedy="Give one of them.")
    return None if from_scratch else weights or os.fspath(data / "weights" / "mobilenet_v2.pth")


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
