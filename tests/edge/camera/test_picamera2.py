"""The Pi's camera against a library that is made up, but as strict as the real one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from edge.camera.controls import CameraControls
from edge.camera.picamera2 import Picamera2Camera, SensorMode, load_picamera2
from edge.camera.testing import FakePicamera2
from edge.errors import CameraError
from tests.edge.camera import contract


@pytest.fixture
def library() -> FakePicamera2:
    return FakePicamera2()


def camera(library: FakePicamera2, **settings: Any) -> Picamera2Camera:
    return Picamera2Camera(load=lambda: library, **settings)


def test_it_is_a_camera(library: FakePicamera2) -> None:
    contract.holds(lambda: camera(library))


def test_a_cable_that_is_pulled_and_put_back_brings_it_back(library: FakePicamera2) -> None:
    contract.comes_back(lambda: camera(library), unplug=library.unplug, plug_in=library.plug_in)


@pytest.mark.parametrize("size_px", [(1280, 960), (650, 480)], ids=["whole rows", "padded rows"])
def test_pixels_are_rgb_though_libcamera_calls_it_bgr(
    library: FakePicamera2, size_px: tuple[int, int]
) -> None:
    with camera(library, size_px=size_px) as subject:
        frame = subject.read()
    assert frame is not None
    assert (frame.width_px, frame.height_px) == size_px
    assert (frame.pixels[..., 0] > 100).all()
    assert (frame.pixels[..., 1:] == (40, 90)).all()
    assert library.configurations[0]["main"]["format"] == "BGR888"


def test_every_request_is_given_back(library: FakePicamera2) -> None:
    with camera(library) as subject:
        for _ in range(20):
            subject.read()
        assert library.held_requests == 0


def test_a_request_that_cannot_be_read_is_given_back_too(
    library: FakePicamera2, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.camera import testing

    def broken(*_: object) -> None:
        raise RuntimeError("Format not supported")

    monkeypatch.setattr(testing._Request, "make_array", broken)
    with camera(library) as subject:
        with pytest.raises(CameraError, match="is lost"):
            subject.read()
        assert library.held_requests == 0


def test_fixed_controls_switch_every_automatic_off(library: FakePicamera2) -> None:
    controls = CameraControls(exposure_us=8000, gain=1.5, white_balance=(1.9, 1.4))
    with camera(library, controls=controls, frame_rate_hz=20) as subject:
        frame = subject.read()
    assert library.configurations[0]["controls"] == {
        "FrameDurationLimits": (50_000, 50_000),
        "AeEnable": False,
        "ExposureTime": 8000,
        "AnalogueGain": 1.5,
        "AwbEnable": False,
        "ColourGains": (1.9, 1.4),
    }
    assert frame is not None
    assert frame.exposure_us == 7996, "what the sensor did"
    assert (frame.gain, frame.colour_gains, frame.colour_temperature_k) == (1.5, (1.9, 1.4), 4800)


def test_what_is_left_out_stays_automatic(library: FakePicamera2) -> None:
    with camera(library):
        pass
    with camera(library, controls=CameraControls(exposure_us=8000)):
        pass
    assert [each["controls"] for each in library.configurations] == [{}, {"ExposureTime": 8000}]


def test_a_newer_library_is_told_which_automatic_to_leave(library: FakePicamera2) -> None:
    library.offered |= {"ExposureTimeMode": (0, 1, 0), "AnalogueGainMode": (0, 1, 0)}
    for controls in (
        CameraControls(exposure_us=8000),
        CameraControls(gain=2),
        CameraControls(exposure_us=8000, gain=2),
    ):
        with camera(library, controls=controls):
            pass
    assert [each["controls"] for each in library.configurations] == [
        {"ExposureTime": 8000, "ExposureTimeMode": 1},
        {"AnalogueGain": 2, "AnalogueGainMode": 1},
        {"AeEnable": False, "ExposureTime": 8000, "AnalogueGain": 2},
    ]


def test_a_frame_is_as_long_as_its_exposure(library: FakePicamera2) -> None:
    long = CameraControls(exposure_us=90_000)
    for rate_hz in (None, 20.0):
        with camera(library, controls=long, frame_rate_hz=rate_hz):
            pass
    assert {each["controls"]["FrameDurationLimits"] for each in library.configurations} == {(90_000, 90_000)}


def test_a_control_that_the_library_lacks_is_told_before_it_is_asked(library: FakePicamera2) -> None:
    fault = contract.tells_that_it_is_absent(camera(library, controls=CameraControls(white_balance=5000)))
    assert "ColourTemperature" in fault.fault
    assert "gains" in fault.remedy
    assert not library.taken, "the camera is given back"
    library.offered["ColourTemperature"] = (100, 100_000, None)
    with camera(library, controls=CameraControls(white_balance=5000)):
        assert library.configurations[-1]["controls"]["ColourTemperature"] == 5000


def test_a_sensor_mode_is_asked_as_the_library_takes_it(library: FakePicamera2) -> None:
    with camera(library, sensor=SensorMode(size_px=(2028, 1520), bit_depth=12)):
        pass
    assert library.configurations[0]["sensor"] == {"output_size": (2028, 1520), "bit_depth": 12}


def test_a_frames_time_is_that_of_the_sensor(library: FakePicamera2) -> None:
    with camera(library) as subject:
        frame = subject.read()
    assert frame is not None
    assert time.monotonic() - frame.monotonic_s >= 0.019, "the fake stamps 20 ms before it gives"


def test_a_camera_that_is_not_there_names_those_that_are(library: FakePicamera2) -> None:
    fault = contract.tells_that_it_is_absent(camera(library, number=1))
    assert "imx477" in fault.fault


def test_a_camera_that_another_program_holds_is_told(library: FakePicamera2) -> None:
    with camera(library):
        fault = contract.tells_that_it_is_absent(camera(library))
    assert "other program" in fault.remedy


def test_an_odd_size_is_told(library: FakePicamera2) -> None:
    assert "even" in contract.tells_that_it_is_absent(camera(library, size_px=(641, 480))).fault


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="cannot be loaded") as fault:
        load_picamera2()
    assert "python3-picamera2" in fault.value.remedy
