"""``leukoscope-edge validate``: what only the station's own hardware can show, measured and signed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from edge.bundle import open_bundle, starter_bundle
from edge.command_line import run_app
from edge.commands.options import ConfigOption
from edge.config import StationConfig, load_config
from edge.doctor import host
from edge.doctor.examination import examine
from edge.doctor.finding import Finding, Grade
from edge.engine.engine_cache import EngineCache
from edge.engine.gpu import find_gpu
from edge.engine.runtimes import OnnxRuntimes, TensorRtRuntime
from edge.errors import StorageError
from edge.health.board import find_board
from edge.validation import machine as probes
from edge.validation.camera import camera
from edge.validation.disk import fsync
from edge.validation.engines import EngineTrials
from edge.validation.line import Line, State, done, failed, guarded, not_here
from edge.validation.machine import Machine
from edge.validation.report import Report, StationKey, verified, write_report

DEFAULT_MINUTES: Final = 10.0
_KEY_NAME: Final = "validation-key.pem"
_GRADES: Final = {Grade.GOOD: done, Grade.DOUBTFUL: not_here, Grade.BAD: failed}
_MEASURED_HERE: Final = frozenset({"camera", "engine", "watchdog"})
"""What doctor looks at and the checklist measures more closely."""

app = typer.Typer(
    help="Measure what only the station's own hardware can show, and sign the report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def checklist(
    config: StationConfig,
    *,
    minutes: float = DEFAULT_MINUTES,
    machine: Machine | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Iterator[Line]:
    """Every line in turn, each as soon as it is known; no line's fault hides another.

    Takes minutes: engines are built, and for ``minutes`` the machine serves without a pause. The station
    may run beside it, but then the figures are those of a machine that does both.
    """
    here = machine or Machine()
    gpu = find_gpu()
    yield probes.device(here, gpu)
    yield probes.power_mode(here)
    yield guarded("camera", lambda: camera(config.camera))
    bundle = open_bundle(config.bundle or starter_bundle())
    threads = config.engine.threads or 1
    with TemporaryDirectory(dir=_made(config.state_dir), prefix="validate-") as workbench:
        trials = EngineTrials(
            bundle=bundle,
            directory=Path(workbench),
            gpu_runtime=TensorRtRuntime(cache=EngineCache(directory=Path(workbench)), gpu=gpu),
            processor=OnnxRuntimes(threads=threads),
        )
        yield from trials.building()
        yield trials.accelerator()
        yield from trials.proving(trials.gpu_runtime)
        yield from trials.proving(trials.processor)
        yield guarded("endurance", lambda: trials.enduring(find_board(here.root / "sys"), minutes=minutes))
    yield guarded("disk fsync", lambda: fsync(here, config.state_dir))
    yield probes.hardware_clock(here, now_s=time.time())
    yield watchdog(here)
    yield from (
        _as_line(finding) for finding in examine(config, now=now) if finding.part not in _MEASURED_HERE
    )


def watchdog(machine: Machine) -> Line:
    """The doctor's word on whether a stuck station is started anew, with what systemd has counted."""
    properties = host.unit_properties(machine.ask)
    finding = host.watchdog(properties)
    hardware = machine.ask(("systemctl", "show", "--property=RuntimeWatchdogUSec", "--value"))
    figures = {
        name: value
        for name, value in {
            "watchdog": (properties or {}).get("WatchdogUSec"),
            "restart": (properties or {}).get("Restart"),
            "restarts": (properties or {}).get("NRestarts"),
            "hardware_watchdog": None if hardware is None else hardware.strip(),
        }.items()
        if value
    }
    words = f"{finding.text} {finding.remedy}".rstrip()
    return _GRADES[finding.grade](finding.part, f"{words} As configured; nothing was provoked.", **figures)


@app.command()
def run(
    config: ConfigOption,
    out: Annotated[Path, typer.Option("--out", help="Where the signed report goes.")] = Path(
        "validation.json"
    ),
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            help="The station's private key; made where there is none.",
            show_default="validation-key.pem in the station's state_dir",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0, help="How long to serve without a pause; 0 leaves it out.")
    ] = DEFAULT_MINUTES,
) -> None:
    """Go through the checklist and write a signed report; ends with 1 if anything failed.

    Every line is done, failed, or not here with its reason; nothing is claimed that was not measured.
    """
    station = load_config(config)
    signer = StationKey.at(key or station.state_dir / _KEY_NAME)
    bundle = open_bundle(station.bundle or starter_bundle())
    began_at = datetime.now(timezone.utc)
    lines = []
    for line in checklist(station, minutes=minutes):
        _show(line)
        lines.append(line)
    report = Report(
        site=station.site,
        station=station.station,
        software=f"leukoscope {version('leukoscope')}",
        bundle=bundle.manifest.id,
        began_at=began_at,
        ended_at=datetime.now(timezone.utc),
        lines=tuple(lines),
    )
    write_report(out, signer.sign(report))
    write_report(out.with_suffix(".pub.pem"), signer.public_pem)
    typer.echo(f"{out}, signed by the key {signer.id}")
    if not report.sound:
        raise typer.Exit(code=1)


@app.command()
def verify(
    report: Annotated[Path, typer.Argument(help="The signed report.")],
    key: Annotated[
        Path, typer.Option("--key", help="The station's public key (.pub.pem), as the lab noted it.")
    ],
) -> None:
    """Check the signature of a report and show what it says."""
    checked = verified(_read(report), public_pem=_read(key))
    typer.echo(
        f"{checked.site}/{checked.station}, {checked.software}, bundle {checked.bundle[:12]}, "
        f"{checked.began_at:%Y-%m-%d %H:%M} UTC"
    )
    for line in checked.lines:
        _show(line)


def _as_line(finding: Finding) -> Line:
    return _GRADES[finding.grade](finding.part, f"{finding.text} {finding.remedy}".rstrip())


def _show(line: Line) -> None:
    colours = {State.DONE: "green", State.FAILED: "red", State.NOT_HERE: "yellow"}
    typer.echo(f"{typer.style(f'{line.state.value:>8}', fg=colours[line.state])}  {line.name}: {line.reason}")


def _made(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{directory} cannot be made: {error.strerror}.", remedy="Name another state_dir."
        ) from error
    return directory


def _read(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise StorageError(f"{place} cannot be read: {error.strerror}.") from error


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
