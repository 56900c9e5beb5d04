"""``leukoscope-trainer``: train the networks and measure them."""

from __future__ import annotations

import typer

from edge.command_line import run_app
from trainer.classification.cli import app as classifier
from trainer.data.check_command import check
from trainer.data.fetch_command import fetch
from trainer.detection.cli import app as detector
from trainer.experiment.cli import compare, recipes, report, reproduce, train
from trainer.quantization.cli import app as quantize

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Train Leukoscope's networks on labelled pictures, and measure them on pictures they have not seen.",
)
data = typer.Typer(no_args_is_help=True, help="Labelled pictures: check a folder, fetch a public collection.")
data.command()(check)
data.command()(fetch)

for command in (recipes, reproduce, train, report, compare):
    app.command()(command)
app.add_typer(data, name="data")
app.add_typer(detector, name="detector")
app.add_typer(classifier, name="classifier")
app.add_typer(quantize, name="quantize")


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
