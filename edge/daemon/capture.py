"""The capturing thread: reads the camera, and does nothing else."""

from __future__ import annotations

import logging
import threading
from typing import Final, Literal

from edge.camera.protocol import Camera
from edge.daemon.handover import Handover
from edge.daemon.timing import StageClock
from edge.errors import CameraError
from edge.frame import Frame

_log = logging.getLogger(__name__)

CAPTURE: Final = "capture"
CameraState = Literal["streaming", "lost", "finished", "starting"]


class Capture:
    """Feeds the frame queue from a camera until it ends, fails for good, or is stopped."""

    def __init__(self, *, camera: Camera, frames: Handover[Frame], clock: StageClock) -> None:
        self._camera = camera
        self._frames = frames
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=CAPTURE, daemon=True)
        self._finished = threading.Event()
        self.frames_read = 0
        self.newest: Frame | None = None
        self.failure: CameraError | None = None

    def start(self) -> None:
        """Open the camera in the new thread and read it."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the reading; whether the thread ended in time. A camera stuck in a driver may not."""
        self._stopping.set()
        self._frames.end()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def state(self) -> CameraState:
        """What the camera does now."""
        if self.failure is not None:
            return "lost"
        if self._finished.is_set():
            return "finished"
        if self.newest is None:
            return "starting"
        return "streaming"

    def _run(self) -> None:
        try:
            with self._camera:
                self._read_all()
            self._finished.set()
        except CameraError as error:
            self.failure = error
            _log.error("camera %s: %s", self._camera.name, error)
        finally:
            self._frames.end()

    def _read_all(self) -> None:
        while not self._stopping.is_set():
            with self._clock.stage(CAPTURE):
                frame = self._camera.read()
            if frame is None:
                return
            self.frames_read += 1
            self.newest = frame
            self._frames.put(frame)
