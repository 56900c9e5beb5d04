"""``leukoscope-trainer``: train the networks and measure them."""

from __future__ import annotations

import typer

from edge.command_line import run_app
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
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
