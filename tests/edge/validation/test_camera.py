"""Only a live camera proves anything about a camera."""

from __future__ import annotations

from pathlib import Path

import pytest
from typing_extensions import Self

from edge.camera.hardware_settings import VideoSettings
from edge.camera.settings import FolderSettings, VirtualSlideSettings, open_camera
from edge.errors import CameraError
from edge.frame import Frame
from edge.validation import camera as module
from edge.validation.camera import camera
from edge.validation.line import State


@pytest.mark.parametrize("kind", ["virtual_slide", "folder"])
def test_what_is_no_camera_shows_nothing(kind: str, tmp_path: Path) -> None:
    settings = (
        VirtualSlideSettings(kind="virtual_slide")
        if kind == "virtual_slide"
        else FolderSettings(kind="folder", path=tmp_path)
    )
    line = camera(settings)
    assert line.state is State.NOT_HERE
    assert f"configured with a {kind}" in line.reason


class LiveCamera:
    """Gives the same frame so many times, and then none."""

    name = "bench camera"
    live = True

    def __init__(self, frame: Frame, times: int) -> None:
        self._waiting = [frame] * times

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def read(self) -> Frame | None:
        return self._waiting.pop() if self._waiting else None


@pytest.mark.parametrize(("given", "state"), [(60, State.DONE), (90, State.DONE), (1, State.FAILED)])
def test_a_live_cameras_rate_is_measured(given: int, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_camera(VirtualSlideSettings(kind="virtual_slide", live=False)) as source:
        frame = source.read()
    assert frame is not None
    monkeypatch.setattr(module, "bare_camera", lambda _settings: LiveCamera(frame, given))
    line = camera(VideoSettings(kind="video", source=0), frames=60)
    assert line.state is state
    if state is State.DONE:
        assert line.figures["frames"] == 60
        assert line.figures["size"] == "640x480"
        assert line.figures["frames_per_s"] > 0


def test_a_camera_that_is_away_is_one_message() -> None:
    with pytest.raises(CameraError):
        camera(VideoSettings(kind="video", source="rtsp://127.0.0.1:9/none"), limit_s=1)
