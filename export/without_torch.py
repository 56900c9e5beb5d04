"""The commands that need no torch: signing and publishing, and building engines on a station."""

from __future__ import annotations

import typer

from edge.command_line import run_app
from export.engine_cli import app as engine_commands
from export.publishing.cli import app as delivery_commands

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(engine_commands)
app.add_typer(delivery_commands)


def main() -> None:
    """Run the command line."""
    run_app(app)
