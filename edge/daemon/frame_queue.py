"""The bounded queue between the camera and the analysis."""

from __future__ import annotations

import threading
from collections import deque

from edge.frame import Frame


class FrameQueue:
    """Hands frames from one capturing thread to one analysing thread.

    From a live camera a slow reader gets the newest frames: the oldest waiting one is dropped and counted.
    From a replay nothing is dropped: ``put`` waits.
    """

    def __init__(self, *, capacity: int, live: bool) -> None:
        self._capacity = capacity
        self._live = live
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many frames went stale before they were read."""
        return self._dropped

    def __len__(self) -> int:
        """How many frames wait."""
        return len(self._frames)

    def put(self, frame: Frame) -> None:
        """Add a frame; of a replay, wait for room. After ``end`` it is let go."""
        with self._changed:
            if self._live:
                if len(self._frames) >= self._capacity:
                    self._frames.popleft()
                    self._dropped += 1
            else:
                self._changed.wait_for(lambda: self._ended or len(self._frames) < self._capacity)
            if not self._ended:
                self._frames.append(frame)
                self._changed.notify_all()

    def get(self, timeout_s: float) -> Frame | None:
        """The oldest waiting frame; None when none comes in time, or when it is ended and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._ended, timeout=timeout_s)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def end(self) -> None:
        """No more frames come; what waits can still be read."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def drained(self) -> bool:
        """Whether no frame waits and none will come."""
        with self._changed:
            return self._ended and not self._frames
