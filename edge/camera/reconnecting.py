"""A live camera that may vanish and return."""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from typing_extensions import Self

from edge.camera.protocol import Camera
from edge.errors import CameraError
from edge.frame import Frame

_log = logging.getLogger(__name__)


CameraState = Literal["starting", "streaming", "lost", "finished"]
"""How a camera fares, in the words of the health record."""


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to wait before each next attempt: doubling, capped, jittered.

    The jitter takes away up to half, so that many stations behind one switch do not call at once.
    """

    first_s: float = 0.5
    cap_s: float = 15.0

    def delay_s(self, attempt: int, *, jitter: float) -> float:
        """The wait after failed attempt number ``attempt`` (from 0); ``jitter`` is in [0, 1)."""
        doublings = min(attempt, 32)
        return min(self.cap_s, self.first_s * 2.0**doublings) * (1.0 - jitter / 2.0)


class Reconnecting:
    """Keeps a live camera's frames coming: a lost camera is opened again until it is back.

    ``make`` builds a fresh, unopened camera for each attempt. Opening never fails, since a station must
    outlive a camera that is plugged in later: ``state`` and ``problem`` tell, and ``on_state`` is called in
    the reading thread at each change. Frame indices rise on over losses. ``read`` waits as long as the
    camera is away; ``interrupt``, from any thread, ends that wait and every later one until it is closed.
    """

    def __init__(
        self,
        *,
        make: Callable[[], Camera],
        backoff: Backoff | None = None,
        jitter: Callable[[], float] = random.random,
        wait: Callable[[float], bool] | None = None,
        on_state: Callable[[CameraState, CameraError | None], None] | None = None,
    ) -> None:
        self._make = make
        self._backoff = backoff or Backoff()
        self._jitter = jitter
        self._interrupted = threading.Event()
        self._wait = wait or self._interrupted.wait
        self._on_state = on_state
        self._name = make().name
        self._camera: Camera | None = None
        self._open = False
        self._index = 0
        self.state: CameraState = "starting"
        self.problem: CameraError | None = None
        """Why the camera is away; None while it streams."""
        self.losses = 0
        """How often a streaming camera was lost."""

    @property
    def name(self) -> str:
        """The wrapped camera's name."""
        return self._name

    @property
    def live(self) -> bool:
        """Always: only a live source can come back."""
        return True

    def __enter__(self) -> Self:
        """Try to open the camera once; where it is away, reading goes on trying."""
        self._open = True
        self._try_to_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the camera and end any wait; closing twice is harmless."""
        self.interrupt()
        self._open = False
        self._close()
        # Cleared here and not on opening, where it could undo an interrupt that came just before.
        self._interrupted.clear()

    def interrupt(self) -> None:
        """End the wait for a lost camera; safe from any thread and from a signal handler."""
        self._interrupted.set()

    def read(self) -> Frame | None:
        """The next frame, however long the camera is away; None once interrupted while it is."""
        if not self._open:
            raise CameraError(f"The camera {self.name} is not open.", remedy="Open it before reading.")
        attempt = 0
        while True:
            if self._camera is None:
                if self._interrupted.is_set() or self._wait(self._delay_s(attempt)):
                    return None
                attempt += 1
                self._try_to_open()
                continue
            try:
                frame = self._camera.read()
            except CameraError as error:
                self.losses += 1
                self._lose(error)
                continue
            if frame is None:
                self._enter("finished", None)
                return None
            self._enter("streaming", None)
            self._index += 1
            return dataclasses.replace(frame, index=self._index - 1)

    def _delay_s(self, attempt: int) -> float:
        return self._backoff.delay_s(attempt, jitter=self._jitter())

    def _try_to_open(self) -> None:
        camera = self._make()
        try:
            self._camera = camera.__enter__()
        except CameraError as error:
            self._lose(error)

    def _lose(self, error: CameraError) -> None:
        self._close()
        self._enter("lost", error)

    def _close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.__exit__(None, None, None)

    def _enter(self, state: CameraState, problem: CameraError | None) -> None:
        changed = state != self.state
        self.state, self.problem = state, problem
        if not changed:
            return
        if state == "lost":
            _log.warning("Camera lost: %s", problem)
        elif state == "streaming":
            _log.info("Camera %s streams.", self.name)
        if self._on_state is not None:
            self._on_state(state, problem)
