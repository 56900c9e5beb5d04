"""``leukoscope-edge slide``: open and close slides from a script or a scanner, and look up pseudonyms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
import urllib3

from edge.command_line import require_owner
from edge.commands.options import ConfigOption
from edge.config import load_config
from edge.errors import ConfigError, LeukoscopeError, PageError
from edge.slide_identity import pseudonym
from edge.slides import pseudonyms
from edge.web.guard import CONTROL_HEADER
from edge.web.server import reachable_host

_ANSWER_S: Final = 10.0
_GOOD: Final = range(200, 300)

app = typer.Typer(
    name="slide",
    help="Open, pause, resume and close the slide of a running station; look up pseudonyms.",
    no_args_is_help=True,
)

PageOption = Annotated[
    str | None,
    typer.Option("--page", help="The running station's page.", show_default="from the configuration"),
]
AccessionArgument = Annotated[
    str | None,
    typer.Argument(
        help="The accession id. Left out, it is read from standard input, as a scanner types it, and stands "
        "in no list of processes.",
        show_default=False,
    ),
]


class SlideOrderError(LeukoscopeError):
    """An order that the station refused, in the station's own words."""

    exit_code = 64  # EX_USAGE


@app.command("open")
def open_slide(
    config: ConfigOption,
    accession: AccessionArgument = None,
    *,
    cells: Annotated[
        int | None,
        typer.Option(
            "--cells", min=1, max=10_000, help="Named cells to reach.", show_default="the station's own"
        ),
    ] = None,
    unnamed: Annotated[bool, typer.Option("--unnamed", help="Let the station give a name.")] = False,
    page: PageOption = None,
) -> None:
    """Open a slide, closing another; the one that is open under this id goes on."""
    slide = None if unnamed else _accession(accession)
    _order(_page(config, page), "open", {"slide": slide, "target_cells": cells})


@app.command()
def pause(config: ConfigOption, page: PageOption = None) -> None:
    """Count no more for now."""
    _order(_page(config, page), "pause", {})


@app.command()
def resume(config: ConfigOption, page: PageOption = None) -> None:
    """Count again."""
    _order(_page(config, page), "resume", {})


@app.command()
def close(config: ConfigOption, page: PageOption = None) -> None:
    """Close the slide; its differential grows no more."""
    _order(_page(config, page), "close", {})


@app.command("pseudonym")
def show_pseudonym(config: ConfigOption, accession: AccessionArgument = None) -> None:
    """Say what records call a slide, under the key in use and under those before it."""
    wanted = _accession(accession)
    names = pseudonyms(load_config(config))
    for key in (names.key(), *names.former_keys()):
        typer.echo(pseudonym(wanted, key))


@app.command("new-key")
def new_key(config: ConfigOption) -> None:
    """Hide accession ids under a new key from now on; the one before is kept, to look up older slides."""
    settings = load_config(config)
    if settings.slide.key_file is not None:
        raise ConfigError(
            f"This station uses the laboratory's key, {settings.slide.key_file}.",
            remedy="Put a new one in its place, on every station that shares it.",
        )
    require_owner(settings.state_dir, command="slide new-key")
    typer.echo(
        f"New key {pseudonyms(settings).make()}. Keep a copy of it where the laboratory keeps its keys."
    )


def _accession(argument: str | None) -> str:
    accession = argument if argument is not None else typer.get_text_stream("stdin").readline()
    if not accession.strip():
        raise SlideOrderError("No accession id was given.", remedy="Name or scan one, or say --unnamed.")
    return accession.strip()


def _page(config: Path, page: str | None) -> str:
    if page is not None:
        return page.rstrip("/")
    settings = load_config(config).page
    if not settings.enabled or not settings.port:
        raise PageError(
            "The configuration does not say where the station's page is.",
            remedy="Name it with --page, as the station's log does; or give it a port.",
        )
    host = reachable_host(settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _order(page: str, order: str, body: Mapping[str, object]) -> None:
    """Give an order to the station's page. Raises PageError, or SlideOrderError with the station's words."""
    try:
        answer = urllib3.request(
            "POST",
            f"{page}/api/slide/{order}",
            body=json.dumps(body),
            headers={"Content-Type": "application/json", CONTROL_HEADER: "1"},
            timeout=_ANSWER_S,
            retries=False,
        )
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise PageError(
            f"The station's page at {page} does not answer.",
            remedy="Start the station, or name its page with --page.",
        ) from error
    if answer.status in _GOOD:
        return
    try:
        told = answer.json()
        fault, remedy = str(told["fault"]), str(told["remedy"])
    except (ValueError, KeyError, TypeError) as error:
        raise PageError(
            f"What answers at {page} is no station's page.", remedy="Name it with --page."
        ) from error
    raise SlideOrderError(fault, remedy=remedy)
