"""``leukoscope-trainer``: train the networks and measure them."""

from __future__ import annotations

import sys

import typer

from edge.errors import LeukoscopeError
from trainer.classification.cli import app as classifier
from trainer.detection.cli import app as detector

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Train Leukoscope's networks on labelled pictures, and measure them on pictures they have not seen.",
)
app.add_typer(detector, name="detector")
app.add_typer(classifier, name="classifier")


def main() -> None:
    """Run the command line; a fault that a person can mend is told in a line, without a traceback."""
    try:
        app()
    except LeukoscopeError as error:
        typer.echo(f"leukoscope-trainer: {error}", err=True)
        sys.exit(error.exit_code)
