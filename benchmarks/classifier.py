"""The cell classifier's figures: on held-out blocks, and on each laboratory left out.

    leukoscope-trainer classifier cross-validate --out runs/classifier-folds
    python benchmarks/classifier.py runs/classifier-folds          # asks the networks again
    python benchmarks/classifier.py runs/classifier-folds --kept   # as the cross-validation left them

A network that trained on all cells is not measured here: it has seen every cell there is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import LeukoscopeError
from trainer.classification import measurements
from trainer.classification.cli import DEFAULT_DATA, DataDir, table
from trainer.classification.corpus import HOUSE, read_corpus
from trainer.run import RunDirectory


def main(
    folds: Annotated[Path, typer.Argument(help="The directory that cross-validate made.")],
    *,
    data: DataDir = DEFAULT_DATA,
    kept: Annotated[bool, typer.Option(help="Print the figures on file instead of measuring again.")] = False,
) -> None:
    """Print the table of figures."""
    try:
        if kept:
            _, metrics = measurements.read_measured(folds)
        else:
            recipe, _ = measurements.recipe_of(RunDirectory.open(folds / HOUSE))
            corpus = read_corpus(
                data,
                virtual_per_class=recipe.virtual_per_class,
                seed=recipe.seed,
                drawn=folds / "drawn-cells.npz",
            )
            metrics = measurements.measure_folds(folds, corpus)
        typer.echo(table(metrics))
    except LeukoscopeError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
