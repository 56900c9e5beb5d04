"""A bundle on trial in a running station: it stays, or goes back."""

import pytest

from edge.errors import EngineError
from tests.edge.daemon.updates.updated_station import WAIT_S, WAY, Golden
from tests.edge.update.workbench import PATIENCE


def test_a_bundle_on_trial_stays_after_enough_fields_and_that_is_recorded_once(run, proved):
    here = run()
    assert here.on_trial
    here.serves(49)
    here.seconds()
    assert here.updates.told == "A new bundle is on trial: 49 fields, 6 s of service"
    here.serves(1)
    here.seconds(50)
    assert (here.updates.told, here.updates.restart) == ("", "")
    assert here.states() == [*WAY, "trial", "committed"]
    assert here.records()[-1].stamp.bundle == proved.candidate_id
    here.updates.stop(WAIT_S)
    assert not run().on_trial


def test_a_golden_set_that_does_not_agree_in_the_serving_engines_takes_it_back(run, proved):
    here = run(golden=lambda: Golden(passed=False))
    here.serves(50)
    here.seconds()
    assert here.updates.restart == "the bundle on trial did not pass: golden set FAILED"
    assert here.states() == [*WAY, "trial", "rolled_back"]
    assert proved.store().shelf.active == proved.old_id


def test_an_engine_that_fails_on_the_golden_set_takes_it_back(run, proved):
    def broken():
        raise EngineError("The detector failed.", remedy="Get another.")

    here = run(golden=broken)
    here.seconds()
    assert "engine error: The detector failed." in here.updates.restart


def test_a_bundle_that_has_passed_is_not_asked_for_its_golden_set(run):
    def never():
        pytest.fail("it was asked")

    run(golden=never).seconds()


def test_an_end_in_a_trial_is_not_held_against_the_bundle(run, proved):
    for _ in range(PATIENCE.deaths + 1):
        here = run()
        assert here.on_trial
        here.seconds()
        here.updates.stop(WAIT_S)
    assert here.attempt.trial.deaths == 0
    assert here.attempt.trial.served_s == 6 * (PATIENCE.deaths + 1)


def test_the_latency_of_an_active_bundle_is_kept_for_the_next_trial(run, bench):
    here = run()
    here.serves(50, latency_ms=80.0)
    here.updates.stop(WAIT_S)
    assert bench.store().journal.read().active_p99_ms == 80


def test_a_command_at_work_on_the_updates_is_waited_for_without_a_word(run, proved):
    here = run()
    here.serves(50)
    with proved.store().lock():
        here.seconds()
        assert here.attempt.state == "trial"
    here.seconds()
    assert here.states()[-1] == "committed"
    assert here.problems.standing() == ()


def test_a_full_disk_is_told_and_decided_when_there_is_room_again(run, proved):
    here = run()
    here.serves(50)
    here.disk.full = True
    here.seconds()
    (problem,) = here.problems.standing()
    assert "No space left" in problem
    here.disk.full = False
    here.seconds()
    assert here.states()[-1] == "committed"
