"""Looks over a station before it is trusted: each part in a line, with what to do about it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.camera.controls import not_held
from edge.camera.hardware_settings import HardwareSettings
from edge.camera.settings import FolderSettings, bare_camera
from edge.config import StationConfig
from edge.contract.manifest import Manifest
from edge.engine.golden import check_golden
from edge.errors import LeukoscopeError, StorageError
from edge.networks import open_networks
from edge.outbox.link import Link
from edge.updating import update_room

_ENOUGH_DISK_BYTES: Final = 2 * 1024**3
_FIRST_PLAUSIBLE_YEAR: Final = 2026


class Grade(str, Enum):
    """How a part fares."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one part, and what to do about it (empty where it is good)."""

    part: str
    grade: Grade
    text: str
    remedy: str = ""


def examine(config: StationConfig, *, now: Callable[[], datetime]) -> Iterator[Finding]:
    """Every part of the station in turn; no part's fault hides another's."""
    yield _guarded("camera", lambda: _camera(config))
    bundle: list[Bundle] = []
    yield _guarded("bundle", lambda: _bundle(config, bundle))
    yield _guarded("engine", lambda: _engine(config, bundle))
    yield _guarded("updates", lambda: _updates(config))
    yield _guarded("broker", lambda: _broker(config))
    yield _guarded("disk", lambda: _disk(config.state_dir))
    yield _guarded("clock", lambda: _clock(now()))


def _guarded(part: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except LeukoscopeError as error:
        return Finding(part=part, grade=Grade.BAD, text=error.fault, remedy=error.remedy)


def _camera(config: StationConfig) -> Finding:
    settings = config.camera
    # A reconnecting camera never fails to open: here it must be told whether it is there.
    camera = bare_camera(settings)
    with camera:
        frame = camera.read()
    if frame is None:
        return Finding(
            part="camera",
            grade=Grade.BAD,
            text=f"{camera.name} has no frames.",
            remedy="Put images into the folder."
            if isinstance(settings, FolderSettings)
            else "Check the source.",
        )
    text = f"{camera.name} gives {frame.width_px} x {frame.height_px} pixels"
    if frame.um_per_px is None:
        return Finding(
            part="camera",
            grade=Grade.DOUBTFUL,
            text=f"{text}; its scale is not known.",
            remedy="Measure it with a stage micrometer and set camera.um_per_px.",
        )
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


def _disk(state_dir: Path) -> Finding:
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=state_dir, prefix="doctor-") as trial:
            trial.write(b"\0" * 4096)
            trial.flush()
        free_bytes = shutil.disk_usage(state_dir).free
    except OSError as error:
        raise StorageError(
            f"{state_dir} cannot be written: {error.strerror}.",
            remedy="Name another state_dir, or give this user the right to write it.",
        ) from error
    text = f"{state_dir} can be written, {free_bytes / 1024**3:.1f} GiB free."
    if free_bytes < _ENOUGH_DISK_BYTES:
        return Finding(
            part="disk", grade=Grade.DOUBTFUL, text=text, remedy="Free some space before it runs full."
        )
    return Finding(part="disk", grade=Grade.GOOD, text=text)


def _clock(now: datetime) -> Finding:
    text = f"it is {now.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    if now.year < _FIRST_PLAUSIBLE_YEAR:
        return Finding(
            part="clock", grade=Grade.BAD, text=f"{text}, which cannot be.", remedy="Set the clock."
        )
    synchronised = _is_synchronised()
    if synchronised is None:
        return Finding(
            part="clock",
            grade=Grade.DOUBTFUL,
            text=f"{text}; whether it is synchronised cannot be told here.",
            remedy="Check with `timedatectl`.",
        )
    if not synchronised:
        return Finding(
            part="clock",
            grade=Grade.DOUBTFUL,
            text=f"{text}, not synchronised.",
            remedy="Turn on NTP (`timedatectl set-ntp true`); records are ordered without it.",
        )
    return Finding(part="clock", grade=Grade.GOOD, text=f"{text}, synchronised.")


def _is_synchronised() -> bool | None:
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return answer.stdout.strip() == "yes"
