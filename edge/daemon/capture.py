"""The capturing thread: reads the camera, and does nothing else."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from typing import Final, Literal

from edge.camera.protocol import Camera
from edge.camera.reconnecting import Reconnecting
from edge.daemon.handover import Handover
from edge.daemon.timing import StageClock
from edge.errors import CameraError
from edge.frame import Frame

_log = logging.getLogger(__name__)

CAPTURE: Final = "capture"
CameraState = Literal["streaming", "lost", "finished", "starting"]


class _Shift:
    """One thread's time with one camera, until it is relieved."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.relieved = False
        self.seen = False
        self.fault = ""
        self.thread: threading.Thread | None = None


class Capture:
    """Feeds the frame queue from a camera until it ends, fails for good, or is stopped.

    ``reopen`` makes a fresh camera for a thread that takes over from a stuck one; without it, and with a
    replay, whose frames would come twice, there is no taking over. Frame indices rise on over all of them.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        frames: Handover[Frame],
        clock: StageClock,
        reopen: Callable[[], Camera] | None = None,
    ) -> None:
        self._frames = frames
        self._clock = clock
        self._reopen = reopen if camera.live else None
        self._stopping = threading.Event()
        self._finished = threading.Event()
        self._lock = threading.Lock()
        self._shift = _Shift(camera)
        self._left: list[_Shift] = []
        self.frames_read = 0
        self.newest: Frame | None = None
        self.failure: CameraError | None = None

    def start(self) -> None:
        """Open the camera in the new thread and read it."""
        self._begin(self._shift)

    def restart(self, reason: str) -> None:
        """Leave the stuck thread and its camera to each other, and read a fresh camera in another."""
        if self._reopen is None:
            raise CameraError(
                f"The camera {self.camera.name} cannot be begun anew.", remedy="Replay it again."
            )
        _log.warning("the camera %s is opened anew: %s", self.camera.name, reason)
        fresh = _Shift(self._reopen())
        self._leave(self._shift)
        self._left = [each for each in (*self._left, self._shift) if _lives(each)]
        self._shift = fresh
        self._begin(fresh)

    def give_up(self, reason: str) -> None:
        """Read no more: the stages behind see to what waits, and come to their end."""
        _log.error("the camera %s is given up: %s", self.camera.name, reason)
        self._stopping.set()
        self._leave(self._shift)
        self._frames.end()

    def stop(self, timeout_s: float) -> bool:
        """End the reading; whether the thread ended in time. A camera stuck in a driver may not."""
        self._stopping.set()
        _interrupt(self.camera)
        self._frames.end()
        thread = self._shift.thread
        if thread is None:
            return True
        if not self._shift.relieved:
            thread.join(timeout_s)
        return not thread.is_alive()

    @property
    def camera(self) -> Camera:
        """The camera that is read now."""
        return self._shift.camera

    @property
    def restartable(self) -> bool:
        """Whether another thread can take over."""
        return self._reopen is not None

    @property
    def state(self) -> CameraState:
        """What the camera does now; one that reconnects by itself knows better than its reader."""
        if isinstance(self.camera, Reconnecting):
            return self.camera.state
        if self.failure is not None:
            return "lost"
        if self._finished.is_set():
            return "finished"
        return "streaming" if self._shift.seen else "starting"

    @property
    def fault(self) -> str:
        """By what error of the program the thread has ended; empty where it has not."""
        return self._shift.fault

    @property
    def silent_s(self) -> float | None:
        """How long since the last sign of progress; None where a camera owes none, being away for one."""
        if self._stopping.is_set() or self.state != "streaming":
            return None
        return self._clock.silent_s(CAPTURE)

    @property
    def left_behind(self) -> int:
        """How many relieved threads are still stuck."""
        return sum(map(_lives, self._left)) + (self._shift.relieved and _lives(self._shift))

    def _begin(self, shift: _Shift) -> None:
        self._clock.alive(CAPTURE)
        shift.thread = threading.Thread(target=self._run, args=(shift,), name=CAPTURE, daemon=True)
        shift.thread.start()

    def _leave(self, shift: _Shift) -> None:
        with self._lock:
            shift.relieved = True
        # Where it only waits for its camera's return, it comes back at once, and closes the device.
        _interrupt(shift.camera)

    def _run(self, shift: _Shift) -> None:
        try:
            with shift.camera:
                self._read_all(shift)
            if not shift.relieved:
                self._finished.set()
                self._frames.end()
        except CameraError as error:
            if shift.relieved:
                return
            self.failure = error
            _log.error("camera %s: %s", shift.camera.name, error)
            self._frames.end()
        except BaseException as error:
            # Told and raised: a fault of the program itself is to be seen in the log with its place.
            shift.fault = f"{type(error).__name__}: {error}"
            raise

    def _read_all(self, shift: _Shift) -> None:
        offset: int | None = None
        while not self._stopping.is_set():
            with self._clock.stage(CAPTURE):
                frame = shift.camera.read()
            if frame is None:
                return
            with self._lock:
                if shift.relieved:
                    return
                if offset is None:
                    offset = 0 if self.newest is None else self.newest.index + 1
                if offset:
                    frame = dataclasses.replace(frame, index=frame.index + offset)
                shift.seen = True
                self.frames_read += 1
                self.newest = frame
            self._frames.put(frame, on_wait=lambda: self._clock.alive(CAPTURE))


def _interrupt(camera: Camera) -> None:
    if isinstance(camera, Reconnecting):
        camera.interrupt()


def _lives(shift: _Shift) -> bool:
    return shift.thread is not None and shift.thread.is_alive()
