"""How every command line of the house ends: a fault that a person can mend is one message, no traceback."""

from __future__ import annotations

import sys

import typer

from edge.errors import LeukoscopeError


def run_app(app: typer.Typer) -> None:
    """Run ``app``; a LeukoscopeError becomes its message on standard error and its own exit code."""
    try:
        app()
    except LeukoscopeError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
