"""Engines that are built beside a serving station."""

import logging
import threading

import pytest

from edge.cancellation import CancelledError
from edge.daemon.engine_builder import EngineBuilder
from edge.engine.engine_build import BuildEvent
from edge.errors import EngineError

DEADLINE_S = 20


def event(what, **more):
    return BuildEvent(event=what, role="detector", precision="fp16", **more)


def run(build):
    builder = EngineBuilder(build=build)
    builder.start()
    builder._thread.join(DEADLINE_S)
    assert not builder._thread.is_alive()
    return builder


def test_what_was_built_is_told_and_what_was_there_is_not():
    built = event("built", seconds=2.0, plan_bytes=10)
    assert run(lambda _: (event("progress"), built, event("kept"))).built == (built,)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda _: (event("failed", reason="no memory"),), "no engine of the detector in fp16: no memory"),
        (lambda _: (_ for _ in ()).throw(EngineError("The builder died.")), "The builder died."),
    ],
)
def test_a_build_that_fails_is_logged_and_changes_nothing(build, words, caplog):
    with caplog.at_level(logging.WARNING):
        assert run(lambda cancelled: tuple(build(cancelled))).built == ()
    assert words in caplog.text


def test_a_station_that_stops_gives_the_build_up():
    begun = threading.Event()

    def build(cancelled):
        begun.set()
        pause = threading.Event()
        while not cancelled():
            pause.wait(0.01)
        raise CancelledError

    builder = EngineBuilder(build=build)
    builder.start()
    assert begun.wait(DEADLINE_S)
    builder.stop(DEADLINE_S)
    assert not builder._thread.is_alive()
    assert builder.built == ()


def test_one_that_was_never_started_is_stopped_at_once():
    EngineBuilder(build=lambda _: ()).stop(DEADLINE_S)
