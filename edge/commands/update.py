"""``leukoscope-edge update``: look at a station's updates, and bring one by hand."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Final

import typer

from edge.bundle import read_manifest
from edge.command_line import require_owner
from edge.commands.options import ConfigOption
from edge.config import load_config
from edge.errors import ConfigError, LeukoscopeError, StorageError
from edge.update.hand_look import HandLook
from edge.update.rules import Ledger
from edge.update.shadowing import told
from edge.update.sources import directory_source
from edge.update.store import UpdateStore
from edge.updating import UpdateRoom, required_update_room

app = typer.Typer(
    name="update",
    help="Bring signed bundles here; the running one is left alone until a new one has proved itself.",
    no_args_is_help=True,
)

_NOTHING_DONE: Final = {"nothing", "ready", "on_trial"}


@app.command()
def status(config: ConfigOption) -> None:
    """Say which bundle is active, what is under way, and what was given up."""
    room = _room(config)
    ledger = room.store.journal.read()
    for line in _told(room.store, ledger, base=room.base):
        typer.echo(line)
    by_hand = room.store.hand_look()
    if by_hand is not None and (words := by_hand.told(datetime.now(timezone.utc))):
        typer.echo(f"by hand   {words}")


@app.command()
def look(
    config: ConfigOption,
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A directory with the signed repository, such as a stick's mount."),
    ] = None,
) -> None:
    """Fetch the newest bundle and prove it here; the station tries it when its slide allows that.

    A stick is believed no more than the network: the same signatures, by the same root.
    """
    room = _writable_room(config)
    given = None if source is None else directory_source(source)
    try:
        outcome = room.updater(source=given, progress=_show).run_once()
    except LeukoscopeError as error:
        _note_hand_look(room.store, source, refused=True, detail=error.fault)
        raise
    _note_hand_look(room.store, source, refused=outcome.kind not in _NOTHING_DONE, detail=outcome.detail)
    offered = "" if outcome.offer is None else f"{outcome.offer.name} release {outcome.offer.release}: "
    typer.echo(f"{offered}{outcome.kind.replace('_', ' ')}, {outcome.detail}")
    if outcome.kind not in _NOTHING_DONE:
        raise typer.Exit(code=1)


@app.command()
def cancel(config: ConfigOption) -> None:
    """Give up the update under way; possible until its bundle is active."""
    given_up = _writable_room(config).updater().cancel()
    typer.echo("Nothing is under way." if given_up is None else f"{given_up.name} is given up.")


@app.command()
def forgive(
    bundle: Annotated[str, typer.Argument(help="The bundle's id, or how it begins.")], config: ConfigOption
) -> None:
    """Let a bundle that was given up be tried again."""
    room = _writable_room(config)
    known = [each for each in room.store.journal.read().histories if each.startswith(bundle)]
    if len(known) != 1:
        raise LeukoscopeError(
            f"{bundle!r} names {len(known)} of the bundles that were tried here.",
            remedy="`leukoscope-edge update status` lists them.",
        )
    room.updater().forgive(known[0])
    typer.echo(f"{known[0][:12]} may be tried again.")


def _room(path: Path) -> UpdateRoom:
    try:
        return required_update_room(load_config(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.fault}", remedy=error.remedy) from error


def _writable_room(path: Path) -> UpdateRoom:
    """Refuses another user than the station's: what root writes here, the station could not open again."""
    room = _room(path)
    place = room.store.root if room.store.root.exists() else room.config.state_dir
    require_owner(place, command="update")
    return room


def _note_hand_look(store: UpdateStore, source: Path | None, *, refused: bool, detail: str) -> None:
    """Leave word for the page of what came of a stick; where that cannot be kept, nothing else changes."""
    if source is None:
        return
    look = HandLook(
        at=datetime.now(timezone.utc), source=f"The repository at {source}", refused=refused, detail=detail
    )
    try:
        store.keep_hand_look(look)
    except StorageError as error:
        typer.echo(f"The page will not tell of this: {error}", err=True)


def _told(store: UpdateStore, ledger: Ledger, *, base: Path) -> list[str]:
    def named(bundle: str | None) -> str:
        try:
            manifest = read_manifest(base if bundle is None else store.shelf.place(bundle))
        except LeukoscopeError as error:
            return f"cannot be read ({error.fault})"
        installed = " (installed with the software)" if bundle is None else ""
        return f"{manifest.name} release {manifest.release}, {manifest.id[:12]}{installed}"

    active, previous = store.shelf.active, store.shelf.previous
    attempt = ledger.attempt
    if attempt is not None and attempt.state == "rolled_back" and attempt.trial is not None:
        # The links follow at the next look; the station opens what the journal says.
        active, previous = attempt.trial.previous, attempt.trial.older
    lines = [f"active    {named(active)}"]
    if active is not None:
        lines.append(f"before    {named(previous)}")
    if attempt is not None:
        offer = attempt.offer
        state = "proved, waits for the station" if attempt.is_ready else attempt.state.replace("_", "-")
        lines.append(f"under way {offer.name} release {offer.release}, {offer.id[:12]}: {state}")
        if attempt.shadow is not None:
            lines.append(f"          {told(attempt.shadow)}")
        if attempt.trial is not None:
            lines.append(f"          {attempt.trial.served_s:.0f} s served, {attempt.trial.deaths} deaths")
    for known, history in ledger.histories.items():
        if history.given_up:
            lines.append(f"given up  release {history.release}, {known[:12]}: {history.given_up}")
    return lines


def _show(done_bytes: int, total_bytes: int) -> None:
    """A download's progress on standard error, where somebody watches."""
    if sys.stderr.isatty():
        ended = done_bytes >= total_bytes
        typer.echo(f"\r{done_bytes / 1e6:.1f} of {total_bytes / 1e6:.1f} MB", err=True, nl=ended)
