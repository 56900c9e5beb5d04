"""The calibrating commands, on folders of pictures and on a camera that is a film."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result
from typing_extensions import Self

from edge.calibration.focus_reference import FocusReference
from edge.calibration.store import CalibrationStore
from edge.calibration.testing import EmptyGlass, Micrometer
from edge.commands import calibrate as command
from edge.commands.calibrate import app
from edge.errors import CalibrationError, ConfigError, ImageError, LeukoscopeError
from edge.filesystem import Disk
from edge.frame import Frame, Pixels

LAMP = EmptyGlass(tint=(0.88, 0.76, 0.6), vignette=0.25)


def save(folder: Path, pictures: list[Pixels]) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A station whose camera is a film of four pictures of a micrometer."""
    film = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480), isColor=True
    )
    for seed in range(4):
        film.write(cv2.cvtColor(Micrometer(pitch_px=40.0, angle_deg=7).render(seed), cv2.COLOR_RGB2BGR))
    film.release()
    place = tmp_path / "station.toml"
    place.write_text(
        'site = "lab"\nstation = "s1"\nstate_dir = "var"\n'
        '[camera]\nkind = "video"\nsource = "film.avi"\nobjective = "40x"\n'
    )
    return place


class LiveCamera:
    """A live camera that gives ten frames a second of what it is shown, and counts how often it is read."""

    live = True
    name = "device 0"

    def __init__(self, pictures: list[Pixels]) -> None:
        self.pictures = pictures
        self.read_frames = 0
        self.is_open = False

    def __enter__(self) -> Self:
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def read(self) -> Frame:
        assert self.is_open
        index, self.read_frames = self.read_frames, self.read_frames + 1
        return Frame(
            pixels=self.pictures[index % len(self.pictures)],
            index=index,
            source=self.name,
            captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            monotonic_s=100 + index / 10,
            exposure_us=5000,
            gain=2.0,
        )


def calibrate(config: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--config", str(config)])


def fault(result: Result, kind: type[LeukoscopeError] = CalibrationError) -> str:
    assert isinstance(result.exception, kind), result.output
    return str(result.exception)


def test_the_whole_calibration_of_an_objective(config: Path, tmp_path: Path, smear: Pixels) -> None:
    result = calibrate(config, "scale")
    assert result.exit_code == 0, result.output
    assert "0.250" in result.output
    assert "lines at 7.0 degrees" in result.output
    assert "light: not measured" in result.output

    glass = save(tmp_path / "glass", [LAMP.render(seed) for seed in range(4)])
    result = calibrate(config, "flat", "--from", glass)
    assert result.exit_code == 0, result.output
    assert "blue 1.4" in result.output

    heights = np.linspace(-5, 5, 21)
    turned = [
        np.asarray(cv2.GaussianBlur(LAMP.falls_on(smear), (0, 0), max(0.3, abs(float(each)))), dtype=np.uint8)
        for each in heights
    ]
    result = calibrate(config, "focus", "--from", save(tmp_path / "sweep", turned))
    assert result.exit_code == 0, result.output

    known = CalibrationStore(directory=tmp_path / "var" / "calibration", filesystem=Disk()).read("40x")
    assert known is not None
    assert known.camera == str(tmp_path / "film.avi")
    assert known.scale is not None
    assert known.scale.um_per_px == pytest.approx(0.25, rel=0.003)
    assert known.flat is not None
    assert known.focus is not None

    result = calibrate(config, "show")
    assert result.exit_code == 0
    assert "not measured" not in result.output.partition("before it:")[0]
    assert "focus: not measured" in result.output.partition("before it:")[2]


def test_an_objective_that_was_not_measured_has_nothing_to_show(config: Path) -> None:
    assert "has not been calibrated" in fault(calibrate(config, "show"))


def test_pictures_without_lines_leave_what_was_known(config: Path, tmp_path: Path, smear: Pixels) -> None:
    assert calibrate(config, "scale").exit_code == 0
    result = calibrate(config, "scale", "--from", save(tmp_path / "smear", [smear, smear]))
    assert "not clear" in fault(result)
    assert "picture 2:" in result.output
    assert "0.250" in calibrate(config, "show").output


def test_pictures_of_two_rulings_are_not_mixed(config: Path, tmp_path: Path) -> None:
    pictures = [Micrometer(pitch_px=40).render(1), Micrometer(pitch_px=44).render(1)]
    assert "disagree" in fault(calibrate(config, "scale", "--from", save(tmp_path / "two", pictures)))


def test_pictures_of_two_sizes_are_not_mixed(config: Path, tmp_path: Path) -> None:
    pictures = [Micrometer(pitch_px=40).render(1), Micrometer(pitch_px=40, width_px=480).render(1)]
    assert "size" in fault(calibrate(config, "scale", "--from", save(tmp_path / "two", pictures)))


def test_a_picture_that_cannot_be_read_is_named(config: Path, tmp_path: Path) -> None:
    folder = save(tmp_path / "torn", [Micrometer(pitch_px=40).render(1)])
    (folder / "1.png").write_bytes((folder / "0.png").read_bytes()[:500])
    assert "1.png" in fault(calibrate(config, "scale", "--from", folder), ImageError)


def test_without_an_objective_it_asks_for_one(config: Path) -> None:
    config.write_text(config.read_text().replace('objective = "40x"\n', ""))
    assert "camera.objective" in fault(calibrate(config, "show"), ConfigError)
    assert calibrate(config, "scale", "--objective", "40x").exit_code == 0


def test_an_objective_cannot_name_a_file_elsewhere(config: Path) -> None:
    assert "--objective" in fault(calibrate(config, "show", "--objective", "../x"), ConfigError)


def test_a_damaged_calibration_is_told_and_replaced(config: Path, tmp_path: Path) -> None:
    assert calibrate(config, "scale").exit_code == 0
    (tmp_path / "var" / "calibration" / "40x.json").write_text("{}")
    result = calibrate(config, "scale")
    assert result.exit_code == 0
    assert "cannot be used" in result.output
    shown = calibrate(config, "show")
    assert shown.exit_code == 0
    assert "before it: The calibration" in shown.output, "what was before is damaged, and said to be"


def live(monkeypatch: pytest.MonkeyPatch, pictures: list[Pixels]) -> LiveCamera:
    camera = LiveCamera(pictures)
    monkeypatch.setattr(command, "bare_camera", lambda _settings: camera)
    return camera


def test_a_live_camera_gives_pictures_apart_in_time(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = live(monkeypatch, [LAMP.render(seed) for seed in range(5)])
    result = calibrate(config, "flat", "--pictures", "4", "--every-s", "2")
    assert result.exit_code == 0, result.output
    assert "picture 4: taken; move on" in result.output
    assert "picture 5" not in result.output
    assert camera.read_frames == 61, "the frames between were read and let go, so that none was stale"
    assert not camera.is_open
    assert "device 0" in calibrate(config, "show").output


def test_how_the_light_was_taken_is_kept_and_shown(
    config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pictures = [LAMP.render(seed) for seed in range(5)]
    config.write_text(
        config.read_text().replace("film.avi", "/dev/leukoscope-none")
        + "[camera.controls]\nexposure_us = 5000\n"
    )
    live(monkeypatch, pictures)
    result = calibrate(config, "flat", "--every-s", "0")
    assert result.exit_code == 0, result.output
    assert "free to change gain, white_balance" in result.output
    shown = calibrate(config, "show").output
    assert "the camera said exposure 5000 us, gain 2; it was asked for exposure 5000 us" in shown
    again = calibrate(config, "flat", "--from", save(tmp_path / "glass", pictures))
    assert "light taken with: not known" in again.output
    assert "free to change" not in again.output


def test_a_live_camera_is_watched_while_the_focus_is_turned(
    config: Path, monkeypatch: pytest.MonkeyPatch, smear: Pixels
) -> None:
    heights = np.linspace(-5, 5, 30)
    turned = [
        np.asarray(cv2.GaussianBlur(smear, (0, 0), max(0.3, abs(float(each)))), dtype=np.uint8)
        for each in heights
    ]
    camera = live(monkeypatch, turned)
    result = calibrate(config, "focus", "--seconds", "2.95")
    assert result.exit_code == 0, result.output
    assert "from 30 pictures" in result.output
    assert not camera.is_open


def test_the_focus_is_measured_on_corrected_pictures(
    config: Path, monkeypatch: pytest.MonkeyPatch, smear: Pixels
) -> None:
    live(monkeypatch, [LAMP.render(seed) for seed in range(5)])
    assert calibrate(config, "flat", "--every-s", "0").exit_code == 0
    seen: list[float] = []

    def measured(sweep: Iterable[Pixels]) -> FocusReference:
        seen.extend(float(np.ptp(picture.reshape(-1, 3).mean(axis=0))) for picture in sweep)
        return FocusReference(sharpness=0.6, blurred=0.1, pictures=len(seen))

    live(monkeypatch, [LAMP.render(9)])
    monkeypatch.setattr(command, "measure_focus_reference", measured)
    assert calibrate(config, "focus", "--seconds", "1").exit_code == 0
    assert max(seen) < 2, "the lamp's colour was taken out first"
