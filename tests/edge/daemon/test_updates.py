"""The updates of a running station: what it does each second with a real journal, shelf and outbox."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from edge.analysis.cells import Cell
from edge.analysis.comparison import TwoReadings
from edge.analysis.gates import Accepted
from edge.contract.records import DURABLE_RECORD, UpdateRecord
from edge.contract.taxonomy import ObjectKind
from edge.daemon.problems import Problems
from edge.daemon.shadow import Shadow
from edge.daemon.slide_desk import SlideDesk
from edge.daemon.slide_journal import Origin
from edge.daemon.updates import RecordedReports, Updates
from edge.errors import EngineError
from edge.filesystem import Disk
from edge.frame import Frame
from edge.outbox.store import Outbox
from edge.slide_map.slide_map import Place
from edge.update.hand_look import HandLook
from edge.update.serving import Serving
from edge.update.shadowing import ShadowGate
from edge.update.trial import TrialWatch
from tests.edge.update.workbench import FAILED, GATE, PATIENCE, Bench, ScriptedTest, copy_of

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
PLACE = Place()
FRAME = Frame(pixels=np.zeros((32, 32, 3), np.uint8), index=0, source="f", captured_at=NOW, monotonic_s=0.0)
WBC = ObjectKind.WBC
SAME = TwoReadings(kind=WBC, old="blast", new="blast")
MISSED = TwoReadings(kind=WBC, old="blast", new="nothing")
WAY = ["downloading", "verified", "preparing", "self_testing"]
WAIT_S = 60
EVERY_S = 3600.0


@dataclass(frozen=True)
class Golden:
    """What a golden check on the serving engines found."""

    passed: bool = True

    def __str__(self) -> str:
        return f"golden set {'passed' if self.passed else 'FAILED'}"


class FullDisk(Disk):
    full = False

    def write(self, path, content):
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(path, content)


class Opinions:
    """Second opinions by script: for each field the readings, or an error; and how often one was opened."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.opened = 0
        self.asked = threading.Semaphore(0)

    @contextmanager
    def __call__(self, _bundle, _cancelled):
        self.opened += 1
        yield self.answer

    def answer(self, _field, *, cancelled):
        assert not cancelled()
        self.asked.release()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Run:
    """One run of a station, from its start; each second passes when a test says so."""

    def __init__(self, bench, outbox, *, golden=Golden, proof=None, gate=None, opinions=None, disk=None):
        self.bench = bench
        self.outbox = outbox
        self.now_s = 1000.0
        self.problems = Problems()
        self.disk = disk or FullDisk()
        store = bench.store(self.disk)
        serving = Serving(store=store, patience=PATIENCE, gate=GATE, shadow=gate)
        opening = serving.recover()
        classifier = opening.bundle.manifest.classifier
        self.on_trial = opening.on_trial is not None
        self.watch = TrialWatch(monotonic_s=lambda: self.now_s)
        self.desk = SlideDesk(
            journal=outbox,
            origin=Origin(site="lab", software="1", bundle=opening.bundle.manifest.id),
            classifier=classifier,
            record_every_fields=100,
            now=lambda: NOW,
        )
        self.self_test = ScriptedTest(proof or bench.proof)
        reports = RecordedReports(outbox=outbox, desk=self.desk)
        self.shadow = None if gate is None else Shadow(fields=gate.fields, open_opinion=opinions)
        self.updates = Updates(
            opening=opening,
            serving=serving,
            store=store,
            updater=bench.updater(self_test=self.self_test, filesystem=self.disk, sink=reports),
            shadow=self.shadow,
            every_s=EVERY_S,
            watch=self.watch,
            check_golden=golden,
            classifier=classifier,
            desk=self.desk,
            reports=reports,
            problems=self.problems,
            now=lambda: NOW,
            monotonic_s=lambda: self.now_s,
        )
        self.updates.start()

    def seconds(self, count=6):
        """So many seconds, and in each a look for a newer bundle to its end, where one begins.

        The journal is read at least once while nothing else has it.
        """
        for _ in range(count):
            self.now_s += 1
            self.updates.tick()
            await_threads("updates")

    def serves(self, fields, latency_ms=100.0):
        for _ in range(fields):
            self.watch.note_field(latency_ms)

    def count(self):
        self.desk.open("A")
        cell = Cell(box_px=(0, 0, 9, 9), kind=WBC, score=0.9)
        accepted = Accepted(place=PLACE, focus=1.0, stained_share=0.5)
        self.desk.count(FRAME, accepted, [cell], slide_number=self.desk.opened, analysis_ms=1.0)

    def shadows(self, opinions, fields):
        """So many fields seen by both bundles, one after the other, and the end of it noted."""
        self.seconds()
        for _ in range(fields):
            self.shadow.see(FRAME, ())
            assert opinions.asked.acquire(timeout=WAIT_S)
        await_threads("shadow")
        self.seconds()

    @property
    def attempt(self):
        return self.bench.store().journal.read().attempt

    def records(self):
        stored = self.outbox.pending(limit=1000)
        found = [DURABLE_RECORD.validate_json(each.body) for each in stored]
        return [each for each in found if isinstance(each, UpdateRecord)]

    def states(self):
        return [each.state for each in self.records() if each.candidate == self.bench.candidate_id]


def await_threads(name):
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(WAIT_S)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A station that has one bundle by an update, and is offered the next."""
    bench = Bench(place=tmp_path_factory.mktemp("updated") / "station")
    bench.prepare()
    return bench


@pytest.fixture
def bench(prepared, tmp_path):
    return copy_of(prepared, tmp_path / "station")


@pytest.fixture
def outbox(tmp_path):
    with Outbox(path=tmp_path / "o.sqlite3", site="lab", station="s1", software="1") as outbox:
        yield outbox


@pytest.fixture
def run(bench, outbox):
    """Runs one station after the other on the same disk."""
    runs = []

    def begin(**how):
        runs.append(Run(bench, outbox, **how))
        return runs[-1]

    yield begin
    for each in runs:
        each.updates.stop(WAIT_S)


@pytest.fixture
def proved(bench):
    """A candidate waits for its moment."""
    assert bench.updater().run_once().kind == "ready"
    return bench


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
