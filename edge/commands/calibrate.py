"""``leukoscope-edge calibrate``: measure an objective once; the station corrects every frame by it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import TypeAdapter, ValidationError

from edge.calibration.calibration import SHOWN_DIGITS, Calibration, Correction, Measure, renewed
from edge.calibration.exposure import HOLD_IT, left_automatic, taken_with
from edge.calibration.flat_field import measure_flat_field
from edge.calibration.focus_reference import measure_focus_reference
from edge.calibration.scale import Scale, agreed_scale, measure_scale
from edge.calibration.store import CalibrationStore
from edge.camera.folder import FolderCamera
from edge.camera.hardware_settings import ObjectiveName
from edge.camera.protocol import Camera
from edge.camera.settings import asked_controls, bare_camera
from edge.command_line import require_owner
from edge.commands.options import ConfigOption
from edge.config import StationConfig, load_config
from edge.errors import CalibrationError, ConfigError
from edge.filesystem import Disk
from edge.frame import Frame, Pixels

app = typer.Typer(
    name="calibrate",
    help="Measure an objective once: scale, light, sharpness. Stop the station first: it holds the camera.",
    no_args_is_help=True,
)

FolderOption = Annotated[
    Path | None,
    typer.Option("--from", help="A folder of pictures by this camera.", show_default="the camera itself"),
]
ObjectiveOption = Annotated[
    str | None, typer.Option(help="Which objective.", show_default="camera.objective of the configuration")
]
EveryOption = Annotated[
    float, typer.Option("--every-s", min=0, max=60, help="Seconds between two pictures of the live camera.")
]
Corrector = Callable[[Pixels], Pixels]
_DEFAULT_PITCH_UM: Final = 10.0
_OBJECTIVE: Final[TypeAdapter[str]] = TypeAdapter(ObjectiveName)


@app.command()
def scale(
    config: ConfigOption,
    folder: FolderOption = None,
    objective: ObjectiveOption = None,
    pitch_um: Annotated[
        float, typer.Option(min=0.1, max=10_000, help="Distance of the micrometer's lines, in micrometres.")
    ] = _DEFAULT_PITCH_UM,
    ruled_to_um: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=10,
            help="How far a line may lie off its place by its maker's word, in micrometres.",
            show_default="not known",
        ),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, max=50, help="How many pictures.")] = 3,
    every_s: EveryOption = 0.5,
) -> None:
    """Measure micrometres to a pixel on a stage micrometer: lines of one direction that fill the picture."""
    bench = _Bench(config, folder, objective)
    found: list[Scale] = []
    refusals: list[CalibrationError] = []
    for number, frame in enumerate(bench.spaced(pictures, every_s), 1):
        picture = bench.sized(frame)
        try:
            each = measure_scale(picture, pitch_um=pitch_um, ruled_to_um=ruled_to_um)
        except CalibrationError as error:
            refusals.append(error)
            typer.echo(f"picture {number}: {error.fault}")
            continue
        found.append(each)
        typer.echo(
            f"picture {number}: {each.lines} lines at {each.angle_deg:.1f} degrees, "
            f"{pitch_um / each.um_per_px:.2f} pixels apart, {each.residual_px:.2f} pixels off an even ruling"
        )
    if not found:
        raise refusals[0] if refusals else bench.without_pictures()
    bench.keep(agreed_scale(found))


@app.command()
def flat(
    config: ConfigOption,
    folder: FolderOption = None,
    objective: ObjectiveOption = None,
    pictures: Annotated[int, typer.Option(min=3, max=50, help="How many pictures.")] = 5,
    every_s: EveryOption = 3.0,
) -> None:
    """Measure the light and its colour on empty glass; move the stage between the pictures."""
    bench = _Bench(config, folder, objective)
    taken: list[Frame] = []
    for number, frame in enumerate(bench.spaced(pictures, every_s), 1):
        bench.sized(frame)
        taken.append(frame)
        typer.echo(f"picture {number}: taken; move on to another empty place")
    if not taken:
        raise bench.without_pictures()
    measured = measure_flat_field([frame.pixels for frame in taken])
    how = taken_with(taken, asked=bench.asked)
    bench.keep(replace(measured, taken=how if how.is_known else None))
    if loose := left_automatic(how):
        typer.echo(f"The camera is free to change {', '.join(loose)}. {HOLD_IT}")


@app.command()
def focus(
    config: ConfigOption,
    folder: FolderOption = None,
    objective: ObjectiveOption = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=600, help="How long the live camera watches the focus turned.")
    ] = 20.0,
) -> None:
    """Measure how sharp a stained field can be; turn the fine focus slowly through it and beyond."""
    bench = _Bench(config, folder, objective)
    # The gates judge corrected frames, so the sharpness is measured on such ones too.
    correct = bench.correction()
    bench.keep(measure_focus_reference(correct(bench.sized(frame)) for frame in bench.watched(seconds)))


@app.command()
def show(config: ConfigOption, objective: ObjectiveOption = None) -> None:
    """Say what is known of an objective, and what was before the last calibration."""
    bench = _Bench(config, None, objective)
    present = bench.store.read(bench.objective)
    if present is None:
        raise CalibrationError(
            f"Objective {bench.objective} has not been calibrated.",
            remedy="Measure it: leukoscope-edge calibrate scale, flat and focus.",
        )
    for line in told(present):
        typer.echo(line)
    try:
        before = bench.store.previous(bench.objective)
    except CalibrationError as error:
        typer.echo(f"before it: {error.fault}")
        return
    if before is not None:
        typer.echo("before it:")
        for line in told(before):
            typer.echo(f"  {line}")


def told(calibration: Calibration) -> Iterator[str]:
    """A calibration in plain words, a line each."""
    yield (
        f"objective {calibration.objective} on {calibration.camera}, {calibration.width_px} x "
        f"{calibration.height_px} pixels, {calibration.changed_at:%Y-%m-%d %H:%M} UTC, "
        f"{calibration.digest[:SHOWN_DIGITS]}"
    )
    if calibration.scale is None:
        yield "scale: not measured"
    else:
        known = calibration.scale
        yield (
            f"scale: {known.um_per_px:.5f} um to a pixel (95% interval {known.low:.5f} to {known.high:.5f}, "
            f"from {known.lines} lines)"
        )
    if calibration.flat is None:
        yield "light: not measured"
    else:
        light = calibration.flat
        red, green, blue = light.white_gains
        yield (
            f"light: the darkest place lacked {light.vignetting:.0%}; gains for white: red {red:.2f}, green "
            f"{green:.2f}, blue {blue:.2f}; from {light.pictures} pictures"
        )
        yield f"light taken with: {light.taken or 'not known'}"
    if calibration.focus is None:
        yield "focus: not measured"
    else:
        sharp = calibration.focus
        yield (
            f"focus: sharpness {sharp.sharpness:.3f} in focus, {sharp.blurred:.3f} at the sweep's ends; from "
            f"{sharp.pictures} pictures"
        )


def _checked(objective: str) -> str:
    try:
        return _OBJECTIVE.validate_python(objective)
    except ValidationError as error:
        raise ConfigError(
            f"{objective!r} cannot name an objective.",
            remedy="Give --objective letters, digits, - and _ alone, such as 100x-oil.",
        ) from error


class _Bench:
    """What every measuring command works with: the pictures, the objective, and where measures are kept."""

    def __init__(self, config: Path, folder: Path | None, objective: str | None) -> None:
        self._config: StationConfig = load_config(config)
        chosen = objective or self._config.camera.objective
        if chosen is None:
            raise ConfigError(
                f"{config}: camera.objective does not say which objective this is.",
                remedy='Set it in the [camera] table, such as objective = "100x", or give --objective.',
            )
        self.objective = _checked(chosen)
        self.store = CalibrationStore(directory=self._config.calibration_dir, filesystem=Disk())
        self._camera: Camera = bare_camera(self._config.camera)
        self._source: Camera = self._camera if folder is None else FolderCamera(folder=folder, strict=True)
        # Nobody knows how the camera was set when a folder's pictures were taken.
        self.asked = asked_controls(self._config.camera) if folder is None else None
        self._size_px: tuple[int, int] | None = None

    def spaced(self, pictures: int, every_s: float) -> Iterator[Frame]:
        """So many frames of a live camera, apart in time; all frames of a folder or film."""
        with self._source as camera:
            due_s, taken = float("-inf"), 0
            while (frame := camera.read()) is not None:
                if camera.live and frame.monotonic_s < due_s:
                    continue
                due_s, taken = frame.monotonic_s + every_s, taken + 1
                yield frame
                if camera.live and taken >= pictures:
                    return

    def watched(self, seconds: float) -> Iterator[Frame]:
        """Every frame of a live camera for so long; all frames of a folder or film."""
        with self._source as camera:
            until_s: float | None = None
            while (frame := camera.read()) is not None:
                until_s = frame.monotonic_s + seconds if until_s is None else until_s
                if camera.live and frame.monotonic_s > until_s:
                    return
                if sys.stderr.isatty():
                    typer.echo(f"\rpicture {frame.index + 1}: keep turning", err=True, nl=False)
                yield frame

    def sized(self, frame: Frame) -> Pixels:
        """The frame's pixels. Raises CalibrationError where it is not of the size of those before it."""
        size_px = (frame.width_px, frame.height_px)
        if self._size_px not in (None, size_px):
            raise CalibrationError(
                f"{frame.source} is not of the size of the pictures before it.",
                remedy="Take all pictures by one setting of the camera.",
            )
        self._size_px = size_px
        return frame.pixels

    def correction(self) -> Corrector:
        """What makes pixels even by the flat field that is known; leaves them alone where there is none."""
        known = self.store.read(self.objective)
        if known is None or known.flat is None or known.camera != self._camera.name:
            return lambda pixels: pixels
        return Correction(known).apply_to_pixels

    def without_pictures(self) -> CalibrationError:
        """What to say where the source gave nothing."""
        return CalibrationError(f"{self._source.name} gave no picture.", remedy="Look at the camera.")

    def keep(self, measure: Measure) -> None:
        """Write the measure beside those that still hold, and say what is known now."""
        if self._size_px is None:
            raise self.without_pictures()
        require_owner(self._config.state_dir, command="calibrate")
        before = self._readable()
        kept = self.store.write(
            renewed(
                before,
                objective=self.objective,
                camera=self._camera.name,
                size_px=self._size_px,
                changed_at=datetime.now(timezone.utc),
                measure=measure,
            )
        )
        for line in told(kept):
            typer.echo(line)
        typer.echo("The station uses it from its next start.")

    def _readable(self) -> Calibration | None:
        try:
            return self.store.read(self.objective)
        except CalibrationError as error:
            typer.echo(f"{error.fault} It is kept as the one before; all else begins anew.", err=True)
            return None
