"""A running station looks for a newer bundle, has it proved, and asks for a new run."""

import os
import resource
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from edge.errors import EngineError
from edge.update.hand_look import HandLook
from tests.edge.daemon.updates.updated_station import (
    EVERY_S,
    NOW,
    WAIT_S,
    WAY,
)
from tests.edge.update.workbench import FAILED


def test_a_newer_bundle_is_found_at_the_start_proved_and_asks_for_a_new_run(run, bench):
    first = run()
    assert (first.on_trial, first.updates.restart, first.updates.told) == (False, "", "")
    first.seconds()
    assert first.updates.restart == "probe release 5 has proved itself and begins its trial"
    assert first.states() == WAY
    assert {each.stamp.bundle for each in first.records()[-4:]} == {bench.old_id}
    first.updates.stop(WAIT_S)
    assert run().on_trial


def test_it_looks_again_when_its_time_has_come_or_when_it_is_told_to(run, bench):
    here = run(proof=FAILED)
    here.seconds()
    assert len(here.self_test.bundles) == 1
    here.seconds(20)
    assert len(here.self_test.bundles) == 1
    here.now_s += EVERY_S
    here.seconds()
    assert len(here.self_test.bundles) == 2
    bench.updater().forgive(bench.candidate_id)
    here.updates.look()
    here.seconds()
    assert len(here.self_test.bundles) == 3


@pytest.mark.parametrize(
    ("minutes_ago", "told"),
    [(1, "The stick brought nothing at"), (61, ""), (-61, "")],
    ids=["a minute ago", "an hour ago", "before the clock was set back"],
)
def test_what_came_of_a_stick_is_told_for_an_hour(run, bench, minutes_ago, told):
    station = run(proof=FAILED)
    at = NOW - timedelta(minutes=minutes_ago)
    bench.store().keep_hand_look(HandLook(at=at, source="The stick", refused=True, detail="not signed"))
    station.seconds()
    assert station.updates.told.startswith(told)
    assert ("not signed" in station.updates.told) is bool(told)


def test_it_does_not_look_twice_at_a_time(run, proved):
    here = run()
    held, begun = threading.Event(), []

    def slow(*, cancelled):
        begun.append(cancelled)
        assert held.wait(WAIT_S)
        raise EngineError("Enough was seen.")

    here.updates._updater.run_once = slow
    here.updates.look()
    here.updates.look()
    held.set()
    here.seconds()
    assert len(begun) == 1
    assert here.problems.standing() == ("Enough was seen.",)


def test_a_candidate_that_fails_is_told_and_a_later_look_that_does_not_clears_it(run):
    here = run(proof=FAILED)
    here.seconds()
    assert here.states() == [*WAY, "rolled_back"]
    (problem,) = here.problems.standing()
    assert problem.startswith("An update failed, and nothing has changed:")
    assert "golden set FAILED" in problem
    assert (here.updates.restart, here.updates.told) == ("", "")
    here.self_test.proof = replace(FAILED, passed=True)
    here.now_s += EVERY_S
    here.seconds()
    assert here.problems.standing() == ()


def test_a_candidate_that_is_ready_waits_for_the_end_of_a_slide_that_has_cells(run):
    here = run()
    here.count()
    here.seconds()
    assert here.updates.restart == ""
    assert here.updates.told == (
        "A new bundle waits for the slide's end: the open slide has 1 cells of the bundle that counts it."
    )
    here.desk.close()
    here.seconds()
    assert "begins its trial" in here.updates.restart


def test_a_cancelled_candidate_is_not_tried(run, bench):
    here = run()
    here.count()
    here.seconds()
    here.updates.cancel()
    here.seconds()
    assert here.states() == [*WAY, "idle"]
    here.desk.close()
    here.seconds()
    assert here.updates.restart == ""
    here.updates.cancel()
    assert here.problems.standing() == ()


def test_a_station_out_of_descriptors_says_so_and_looks_when_some_are_free(run):
    here = run()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        here.seconds()
        (problem,) = here.problems.standing()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "Too many open files" in problem
    here.updates.look()
    here.seconds()
    assert "begins its trial" in here.updates.restart
    assert here.problems.standing() == ()
