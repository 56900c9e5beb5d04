"""The capturing thread: its camera's state, its end, and another thread that takes over."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.daemon.capture import CAPTURE, Capture
from edge.daemon.handover import Handover
from edge.daemon.timing import StageClock
from edge.errors import CameraError
from edge.frame import Frame

DEADLINE_S = 20


class FakeCamera:
    """Gives as many frames as it is told to; may then hang, be lost, or break by a fault of the program."""

    name = "fake"

    def __init__(self, *, frames=3, live=True, then="ends"):
        self.left, self.live, self.then = frames, live, then
        self.index = 0
        self.stuck, self.release, self.closed = (threading.Event() for _ in range(3))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed.set()

    def read(self):
        if self.left == 0:
            if self.then == "ends":
                return None
            if self.then == "lost":
                raise CameraError("The cable is out.")
            if self.then == "breaks":
                raise RuntimeError("the driver's wrapper has a bug")
            self.stuck.set()
            assert self.release.wait(DEADLINE_S)
        else:
            self.left -= 1
        self.index += 1
        return Frame(
            pixels=np.zeros((4, 4, 3), np.uint8),
            index=self.index - 1,
            source="fake",
            captured_at=datetime.now(timezone.utc),
            monotonic_s=time.monotonic(),
        )


class Bench:
    def __init__(self, *cameras):
        self.cameras = list(cameras)
        self.frames = Handover(capacity=100, live=cameras[0].live)
        self.clock = StageClock(monotonic_s=time.monotonic)
        given = iter(cameras[1:])
        self.capture = Capture(
            camera=cameras[0], frames=self.frames, clock=self.clock, reopen=lambda: next(given)
        )

    def indices(self):
        """Of everything that comes until the end."""
        found = []
        while not self.frames.drained:
            frame = self.frames.get(DEADLINE_S)
            if frame is not None:
                found.append(frame.index)
        return found


def test_a_replay_is_read_to_its_end():
    bench = Bench(FakeCamera(frames=3, live=False))
    assert bench.capture.state == "starting"
    bench.capture.start()
    assert bench.indices() == [0, 1, 2]
    assert bench.capture.state == "finished"
    assert (bench.capture.frames_read, bench.clock.passes(CAPTURE)) == (3, 4)
    assert bench.capture.silent_s is None, "what has ended owes no progress"


def test_a_camera_that_is_lost_for_good_says_why():
    bench = Bench(FakeCamera(frames=1, then="lost"))
    bench.capture.start()
    assert bench.indices() == [0]
    assert (bench.capture.state, str(bench.capture.failure)) == ("lost", "The cable is out.")
    assert bench.capture.silent_s is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_program_is_a_fault_of_the_part_and_another_camera_goes_on():
    bench = Bench(FakeCamera(frames=2, then="breaks"), FakeCamera(frames=2))
    bench.capture.start()
    bench.capture._shift.thread.join(DEADLINE_S)
    assert bench.capture.fault == "RuntimeError: the driver's wrapper has a bug"
    assert bench.cameras[0].closed.is_set()
    bench.capture.restart(bench.capture.fault)
    assert bench.indices() == [0, 1, 2, 3]
    assert bench.capture.fault == ""


def test_a_stuck_camera_is_left_and_what_it_gives_late_is_not_taken():
    stuck, fresh = FakeCamera(frames=2, then="hangs"), FakeCamera(frames=2)
    bench = Bench(stuck, fresh)
    bench.capture.start()
    assert stuck.stuck.wait(DEADLINE_S)
    assert bench.capture.state == "streaming"
    old = bench.capture._shift.thread
    bench.capture.restart("no progress for 10 s")
    assert bench.capture.camera is fresh
    stuck.release.set()
    old.join(DEADLINE_S)
    assert stuck.closed.is_set(), "its own thread gives the device back"
    assert bench.indices() == [0, 1, 2, 3]
    assert bench.capture.left_behind == 0


def test_a_replay_is_not_begun_anew_because_its_frames_would_come_twice():
    bench = Bench(FakeCamera(live=False), FakeCamera(live=False))
    assert not bench.capture.restartable
    with pytest.raises(CameraError, match="cannot be begun anew"):
        bench.capture.restart("stuck")


def test_a_camera_that_is_given_up_lets_the_stages_behind_come_to_their_end():
    stuck = FakeCamera(frames=1, then="hangs")
    bench = Bench(stuck)
    bench.capture.start()
    assert stuck.stuck.wait(DEADLINE_S)
    bench.capture.give_up("five restarts")
    assert bench.indices() == [0]
    assert bench.capture.silent_s is None
    assert bench.capture.left_behind == 1
    stuck.release.set()
