"""What every camera promises, whatever it films."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from edge.camera.protocol import Camera
from edge.errors import CameraError

CameraContract = Callable[[Callable[[], Camera]], None]


def _hold_to_contract(make: Callable[[], Camera]) -> None:
    """Run the promises of ``Camera`` on what ``make`` gives: each time a new camera of two frames or more."""
    _opens_on_enter(make())
    _frames_are_pictures_in_order(make())
    _closing_twice_is_harmless(make())


def _opens_on_enter(camera: Camera) -> None:
    assert camera.name, "a person must be able to tell which camera it is"
    assert isinstance(camera.live, bool)
    with pytest.raises(CameraError) as fault:
        camera.read()
    assert fault.value.remedy, "an error names its remedy"
    with camera as opened:
        assert opened is camera
        assert camera.read() is not None


def _frames_are_pictures_in_order(camera: Camera) -> None:
    with camera:
        frames = [camera.read(), camera.read()]
    first, second = frames
    assert first is not None
    assert second is not None
    assert second.index > first.index >= 0
    assert second.monotonic_s >= first.monotonic_s
    for frame in (first, second):
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.shape == (frame.height_px, frame.width_px, 3)
        assert frame.pixels.flags.c_contiguous
        assert frame.source
        assert frame.captured_at.utcoffset() == timedelta(0), "records carry UTC"
        assert frame.um_per_px is None or frame.um_per_px > 0
    # A reader may keep a frame: the camera must not draw the next one over it.
    kept = first.pixels.copy()
    with camera:
        camera.read()
        camera.read()
    assert np.array_equal(first.pixels, kept)


def _closing_twice_is_harmless(camera: Camera) -> None:
    with camera:
        camera.read()
    camera.__exit__(None, None, None)
    with pytest.raises(CameraError):
        camera.read()


@pytest.fixture
def camera_contract() -> CameraContract:
    """Call it with a function that makes the camera: ``camera_contract(lambda: FolderCamera(...))``."""
    return _hold_to_contract
