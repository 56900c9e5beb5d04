"""A proved candidate runs beside the active bundle before its trial."""

from edge.errors import EngineError
from edge.update.shadowing import ShadowGate
from tests.edge.daemon.updates.updated_station import FRAME, MISSED, SAME, WAIT_S, WBC, Opinions

GATE_OF_TWO = ShadowGate(fields=2, max_disagreement=0.1)


def test_with_shadow_a_proved_candidate_first_runs_beside_the_active_bundle(run, proved):
    opinions = Opinions([SAME] * 30, [*[SAME] * 29, MISSED])
    here = run(gate=GATE_OF_TWO, opinions=opinions)
    assert not here.on_trial
    here.seconds()
    assert here.updates.told == ("A new bundle runs beside the active one: 0 of 2 fields are compared.")
    assert here.updates.restart == ""
    here.shadows(opinions, 2)
    assert here.updates.restart == ""
    here.seconds()
    assert "begins its trial" in here.updates.restart
    record = here.records()[-1]
    assert (record.state, record.stamp.bundle) == ("self_testing", proved.old_id)
    assert (record.shadow.fields, record.shadow.objects, record.shadow.differing) == (2, 60, 1)
    assert record.shadow.missed == {WBC: 1}
    assert record.shadow.low < 1 / 60 < record.shadow.high
    assert record.detail.startswith("beside the active bundle on 2 fields: 1 of 60 objects read otherwise")
    here.updates.stop(WAIT_S)
    assert run(gate=GATE_OF_TWO, opinions=opinions).on_trial
    assert opinions.opened == 1


def test_a_candidate_that_reads_too_much_otherwise_is_never_active(run, proved):
    opinions = Opinions([MISSED] * 10, [SAME] * 10)
    here = run(gate=GATE_OF_TWO, opinions=opinions)
    here.shadows(opinions, 2)
    assert [each.state for each in here.records()[-2:]] == ["self_testing", "rolled_back"]
    assert "10.0% are allowed" in here.records()[-1].detail
    (problem,) = here.problems.standing()
    assert "nothing has changed: beside the active bundle" in problem
    here.seconds()
    assert (here.updates.restart, here.updates.told, here.attempt) == ("", "", None)
    assert proved.store().shelf.active == proved.old_id


def test_an_engine_error_of_the_candidate_beside_the_active_bundle_fails_it(run, proved):
    opinions = Opinions([SAME], EngineError("the second opinion was ended by SIGSEGV"))
    here = run(gate=GATE_OF_TWO, opinions=opinions)
    here.shadows(opinions, 2)
    assert here.states()[-1] == "rolled_back"
    assert here.records()[-1].detail == "beside the active bundle: the second opinion was ended by SIGSEGV"
    assert here.records()[-1].shadow is None


def test_a_station_that_ends_in_the_middle_of_it_begins_it_anew(run, proved):
    opinions = Opinions(*[[SAME]] * 3)
    first = run(gate=GATE_OF_TWO, opinions=opinions)
    first.seconds()
    first.shadow.see(FRAME, ())
    assert opinions.asked.acquire(timeout=WAIT_S)
    first.updates.stop(WAIT_S)
    assert first.attempt.is_ready
    assert first.attempt.shadow is None
    second = run(gate=GATE_OF_TWO, opinions=opinions)
    assert not second.on_trial
    second.shadows(opinions, 2)
    assert second.attempt.shadow.fields == 2
    assert second.records()[-1].shadow is not None


def test_a_candidate_that_is_cancelled_beside_the_active_bundle_is_let_go(run, proved):
    opinions = Opinions([SAME])
    here = run(gate=GATE_OF_TWO, opinions=opinions)
    here.seconds()
    here.updates.cancel()
    here.seconds()
    assert (here.attempt, here.shadow.progress, here.updates.told) == (None, "", "")
    assert here.states()[-1] == "idle"


def test_a_candidate_that_was_damaged_while_it_waited_harms_no_open_slide(run, proved):
    opinions = Opinions([SAME])
    here = run(gate=ShadowGate(fields=1), opinions=opinions)
    here.count()
    manifest = proved.store().shelf.place(proved.candidate_id) / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{")
    here.shadows(opinions, 1)
    here.seconds()
    assert here.updates.restart == ""
    (problem,) = here.problems.standing()
    assert "manifest.json" in problem
