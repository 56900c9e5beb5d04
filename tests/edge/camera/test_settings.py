"""Which camera a configuration gives."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from edge.camera.folder import FolderCamera
from edge.camera.hardware_settings import VideoSettings
from edge.camera.reconnecting import Reconnecting
from edge.camera.settings import CameraSettings, open_camera
from edge.camera.video import VideoCamera

SETTINGS: TypeAdapter[CameraSettings] = TypeAdapter(CameraSettings)


def test_a_folder() -> None:
    settings = SETTINGS.validate_python({"kind": "folder", "path": "fields", "um_per_px": 0.1})
    assert settings.separate_images
    assert isinstance(open_camera(settings), FolderCamera)


def test_a_film_is_replayed_and_a_stream_is_opened_again() -> None:
    film = open_camera(SETTINGS.validate_python({"kind": "video", "source": "film.mp4"}))
    assert isinstance(film, VideoCamera)
    for source in (0, "/dev/leukoscope-camera", "rtsp://host/smear"):
        settings = SETTINGS.validate_python({"kind": "video", "source": source})
        assert not settings.separate_images
        camera = open_camera(settings)
        assert isinstance(camera, Reconnecting)
        assert camera.live


def test_the_virtual_slide() -> None:
    settings = SETTINGS.validate_python({"kind": "virtual_slide", "seed": 7, "fields": 2, "live": False})
    camera = open_camera(settings)
    assert not camera.live
    with camera:
        frame = camera.read()
    assert frame is not None
    assert (frame.width_px, frame.height_px) == (640, 480)


def test_relative_files_are_taken_from_the_configurations_directory() -> None:
    context = {"directory": Path("/etc/leukoscope")}
    film = SETTINGS.validate_python({"kind": "video", "source": "film.mp4"}, context=context)
    assert isinstance(film, VideoSettings)
    assert film.source == "/etc/leukoscope/film.mp4"
    for source in (0, "http://host/smear.mjpg", "/dev/video0"):
        live = SETTINGS.validate_python({"kind": "video", "source": source}, context=context)
        assert isinstance(live, VideoSettings)
        assert live.source == source


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "telescope"},
        {"kind": "folder"},
        {"kind": "video", "source": -1},
        {"kind": "video", "source": ""},
        {"kind": "video", "source": 0, "um_per_px": 0},
        {"kind": "folder", "path": ".", "seed": 1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SETTINGS.validate_python(wrong)
