"""Which camera a configuration gives."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from edge.camera.controls import CameraControls
from edge.camera.folder import FolderCamera
from edge.camera.genicam import GenicamCamera
from edge.camera.gstreamer import GStreamerCamera
from edge.camera.hardware_settings import GStreamerSettings, VideoSettings
from edge.camera.picamera2 import Picamera2Camera
from edge.camera.protocol import Camera
from edge.camera.reconnecting import Reconnecting
from edge.camera.settings import CameraSettings, bare_camera, open_camera
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


@pytest.mark.parametrize(
    ("table", "camera"),
    [
        ({"kind": "video", "source": 0}, VideoCamera),
        ({"kind": "gstreamer", "source": "csi:0"}, GStreamerCamera),
        ({"kind": "gstreamer", "source": "/dev/video0", "pictures": "mjpeg"}, GStreamerCamera),
        ({"kind": "gstreamer", "source": "film.avi"}, GStreamerCamera),
        ({"kind": "picamera2"}, Picamera2Camera),
        ({"kind": "genicam", "serial": "4711"}, GenicamCamera),
    ],
)
def test_hardware_is_opened_again_and_a_film_is_not(table: dict[str, object], camera: type[Camera]) -> None:
    settings = SETTINGS.validate_python({**table, "um_per_px": 0.08, "timeout_s": 3})
    assert not settings.separate_images
    bare = bare_camera(settings)
    assert isinstance(bare, camera)
    assert isinstance(open_camera(settings), Reconnecting) is bare.live
    assert bare.live is (table.get("source") != "film.avi")


def test_controls_are_one_table_for_all() -> None:
    controls = {"exposure_us": 8000, "gain": 2, "white_balance": [1.9, 1.4]}
    for table in ({"kind": "video", "source": 0}, {"kind": "picamera2"}, {"kind": "genicam"}):
        settings = SETTINGS.validate_python({**table, "controls": controls})
        assert settings.controls == CameraControls(exposure_us=8000, gain=2, white_balance=(1.9, 1.4))
        assert settings.controls.colour_gains == (1.9, 1.4)
    warm = CameraControls(white_balance=3200)
    assert (warm.colour_temperature_k, warm.colour_gains) == (3200, None)


def test_what_a_station_does_not_use_is_not_loaded() -> None:
    look = (
        "import sys, edge.camera.settings; "
        "print(sorted({'gi', 'picamera2', 'harvesters', 'genicam'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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
    film = SETTINGS.validate_python({"kind": "gstreamer", "source": "film.avi"}, context=context)
    assert isinstance(film, GStreamerSettings)
    assert film.source == "/etc/leukoscope/film.avi"
    for source in ("csi:0", "pipeline: videotestsrc", "rtsp://host/smear"):
        other = SETTINGS.validate_python({"kind": "gstreamer", "source": source}, context=context)
        assert isinstance(other, GStreamerSettings)
        assert other.source == source
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
        {"kind": "video", "source": "rtsp://host/smear", "controls": {"gain": 1}},
        {"kind": "video", "source": 0, "controls": {"exposure_us": 0}},
        {"kind": "video", "source": 0, "controls": {"white_balance": [1.9]}},
        {"kind": "video", "source": 0, "controls": {"white_balance": 12}},
        {"kind": "gstreamer", "source": ""},
        {"kind": "gstreamer", "source": "csi:front"},
        {"kind": "gstreamer", "source": "csi:0", "controls": {"white_balance": [1.9, 1.4]}},
        {"kind": "gstreamer", "source": "rtsp://host/smear", "controls": {"gain": 1}},
        {"kind": "gstreamer", "source": "pipeline: videotestsrc", "controls": {"gain": 1}},
        {"kind": "picamera2", "width_px": 640},
        {"kind": "picamera2", "sensor_height_px": 640},
        {"kind": "genicam", "controls": {"white_balance": 5000}},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SETTINGS.validate_python(wrong)
