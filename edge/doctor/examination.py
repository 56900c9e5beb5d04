"""Looks over a station before it is trusted: each part in a line, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.calibration.exposure import TakenWith, taken_with
from edge.calibration.finding import examine_calibration
from edge.calibration.store import CalibrationStore
from edge.camera.controls import not_held
from edge.camera.hardware_settings import HardwareSettings
from edge.camera.settings import FolderSettings, asked_controls, bare_camera
from edge.config import StationConfig
from edge.contract.manifest import Manifest
from edge.doctor import host
from edge.doctor.finding import Finding, Grade
from edge.engine.golden import check_golden
from edge.errors import CameraError, LeukoscopeError
from edge.filesystem import Disk
from edge.frame import Frame
from edge.health.clock import clock_state
from edge.networks import open_networks
from edge.outbox.link import Link
from edge.process_lock import HeldElsewhereError, held, take_lock
from edge.updating import update_room

PARTS: Final = (
    "camera",
    "calibration",
    "bundle",
    "engine",
    "updates",
    "broker",
    "page",
    "metrics",
    "disk",
    "rights",
    "clock",
    "watchdog",
)
"""Everything that is looked at, in this order."""


def examine(
    config: StationConfig, *, now: Callable[[], datetime], parts: Collection[str] = PARTS
) -> Iterator[Finding]:
    """These parts of the station in turn; no part's fault hides another's."""
    bundle: list[Bundle] = []
    seen: list[Frame] = []
    looks: dict[str, Callable[[], Finding]] = {
        "camera": lambda: _camera(config, seen),
        "calibration": lambda: examine_calibration(
            CalibrationStore(directory=config.calibration_dir, filesystem=Disk()),
            objective=config.camera.objective,
            camera=bare_camera(config.camera).name,
            now=lambda: _taken(config, seen, look="camera" not in parts),
        ),
        "bundle": lambda: _bundle(config, bundle),
        "engine": lambda: _engine(config, bundle),
        "updates": lambda: _updates(config),
        "broker": lambda: _broker(config),
        "page": lambda: _page(config),
        "metrics": lambda: _metrics(config),
        "disk": lambda: host.disk(config.state_dir),
        "rights": lambda: host.permissions(config.state_dir, secrets=_secrets(config)),
        "clock": lambda: host.clock(now(), state=clock_state()),
        "watchdog": lambda: host.watchdog(host.unit_properties()),
    }
    for part in PARTS:
        if part in parts:
            yield _guarded(part, looks[part])


def _guarded(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except LeukoscopeError as error:
        return Finding(part=part, grade=Grade.BAD, text=error.fault, remedy=error.remedy)


def _taken(config: StationConfig, seen: list[Frame], *, look: bool) -> TakenWith:
    """How the frames that were ``seen`` were taken; ``look`` at one where the camera's part is left out."""
    if look:
        # What the camera is asked is known without it; that it is away is for its own part to say.
        with suppress(CameraError):
            _look(config, seen)
    return taken_with(seen, asked=asked_controls(config.camera))


def _look(config: StationConfig, seen: list[Frame]) -> None:
    # A reconnecting camera never fails to open: here it must be told whether it is there.
    with bare_camera(config.camera) as camera:
        frame = camera.read()
    if frame is not None:
        seen.append(frame)


def _camera(config: StationConfig, seen: list[Frame]) -> Finding:
    settings = config.camera
    _look(config, seen)
    name = bare_camera(settings).name
    if not seen:
        return Finding(
            part="camera",
            grade=Grade.BAD,
            text=f"{name} has no frames.",
            remedy="Put images into the folder."
            if isinstance(settings, FolderSettings)
            else "Check the source.",
        )
    (frame,) = seen
    text = f"{name} gives {frame.width_px} x {frame.height_px} pixels"
    if frame.um_per_px is None and settings.objective is None:
        return Finding(
            part="camera",
            grade=Grade.DOUBTFUL,
            text=f"{text}; its scale is not known.",
            remedy="Measure it with a stage micrometer: leukoscope-edge calibrate scale.",
        )
    if frame.um_per_px is not None:
        text = f"{text} of {frame.um_per_px:g} um"
    if isinstance(settings, HardwareSettings) and (loose := not_held(settings.controls, frame)):
        return Finding(
            part="camera",
            grade=Grade.DOUBTFUL,
            text=f"{text}; not held as asked: {'; '.join(loose)}.",
            remedy="Set camera.controls to what the camera offers, or leave out what it cannot hold.",
        )
    return Finding(part="camera", grade=Grade.GOOD, text=f"{text}.")


def _bundle(config: StationConfig, opened: list[Bundle]) -> Finding:
    room = update_room(config)
    if room is None:
        bundle = open_bundle(config.bundle or starter_bundle())
    else:
        bundle = room.store.shelf.open(room.store.shelf.active)
    opened.append(bundle)
    manifest: Manifest = bundle.manifest
    return Finding(
        part="bundle",
        grade=Grade.GOOD,
        text=f"{manifest.name} {manifest.id[:12]}, release {manifest.release}: every file is as listed.",
    )


def _updates(config: StationConfig) -> Finding:
    room = update_room(config)
    if room is None:
        return Finding(part="updates", grade=Grade.GOOD, text="none are taken: there is no [update] table.")
    root, place = room.settings.root, room.settings.repository
    if not root.is_file():
        return Finding(
            part="updates",
            grade=Grade.BAD,
            text=f"the root of trust {root} is not there: no bundle can be believed.",
            remedy="Bring the repository's root.json here by hand, and name it in update.root.",
        )
    if isinstance(place, Path) and not place.is_dir():
        return Finding(
            part="updates",
            grade=Grade.DOUBTFUL,
            text=f"the repository {place} is not there.",
            remedy="Put the stick in, or correct update.repository.",
        )
    attempt = room.store.journal.read().attempt
    stands = "nothing is under way" if attempt is None else f"{attempt.offer.name} is {attempt.state}"
    looked = room.last_good_look
    when = "never found good yet" if looked is None else f"last found good {looked:%Y-%m-%d %H:%M} UTC"
    return Finding(part="updates", grade=Grade.GOOD, text=f"taken from {place}, {when}; {stands}.")


def _engine(config: StationConfig, opened: list[Bundle]) -> Finding:
    if not opened:
        return Finding(
            part="engine",
            grade=Grade.DOUBTFUL,
            text="not tried, for lack of a bundle.",
            remedy="Mend the bundle first.",
        )
    engine = config.engine
    with open_networks(
        opened[0], threads=engine.threads, precision=engine.precision, engines=config.engines_dir
    ) as networks:
        report = check_golden(
            bundle=opened[0],
            detector=networks.detector,
            classifier=networks.classifier,
            precision=networks.choice.precision,
        )
    return Finding(
        part="engine",
        grade=Grade.GOOD if report.passed else Grade.BAD,
        text=str(report),
        remedy="" if report.passed else "Install another bundle or another version of the runtime.",
    )


def _broker(config: StationConfig) -> Finding:
    if config.mqtt is None:
        return Finding(
            part="broker",
            grade=Grade.DOUBTFUL,
            text="none is configured: results stay on this station.",
            remedy="Add an [mqtt] table.",
        )
    # Under a name of its own: the station's own name would throw a running station off the broker.
    link = Link(
        settings=config.mqtt.model_copy(update={"session_expiry_s": 0}),
        client_id=f"leukoscope-{config.site}-{config.station}-doctor",
        will=None,
        subscriptions=(),
        post=lambda _event: None,
    )
    link.open()
    link.close()
    where = f"{config.mqtt.host}:{config.mqtt.port}"
    return Finding(part="broker", grade=Grade.GOOD, text=f"{where} accepts this station.")


def _page(config: StationConfig) -> Finding:
    page = config.page
    if not page.enabled:
        return Finding(part="page", grade=Grade.GOOD, text="none is served: page.enabled is false.")
    return host.port(
        "page", host=page.host, number=page.port, setting="page.port", station_runs=_runs(config)
    )


def _metrics(config: StationConfig) -> Finding:
    metrics = config.metrics
    if not metrics.enabled:
        return Finding(part="metrics", grade=Grade.GOOD, text="none are served: metrics.enabled is false.")
    return host.port(
        "metrics", host=metrics.host, number=metrics.port, setting="metrics.port", station_runs=_runs(config)
    )


def _secrets(config: StationConfig) -> tuple[Path, ...]:
    """The files that nobody but the station should read."""
    mqtt = config.mqtt
    if mqtt is None:
        return ()
    key = None if mqtt.tls is None else mqtt.tls.key_file
    return tuple(file for file in (mqtt.password_file, key) if file is not None)


def _runs(config: StationConfig) -> bool:
    """Whether a station has this outbox open."""
    lock = config.state_dir / "outbox.sqlite.lock"
    if not lock.exists():
        return False
    try:
        with held(take_lock(lock)):
            return False
    except HeldElsewhereError:
        return True
    except OSError:
        return False
