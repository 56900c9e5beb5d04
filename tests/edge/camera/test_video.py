"""Files, and a stream over a real socket that vanishes and returns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.controls import CameraControls, HeldControls
from edge.camera.source_names import is_live, without_password
from edge.camera.video import VideoCamera
from edge.errors import CameraError
from tests.edge.camera import contract
from tests.edge.camera.conftest import FILM_FRAMES
from tests.edge.camera.mjpeg_sender import Stream, endless, jpeg, picture


def test_a_file_is_a_camera(film: Path, camera_contract: Callable[..., None]) -> None:
    camera_contract(lambda: VideoCamera(source=str(film)))


def test_a_stream_is_a_camera(stream: Stream, camera_contract: Callable[..., None]) -> None:
    camera_contract(lambda: VideoCamera(source=stream.url, timeout_s=5))


def test_a_file_gives_every_frame_once_and_ends(film: Path) -> None:
    with VideoCamera(source=str(film), um_per_px=0.1) as camera:
        assert not camera.live
        assert camera.announced_frames == FILM_FRAMES
        frames = []
        while (frame := camera.read()) is not None:
            frames.append(frame)
    assert [frame.index for frame in frames] == list(range(FILM_FRAMES))
    reds = [float(frame.pixels[..., 0].mean()) for frame in frames]
    assert reds == sorted(reds)
    assert reds[0] > 90, "RGB, not BGR"
    assert frames[0].um_per_px == 0.1


def test_a_cut_file_gives_what_is_readable_and_says_so(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = tmp_path / "cut.avi"
    content = film.read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])
    with VideoCamera(source=str(cut)) as camera:
        count = 0
        while camera.read() is not None:
            count += 1
    assert 0 < count < FILM_FRAMES
    assert "may be cut off" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no film"])
def test_what_is_no_film_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "smear.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=r"smear\.mp4") as fault, VideoCamera(source=str(path)):
        pass
    assert "whole video file" in fault.value.remedy


@pytest.mark.parametrize("source", ["gone.mp4", "/dev/leukoscope-gone", 63])
def test_what_is_not_there_is_told(source: str | int) -> None:
    fault = contract.tells_that_it_is_absent(VideoCamera(source=source))
    assert str(source) in fault.fault


def test_a_stream_that_vanishes_and_returns_goes_on(stream: Stream) -> None:
    contract.comes_back(
        lambda: VideoCamera(source=stream.url, timeout_s=5), unplug=stream.kill, plug_in=stream.start
    )


def test_a_stream_that_falls_silent_is_lost() -> None:
    sender = Stream(pictures=lambda: itertools.islice(endless(), 40))
    try:
        with VideoCamera(source=sender.url, timeout_s=0.5) as camera:
            # The first picture proves the opening, and has gone stale by now.
            read = [camera.read() for _ in range(39)]
            with pytest.raises(CameraError, match="stopped"):
                camera.read()
        assert None not in read
    finally:
        sender.kill()


def test_a_stream_that_is_cut_in_mid_frame_is_lost_and_no_half_picture_is_given() -> None:
    sender = Stream(torn=lambda number: number == 5)
    try:
        with VideoCamera(source=sender.url, timeout_s=5) as camera:
            frames, fault = contract.until_lost(camera)
        assert "stopped" in fault.fault
        assert frames
        assert min(frame.pixels[-1, :, 0].min() for frame in frames) > 80, (
            "the last row is as red as the rest"
        )
    finally:
        sender.kill()


def test_a_stream_whose_size_changes_keeps_its_first_size() -> None:
    """A limit of OpenCV, which scales without a word; the same stream by GStreamer tells the truth."""
    small, large = jpeg(picture(1)), jpeg(picture(2, width_px=160, height_px=120))
    sender = Stream(pictures=lambda: iter([small] * 5 + [large] * 10))
    try:
        with VideoCamera(source=sender.url, timeout_s=1) as camera:
            frames, _ = contract.until_lost(camera)
        assert frames[0].pixels[0, 0, 0] != frames[-1].pixels[0, 0, 0], "the larger pictures came"
        assert {(frame.height_px, frame.width_px) for frame in frames} == {(96, 128)}
    finally:
        sender.kill()


def test_a_build_without_a_back_end_is_told(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda back_end: back_end == cv2.CAP_V4L2)
    with (
        pytest.raises(CameraError, match=r"lacks FFMPEG.* it has V4L2") as fault,
        VideoCamera(source=str(film)),
    ):
        pass
    assert "gstreamer" in fault.value.remedy


class Device:
    """As OpenCV's capture of a device that gives grey pictures for ever."""

    def __init__(self, device: str, back_end: int) -> None:
        assert (device, back_end) == ("/dev/leukoscope-camera", cv2.CAP_V4L2)
        self.asked: dict[int, float] = {}
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return not self.released

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.full((48, 64, 3), 128, dtype=np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr("edge.camera.video.check_device", lambda _: None)
    return "/dev/leukoscope-camera"


def test_a_devices_frames_tell_what_its_driver_holds(device: str) -> None:
    asked: list[tuple[str, CameraControls]] = []

    def fix(path: str, controls: CameraControls) -> HeldControls:
        asked.append((path, controls))
        return HeldControls(exposure_us=7900.0, colour_temperature_k=5000.0)

    controls = CameraControls(exposure_us=8000, white_balance=5000)
    contract.holds(lambda: VideoCamera(source=device, controls=controls, fix=fix))
    with VideoCamera(source=device, controls=controls, fix=fix) as camera:
        frame = camera.read()
    assert frame is not None
    assert (frame.exposure_us, frame.gain, frame.colour_temperature_k) == (7900.0, None, 5000.0)
    assert asked[0] == (device, controls)


def test_a_device_whose_controls_cannot_be_reached_is_let_go(device: str) -> None:
    def fix(_path: str, _controls: CameraControls) -> HeldControls:
        raise CameraError("The camera cannot be opened.", remedy="Check the group.")

    contract.tells_that_it_is_absent(VideoCamera(source=device, fix=fix))


def test_passwords_are_never_shown() -> None:
    camera = VideoCamera(source="rtsp://admin:secret@127.0.0.1:1/live?channel=1", timeout_s=1)
    assert camera.name == "rtsp://127.0.0.1:1/live?channel=1"
    with pytest.raises(CameraError) as fault, camera:
        pass
    assert "secret" not in str(fault.value)
    assert without_password("smear@home.avi") == "smear@home.avi"


@pytest.mark.parametrize(
    ("source", "live"),
    [
        ("smear.mp4", False),
        ("C:/smear.avi", False),
        (0, True),
        ("/dev/video0", True),
        ("rtsp://host/a", True),
    ],
)
def test_a_file_waits_and_a_stream_does_not(source: str | int, live: bool) -> None:
    assert is_live(source) is live
