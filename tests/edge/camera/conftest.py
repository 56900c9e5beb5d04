"""Sources that several cameras are tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from edge.camera.gstreamer_bindings import GStreamer, load_gstreamer
from edge.camera.protocol import Camera
from edge.errors import CameraError
from tests.edge.camera import contract
from tests.edge.camera.mjpeg_sender import Stream, picture

FILM_FRAMES = 12


@pytest.fixture
def camera_contract() -> Callable[[Callable[[], Camera]], None]:
    """Call it with a function that makes the camera: ``camera_contract(lambda: FolderCamera(...))``."""
    return contract.holds


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve JPEGs in an AVI, each brighter than the one before."""
    path = tmp_path_factory.mktemp("film") / "smear.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    assert writer.isOpened()
    for number in range(FILM_FRAMES):
        writer.write(cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def stream() -> Iterator[Stream]:
    """A network camera that sends JPEG after JPEG without end."""
    served = Stream()
    yield served
    served.kill()


@pytest.fixture(scope="session")
def gstreamer() -> GStreamer:
    """GStreamer, where this machine has it."""
    try:
        return load_gstreamer()
    except CameraError as error:
        pytest.skip(str(error))
