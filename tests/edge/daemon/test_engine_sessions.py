"""Sessions of the networks are opened anew, and a stuck one is closed when its thread comes back."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest

from benchmarks.scripted_station import BUNDLE, Script, draw_pictures
from edge.daemon.engine_sessions import EngineSessions
from edge.errors import EngineError

DEADLINE_S = 20


class Bench:
    """Sessions on scripted engines; what was opened and closed is counted."""

    def __init__(self, *ways, refuses=False):
        self.script = Script(*ways)
        self.refuses = refuses
        self.closed = 0
        self.answers = 0
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(self.script.networks())
        self.sessions = EngineSessions(networks=first, open_anew=self._open, on_answer=self._note)

    @contextlib.contextmanager
    def _open(self):
        if self.refuses:
            raise EngineError("There is no memory.")
        with self.script.networks() as networks:
            yield networks
        self.closed += 1

    def _note(self):
        self.answers += 1


@pytest.fixture(scope="module")
def picture():
    return draw_pictures()[0]


def test_every_answer_of_a_field_is_noted_so_that_a_large_one_is_not_taken_for_stuck(picture):
    bench = Bench("good")
    bench.sessions.analyze(picture, um_per_px=None)
    usual = bench.answers
    large = np.ascontiguousarray(np.tile(picture, (2, 2, 1)))
    bench.sessions.analyze(large, um_per_px=BUNDLE.manifest.detector.um_per_px)
    assert usual == 2
    assert bench.answers - usual > 8


def test_a_reopened_session_is_used_and_the_idle_one_before_is_closed(picture):
    bench = Bench("good")
    bench.sessions.reopen()
    bench.sessions.reopen()
    assert bench.closed == 1
    assert bench.sessions.analyze(picture)
    bench.sessions.close()
    assert bench.closed == 2


def test_a_session_that_a_thread_is_stuck_in_is_closed_when_it_comes_back_and_its_answers_are_not_noted(
    picture,
):
    bench = Bench("hangs", "good")
    bench.sessions.reopen()
    stuck = threading.Thread(target=bench.sessions.analyze, args=(picture,))
    stuck.start()
    assert bench.script.hanging.acquire(timeout=DEADLINE_S)
    bench.sessions.reopen()
    assert bench.closed == 0
    bench.sessions.analyze(picture)
    answers = bench.answers
    bench.script.release.set()
    stuck.join(DEADLINE_S)
    assert bench.closed == 1
    assert bench.answers == answers


def test_networks_that_cannot_be_loaded_again_leave_those_that_are(picture):
    bench = Bench("good", refuses=True)
    with pytest.raises(EngineError, match="no memory"):
        bench.sessions.reopen()
    assert bench.sessions.analyze(picture)
