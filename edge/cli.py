"""The station's commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, TextIO

import typer

from edge.bundle import open_bundle, starter_bundle
from edge.command_line import run_app
from edge.commands.calibrate import app as calibrate_commands
from edge.commands.options import ConfigOption
from edge.commands.slide import app as slide_commands
from edge.commands.update import app as update_commands
from edge.config import load_config
from edge.demo import DemoOptions, run_demo
from edge.doctor.examination import PARTS, examine
from edge.doctor.finding import Grade
from edge.errors import ConfigError, ImageError, LeukoscopeError
from edge.logs import LogFormat, set_up_logging
from edge.networks import open_networks
from edge.offline import JsonLine, analyze_images, classify_images, write_lines
from edge.running import run_station
from edge.validate import app as validate_commands

_NOT_FOR_DIAGNOSIS = "Leukoscope helps a morphologist look. It is not for diagnosis."

app = typer.Typer(
    help=f"A microscope station that finds and names white blood cells in smear frames. {_NOT_FOR_DIAGNOSIS}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(update_commands)
app.add_typer(calibrate_commands)
app.add_typer(slide_commands)
app.add_typer(validate_commands, name="validate")

BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", help="The bundle's directory.", show_default="the installed starter bundle"),
]
ImagesArgument = Annotated[list[Path], typer.Argument(help="Image files.", show_default=False)]
JsonOption = Annotated[Path, typer.Option("--json", help="Where the JSON lines go; '-' for standard output.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", min=0, max=64, help="Processor threads; 0 = all but one.")
]


@app.command()
def run(
    config: ConfigOption,
    exit_when_finished: Annotated[
        bool,
        typer.Option(
            "--exit-when-finished",
            help="End when a replay (folder, file) is at its end and everything is delivered.",
        ),
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="Lines for a person, fields for systemd's journal, or JSON lines.")
    ] = "plain",
) -> None:
    """Run the station until it is told to stop."""
    set_up_logging(log_format)
    run_station(load_config(config), exit_when_finished=exit_when_finished)


@app.command()
def demo(
    images: Annotated[
        Path | None,
        typer.Option(help="A folder of smear images instead of the generated smear."),
    ] = None,
    bundle: BundleOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Which generated smear.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The page's port; 0 = any free one.")] = 8470,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    directory: Annotated[
        Path | None,
        typer.Option(help="Where the demo keeps its files.", show_default="a temporary directory"),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Stop by itself after so long.", show_default="never")
    ] = None,
) -> None:
    """Show the whole loop on this machine: smear, station, page, broker and collector."""
    run_demo(
        DemoOptions(
            bundle=bundle,
            images=images,
            seed=seed,
            port=port,
            browser=browser,
            directory=directory,
            seconds=seconds,
        )
    )


@app.command()
def doctor(
    config: ConfigOption,
    part: Annotated[
        list[str] | None,
        typer.Option(help="Only this part, may be given again.", show_default=", ".join(PARTS)),
    ] = None,
) -> None:
    """Look over every part of the station and what it stands on; say what to do about each."""
    if unknown := set(part or ()) - set(PARTS):
        raise ConfigError(f"There is no part {min(unknown)!r}.", remedy=f"Known: {', '.join(PARTS)}.")
    colours = {Grade.GOOD: "green", Grade.DOUBTFUL: "yellow", Grade.BAD: "red"}
    worst = Grade.GOOD
    for finding in examine(load_config(config), now=lambda: datetime.now(timezone.utc), parts=part or PARTS):
        mark = typer.style(f"{finding.grade.value:>8}", fg=colours[finding.grade])
        typer.echo(f"{mark}  {finding.part:<8} {finding.text} {finding.remedy}".rstrip())
        if finding.grade is Grade.BAD:
            worst = Grade.BAD
    if worst is Grade.BAD:
        raise typer.Exit(code=1)


@app.command()
def analyze(
    images: ImagesArgument,
    json_lines: JsonOption = Path("-"),
    bundle: BundleOption = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Tell every detection from this score on.", show_default="the bundle's own"
        ),
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=10,
            help="Micrometres of the smear to a pixel, where known.",
            show_default="unknown",
        ),
    ] = None,
    threads: ThreadsOption = 0,
) -> None:
    """Find and name the cells in smear frames: one JSON line a frame."""
    unreadable: list[ImageError] = []
    with open_networks(open_bundle(bundle or starter_bundle()), threads=threads) as networks:
        _write(
            analyze_images(
                networks.analyzer,
                _watched(images),
                um_per_px=um_per_px,
                min_score=min_score,
                on_unreadable=unreadable.append,
            ),
            json_lines,
        )
    _report_unreadable(unreadable)


@app.command()
def classify(
    images: ImagesArgument,
    json_lines: JsonOption = Path("-"),
    bundle: BundleOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Name the cell in pictures of one cell each: one JSON line a picture."""
    unreadable: list[ImageError] = []
    with open_networks(open_bundle(bundle or starter_bundle()), threads=threads) as networks:
        _write(
            classify_images(networks.analyzer, _watched(images), on_unreadable=unreadable.append), json_lines
        )
    _report_unreadable(unreadable)


def _write(lines: Iterator[JsonLine], place: Path) -> None:
    with _opened(place) as out:
        write_lines(lines, out)


@contextmanager
def _opened(place: Path) -> Iterator[TextIO]:
    if str(place) == "-":
        yield sys.stdout
        return
    try:
        out = place.open("w", encoding="utf-8")
    except OSError as error:
        raise LeukoscopeError(
            f"{place} cannot be written: {error.strerror}.", remedy="Name another place with --json."
        ) from error
    with out:
        yield out


def _watched(images: list[Path]) -> Iterator[Path]:
    """The images with a progress bar on standard error, where somebody watches."""
    if not sys.stderr.isatty():
        yield from images
        return
    with typer.progressbar(images, file=sys.stderr) as watched:
        yield from watched


def _report_unreadable(unreadable: list[ImageError]) -> None:
    for error in unreadable:
        typer.echo(str(error), err=True)
    if unreadable:
        raise typer.Exit(code=ImageError.exit_code)


def main() -> None:
    """Run the command line."""
    set_up_logging("plain")
    run_app(app)


if __name__ == "__main__":
    main()
