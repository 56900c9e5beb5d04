"""The calibration in a running station: what is corrected, what is told, and what is done without it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from edge.analysis.gates import Gates
from edge.calibration.calibration import Calibration
from edge.calibration.drift import MIN_FIELDS
from edge.calibration.exposure import STEADY_FRAMES, TakenWith
from edge.calibration.flat_field import measure_flat_field
from edge.calibration.focus_reference import FocusReference
from edge.calibration.scale import Scale
from edge.calibration.store import CalibrationStore
from edge.calibration.testing import EmptyGlass
from edge.camera.controls import CameraControls, HeldControls
from edge.camera.settings import bare_camera, open_camera
from edge.camera.virtual_slide import Conditions, SmearPlane
from edge.config import StationConfig, parse_config
from edge.daemon.optics import Optics, open_optics
from edge.daemon.problems import Problems
from edge.filesystem import Disk
from edge.frame import Frame, Pixels

CAMERA = "virtual slide 1"
LAMP = EmptyGlass(tint=(0.88, 0.8, 0.66), vignette=0.25)
NOW = datetime(2026, 3, 1, 9, tzinfo=timezone.utc)


def config(place: Path, objective: str = "100x") -> StationConfig:
    return parse_config(
        f'site = "lab"\nstation = "s1"\nstate_dir = "{place}"\n'
        f'[camera]\nkind = "virtual_slide"\nobjective = "{objective}"\n',
        path=place / "station.toml",
    )


def calibrate(place: Path, camera: str = CAMERA, taken: TakenWith | None = None) -> Calibration:
    store = CalibrationStore(directory=place / "calibration", filesystem=Disk())
    return store.write(
        Calibration(
            objective="100x",
            camera=camera,
            width_px=640,
            height_px=480,
            changed_at=NOW,
            scale=Scale(um_per_px=0.081, low=0.0808, high=0.0812, angle_deg=0, lines=5, residual_px=0.1),
            flat=replace(measure_flat_field([LAMP.render(seed) for seed in range(3)]), taken=taken),
            focus=FocusReference(sharpness=0.7, blurred=0.1, pictures=30),
        )
    )


class Room:
    """Optics with a clock of their own and their problems."""

    def __init__(self, place: Path, *, camera: str = CAMERA, objective: str = "100x") -> None:
        self.problems = Problems()
        self.now = NOW
        self.optics: Optics = open_optics(
            config(place, objective), camera=camera, problems=self.problems, now=lambda: self.now
        )

    @property
    def told(self) -> str:
        return " ".join(self.problems.standing())


def frame(pixels: Pixels) -> Frame:
    return Frame(
        pixels=pixels, index=0, source=CAMERA, captured_at=NOW, monotonic_s=1.0, um_per_px=0.08, gain=2.0
    )


@pytest.fixture(scope="module")
def fields() -> list[Pixels]:
    plane = SmearPlane(seed=4, stain=Conditions().stain, population=Conditions().population)
    return [
        plane.transmittance(x_px=number * 640, y_px=0, width_px=640, height_px=480, um_per_px=0.08)
        for number in range(MIN_FIELDS)
    ]


def test_a_frame_is_corrected_and_says_by_what(tmp_path: Path) -> None:
    known, room = calibrate(tmp_path), Room(tmp_path)
    corrected = room.optics.correct(frame(LAMP.render(9)))
    assert corrected.calibration == known.digest
    assert corrected.um_per_px == 0.081
    assert corrected.gain == 2.0
    means = corrected.pixels.reshape(-1, 3).mean(axis=0)
    assert means.max() / means.min() < 1.01
    assert room.told == ""


def test_without_an_objective_frames_stay_as_they_are(tmp_path: Path) -> None:
    calibrate(tmp_path)
    text = config(tmp_path).model_copy(
        update={"camera": config(tmp_path).camera.model_copy(update={"objective": None})}
    )
    problems = Problems()
    optics = open_optics(text, camera=CAMERA, problems=problems, now=lambda: NOW)
    raw = frame(LAMP.render(9))
    assert optics.correct(raw) is raw
    assert optics.health() is None
    assert problems.standing() == ()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda _place: None, "has not been calibrated"),
        (lambda place: calibrate(place, camera="device 7"), "is that of the camera device 7"),
        (
            lambda place: (calibrate(place), (place / "calibration" / "100x.json").write_text("{}")),
            "cannot be used",
        ),
    ],
)
def test_a_calibration_that_does_not_serve_is_told_and_the_station_goes_on(
    tmp_path: Path, spoil, told
) -> None:
    spoil(tmp_path)
    room = Room(tmp_path)
    raw = frame(LAMP.render(9))
    assert room.optics.correct(raw) is raw
    assert told in room.told
    assert "calibrat" in room.told.lower()


def test_a_frame_of_another_size_is_not_corrected_until_the_size_is_back(tmp_path: Path) -> None:
    calibrate(tmp_path)
    room = Room(tmp_path)
    small = frame(np.full((240, 320, 3), 200, dtype=np.uint8))
    assert room.optics.correct(small) is small
    assert "320 x 240" in room.told
    room.optics.correct(frame(LAMP.render(9)))
    assert room.told == ""


def test_a_light_that_holds_is_told_as_figures_and_no_problem(tmp_path: Path, fields: list[Pixels]) -> None:
    known, room = calibrate(tmp_path), Room(tmp_path)
    first = room.optics.health()
    assert first is not None
    assert (first.calibration, first.vignetting_drift_percent) == (known.digest, None)
    for field in fields:
        room.optics.watch(room.optics.correct(frame(LAMP.falls_on(field))))
    health = room.optics.health()
    assert health is not None
    assert health.vignetting_drift_percent is not None
    assert health.vignetting_drift_percent < 6
    assert health.colour_drift_percent is not None
    assert max(map(abs, health.colour_drift_percent)) < 5
    assert health.drifting_since is None
    assert room.told == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (EmptyGlass(tint=LAMP.tint, vignette=0.25, bright_at=(0.1, 0.2)), "and clean the condenser"),
        (EmptyGlass(tint=(0.88, 0.74, 0.5), vignette=0.25), "blue is more than 10% off"),
    ],
)
def test_a_light_that_has_drifted_is_told_with_what_to_do_and_since_when(
    tmp_path: Path, fields: list[Pixels], changed: EmptyGlass, told: str
) -> None:
    calibrate(tmp_path)
    room = Room(tmp_path)
    for field in fields:
        room.optics.watch(room.optics.correct(frame(changed.falls_on(field))))
    assert told in room.told
    began = room.optics.health()
    assert began is not None
    assert began.drifting_since == NOW
    room.now = NOW + timedelta(hours=1)
    room.optics.watch(room.optics.correct(frame(changed.falls_on(fields[0]))))
    later = room.optics.health()
    assert later is not None
    assert later.drifting_since == NOW, "the drift began then, and goes on"
    for field in fields * 4:
        room.optics.watch(room.optics.correct(frame(LAMP.falls_on(field))))
    assert room.told == ""
    well = room.optics.health()
    assert well is not None
    assert well.drifting_since is None


def test_frames_that_were_not_corrected_say_nothing_of_the_drift(
    tmp_path: Path, fields: list[Pixels]
) -> None:
    calibrate(tmp_path)
    room = Room(tmp_path)
    for field in fields:
        room.optics.watch(frame(field))
    health = room.optics.health()
    assert health is not None
    assert health.vignetting_drift_percent is None


def test_frames_of_another_exposure_are_told_until_it_is_set_back(tmp_path: Path) -> None:
    calibrate(tmp_path, taken=TakenWith(held=HeldControls(exposure_us=5000, gain=2.0)))
    room = Room(tmp_path)
    raw = replace(frame(LAMP.render(9)), exposure_us=5000)
    for _ in range(STEADY_FRAMES):
        room.optics.correct(raw)
    assert room.told == ""
    for _ in range(STEADY_FRAMES):
        room.optics.correct(replace(raw, exposure_us=8000))
    assert "exposure 8000 us instead of 5000" in room.told
    assert "calibrate flat" in room.told
    health = room.optics.health()
    assert health is not None
    assert health.taken_otherwise == ("exposure 8000 us instead of 5000",)
    for _ in range(STEADY_FRAMES):
        room.optics.correct(raw)
    assert room.told == ""
    health = room.optics.health()
    assert health is not None
    assert health.taken_otherwise == ()


def test_controls_that_are_not_those_of_the_flat_field_are_told_from_the_start(tmp_path: Path) -> None:
    known = calibrate(tmp_path, taken=TakenWith(asked=CameraControls(exposure_us=5000)))
    settings, problems = config(tmp_path), Problems()
    asked = CameraControls(exposure_us=9000)
    Optics(
        calibration=known,
        gates=Gates(settings.gates),
        settings=settings.calibration,
        problems=problems,
        now=lambda: NOW,
        asked=asked,
    )
    assert "exposure 9000 us instead of 5000" in " ".join(problems.standing())


def test_a_camera_that_reconnects_goes_by_the_name_it_was_calibrated_under(tmp_path: Path) -> None:
    video = parse_config(
        'site = "lab"\nstation = "s1"\n[camera]\nkind = "video"\nsource = "/dev/leukoscope-camera"\n',
        path=tmp_path / "station.toml",
    )
    assert open_camera(video.camera).name == bare_camera(video.camera).name
