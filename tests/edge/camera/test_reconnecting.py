"""A live camera that vanishes and returns, by the rules alone; ``test_video`` does it over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from types import TracebackType

import numpy as np
import pytest
from typing_extensions import Self

from edge.camera.reconnecting import Backoff, CameraState, Reconnecting
from edge.errors import CameraError
from edge.frame import Frame


class Plugged:
    """A camera that is there for so many frames, then gone."""

    name = "plugged"
    live = True

    def __init__(self, *, frames: int | None, opens: bool = True) -> None:
        self._left = frames
        self._opens = opens
        self._index = 0
        self._opened = False
        self.closed = 0

    def __enter__(self) -> Self:
        if not self._opens:
            raise CameraError("The camera is not plugged in.", remedy="Plug it in.")
        self._opened = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened = False
        self.closed += 1

    def read(self) -> Frame | None:
        if not self._opened:
            raise CameraError("The camera is not open.", remedy="Open it.")
        if self._left is not None and self._index >= self._left:
            raise CameraError("The camera is gone.", remedy="Plug it in.")
        self._index += 1
        return Frame(
            pixels=np.zeros((4, 4, 3), dtype=np.uint8),
            index=self._index - 1,
            source=self.name,
            captured_at=datetime.now(timezone.utc),
            monotonic_s=float(self._index),
        )


def in_turn(*cameras: Plugged) -> Callable[[], Plugged]:
    """The first is only asked for its name."""
    given: Iterator[Plugged] = iter((Plugged(frames=0), *cameras))
    return lambda: next(given)


def test_it_is_a_camera(camera_contract: Callable[..., None]) -> None:
    camera_contract(lambda: Reconnecting(make=lambda: Plugged(frames=None)))


def test_frames_go_on_over_a_loss() -> None:
    waits: list[float] = []
    states: list[CameraState] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    first = Plugged(frames=2)
    with Reconnecting(
        make=in_turn(
            first, Plugged(frames=0, opens=False), Plugged(frames=0, opens=False), Plugged(frames=2)
        ),
        backoff=Backoff(first_s=1, cap_s=3),
        jitter=lambda: 0.0,
        wait=wait,
        on_state=lambda state, _: states.append(state),
    ) as camera:
        assert camera.state == "starting"
        frames = [camera.read() for _ in range(4)]
        assert camera.losses == 1
    assert [frame.index for frame in frames if frame is not None] == [0, 1, 2, 3]
    assert states == ["streaming", "lost", "streaming"]
    assert waits == [1, 2, 3], "doubling up to the cap"
    assert first.closed == 1, "a lost camera is let go before it is opened again"


def test_the_backoff_begins_anew_after_a_frame() -> None:
    waits: list[float] = []
    with Reconnecting(
        make=in_turn(*(Plugged(frames=1) for _ in range(4))),
        backoff=Backoff(first_s=1, cap_s=60),
        jitter=lambda: 0.0,
        wait=lambda seconds: waits.append(seconds) is not None,
    ) as camera:
        for _ in range(4):
            assert camera.read() is not None
    assert waits == [1, 1, 1]


def test_a_camera_that_is_away_at_the_start_is_waited_for() -> None:
    with Reconnecting(
        make=in_turn(Plugged(frames=0, opens=False), Plugged(frames=1)), wait=lambda _: False
    ) as camera:
        assert camera.state == "lost"
        assert camera.problem is not None
        assert camera.problem.remedy == "Plug it in."
        assert camera.losses == 0, "what never streamed was not lost"
        assert camera.read() is not None
        assert camera.state == "streaming"
        assert camera.problem is None


def test_interrupt_ends_the_wait_from_another_thread() -> None:
    waiting = threading.Event()
    answers: list[Frame | None] = []

    def lost(state: CameraState, _: CameraError | None) -> None:
        if state == "lost":
            waiting.set()

    camera = Reconnecting(
        make=lambda: Plugged(frames=0, opens=False), backoff=Backoff(first_s=600, cap_s=600), on_state=lost
    )
    with camera:
        reader = threading.Thread(target=lambda: answers.append(camera.read()))
        reader.start()
        assert waiting.wait(5)
        camera.interrupt()
        reader.join(5)
        assert not reader.is_alive()
    assert answers == [None]


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_the_backoff_is_jittered_and_capped(jitter: float) -> None:
    backoff = Backoff(first_s=0.5, cap_s=15)
    delays = [backoff.delay_s(attempt, jitter=jitter) for attempt in (0, 1, 5, 10**6)]
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(15 * (1 - jitter / 2))
    assert all(0 < delay <= 15 for delay in delays)


def test_an_interrupt_that_comes_before_the_opening_counts() -> None:
    camera = Reconnecting(
        make=lambda: Plugged(frames=0, opens=False), backoff=Backoff(first_s=600, cap_s=600)
    )
    camera.interrupt()
    with camera:
        assert camera.read() is None
