"""How every command line of the house ends: a fault that a person can mend is one message, no traceback."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import typer

from edge.errors import LeukoscopeError, StorageError


def run_app(app: typer.Typer) -> None:
    """Run ``app``; a LeukoscopeError becomes its message on standard error and its own exit code."""
    try:
        app()
    except LeukoscopeError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)


def run_with_extra(module: str, *, extra: str) -> None:
    """Run the ``main`` of ``module``, which needs the packages of ``extra``; say so where they are missing.

    A station has no use for them and does not install them, but has every command's name on its path.
    """
    try:
        commands = importlib.import_module(module)
    except ModuleNotFoundError as error:
        typer.echo(
            f"The package {error.name} is not installed. Install what this command needs: "
            f"pip install 'leukoscope[{extra}]'.",
            err=True,
        )
        sys.exit(LeukoscopeError.exit_code)
    commands.main()


def require_owner(place: Path, *, command: str) -> None:
    """Refuse another user than the owner of ``place``: what root writes there, the station could not open.

    Raises StorageError, with ``command`` as that user would give it; a place that is not there is nobody's.
    """
    if place.exists() and place.stat().st_uid != os.geteuid():
        raise StorageError(
            f"{place} is the station's own, and belongs to {place.owner()}.",
            remedy=f"Give the command as that user: sudo -u {place.owner()} leukoscope-edge {command} ...",
        )
