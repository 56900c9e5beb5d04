"""What every camera promises, whatever it films; each function is one promise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from edge.camera.protocol import Camera
from edge.camera.reconnecting import Backoff, CameraState, Reconnecting
from edge.errors import CameraError
from edge.frame import Frame

Make = Callable[[], Camera]
"""A new, unopened camera of two frames or more."""


def holds(make: Make) -> None:
    """All that needs no accident."""
    opens_on_enter(make())
    frames_are_pictures_in_order(make())
    closing_twice_is_harmless(make())


def opens_on_enter(camera: Camera) -> None:
    assert camera.name, "a person must be able to tell which camera it is"
    assert isinstance(camera.live, bool)
    with pytest.raises(CameraError) as fault:
        camera.read()
    assert fault.value.remedy, "an error names its remedy"
    with camera as opened:
        assert opened is camera
        assert camera.read() is not None


def frames_are_pictures_in_order(camera: Camera) -> None:
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
        assert frame.exposure_us is None or frame.exposure_us > 0
    # A reader may keep a frame: the camera must not draw the next one over it.
    kept = first.pixels.copy()
    with camera:
        camera.read()
        camera.read()
    assert np.array_equal(first.pixels, kept)


def closing_twice_is_harmless(camera: Camera) -> None:
    with camera:
        camera.read()
    camera.__exit__(None, None, None)
    with pytest.raises(CameraError):
        camera.read()


def tells_that_it_is_absent(camera: Camera) -> CameraError:
    """Of a camera that is not there: it says so on opening, with a remedy, and can be closed."""
    with pytest.raises(CameraError) as fault, camera:
        pass
    assert fault.value.fault
    assert fault.value.remedy
    camera.__exit__(None, None, None)
    with pytest.raises(CameraError):
        camera.read()
    return fault.value


def until_lost(camera: Camera) -> tuple[list[Frame], CameraError]:
    """Everything that an open live camera still gives, and how it ends."""
    frames: list[Frame] = []
    while True:
        try:
            frame = camera.read()
        except CameraError as error:
            return frames, error
        assert frame is not None, "a live camera does not end, it is lost"
        frames.append(frame)
        assert len(frames) < 10_000


def comes_back(make: Make, *, unplug: Callable[[], None], plug_in: Callable[[], None]) -> None:
    """Of a live camera: its loss is an error with a remedy, and it streams again when it is there again."""
    camera = make()
    assert camera.live
    with camera:
        assert camera.read() is not None
        unplug()
        _, fault = until_lost(camera)
        assert fault.remedy
    tells_that_it_is_absent(make())
    plug_in()

    states: list[CameraState] = []
    waits = 0

    def wait(_: float) -> bool:
        # Waiting is when the world changes: the second time, the camera is back.
        nonlocal waits
        waits += 1
        if waits == 2:
            plug_in()
        return False

    with Reconnecting(
        make=make,
        backoff=Backoff(first_s=0.001, cap_s=0.001),
        wait=wait,
        on_state=lambda state, _: states.append(state),
    ) as reconnecting:
        frames = [reconnecting.read(), reconnecting.read()]
        unplug()
        while reconnecting.losses == 0:
            frames.append(reconnecting.read())
        frames.append(reconnecting.read())
    assert states == ["streaming", "lost", "streaming"]
    assert waits == 2, "the first attempt met an absent camera"
    assert [frame.index for frame in frames if frame is not None] == list(range(len(frames)))
    times_s = [frame.monotonic_s for frame in frames if frame is not None]
    assert times_s == sorted(times_s)
