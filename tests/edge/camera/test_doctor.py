"""What the doctor says of a camera: which device, which group, which plug-in, what is not held."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edge.camera.controls import CameraControls, not_held
from edge.camera.genicam import GenicamCamera
from edge.camera.settings import CameraSettings
from edge.camera.testing import FakeHarvesters
from edge.config import parse_config
from edge.doctor import examination
from edge.doctor.examination import examine
from edge.doctor.finding import Finding, Grade
from edge.frame import Frame

NOW = datetime(2026, 5, 1, tzinfo=timezone.utc)


def looked(camera: str, tmp_path: Path) -> Finding:
    text = f'site = "lab"\nstation = "scope"\nstate_dir = "{tmp_path}"\n[camera]\n{camera}\n'
    return next(examine(parse_config(text, path=tmp_path / "station.toml"), now=lambda: NOW))


@pytest.mark.parametrize(
    ("camera", "said", "remedy"),
    [
        ('kind = "video"\nsource = "/dev/leukoscope-gone"', "leukoscope-gone is not there", "udev"),
        ('kind = "gstreamer"\nsource = "/dev/leukoscope-gone"', "leukoscope-gone is not there", "udev"),
        ('kind = "video"\nsource = "rtsp://127.0.0.1:9/x"', "127.0.0.1:9", "network"),
        ('kind = "picamera2"', "picamera2 cannot be loaded", "python3-picamera2"),
        ('kind = "genicam"\nproducer = "gone.cti"', r"(gone\.cti|harvesters)", "(driver|leukoscope.genicam)"),
    ],
)
def test_a_camera_that_cannot_be_opened_is_explained(
    camera: str, said: str, remedy: str, tmp_path: Path
) -> None:
    finding = looked(camera, tmp_path)
    assert (finding.part, finding.grade) == ("camera", Grade.BAD)
    assert re.search(said, finding.text)
    assert re.search(remedy, finding.remedy)


def test_a_missing_plug_in_is_named(tmp_path: Path, gstreamer: object) -> None:
    finding = looked('kind = "gstreamer"\nsource = "csi:0"', tmp_path)
    assert finding.grade is Grade.BAD
    assert "nvarguscamerasrc" in finding.text
    assert "nvidia-l4t-gstreamer" in finding.remedy


def test_a_camera_that_does_not_hold_what_was_asked_is_doubtful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeHarvesters(
        picture=lambda _, width, height: np.full((height, width), 128, np.uint8), formats=("Mono8",)
    )

    def made(settings: CameraSettings) -> GenicamCamera:
        producer = tmp_path / "maker.cti"
        producer.touch()
        return GenicamCamera(producer=producer, load=library.load, um_per_px=0.1, controls=settings.controls)

    monkeypatch.setattr(examination, "bare_camera", made)
    library.nodes.ExposureTime._step = 5000
    held = 'kind = "genicam"\ncontrols = { exposure_us = 10000.0 }'
    assert looked(held, tmp_path).grade is Grade.GOOD
    finding = looked('kind = "genicam"\ncontrols = { exposure_us = 8000.0 }', tmp_path)
    assert finding.grade is Grade.DOUBTFUL
    assert "exposure_us 8000 (the camera holds 10000)" in finding.text


def test_what_a_camera_does_not_tell_is_not_taken_for_held() -> None:
    frame = Frame(
        pixels=np.zeros((2, 2, 3), np.uint8),
        index=0,
        source="f",
        captured_at=NOW,
        monotonic_s=0.0,
        exposure_us=8100,
        colour_gains=(1.9, 3.0),
    )
    controls = CameraControls(exposure_us=8000, gain=2, white_balance=(1.9, 1.4))
    assert not_held(controls, frame) == (
        "gain 2 (the camera does not tell)",
        "gain of blue 1.4 (the camera holds 3)",
    )
    assert not_held(CameraControls(), frame) == ()
