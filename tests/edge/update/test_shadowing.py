"""A proved candidate beside the active bundle: what is kept, what is told, and what it is judged by."""

from __future__ import annotations

import pytest

from edge.analysis.comparison import Disagreement, TwoReadings
from edge.contract.records import ShadowResult
from edge.contract.taxonomy import ObjectKind
from edge.errors import StorageError
from edge.filesystem import Disk
from edge.update.serving import Serving
from edge.update.settings import UpdateSettings
from edge.update.shadowing import ShadowGate, objection
from tests.edge.update.workbench import GATE, PATIENCE, Bench

SHADOW = ShadowGate(fields=10, max_disagreement=0.1)


def found(*, objects: int, differing: int, fields: int = 10) -> ShadowResult:
    same = TwoReadings(kind=ObjectKind.WBC, old="blast", new="blast")
    other = TwoReadings(kind=ObjectKind.WBC, old="blast", new="nothing")
    readings = [same] * (objects - differing) + [other] * differing
    return Disagreement.over([readings, *([[]] * (fields - 1))]).result(passed_over=0)


def serving(bench: Bench, shadow: ShadowGate | None = SHADOW, filesystem: Disk | None = None) -> Serving:
    return Serving(store=bench.store(filesystem), patience=PATIENCE, gate=GATE, shadow=shadow)


@pytest.fixture
def proved(bench: Bench) -> Bench:
    """A station with a proved candidate."""
    assert bench.updater().run_once().kind == "ready"
    serving(bench).hand_over_reports(bench.sink)
    return bench


def attempt_of(bench: Bench):
    attempt = bench.store().journal.read().attempt
    assert attempt is not None
    return attempt


def opened(of: Serving) -> tuple[str, bool]:
    opening = of.recover()
    return opening.bundle.manifest.id, opening.on_trial is not None


@pytest.mark.parametrize(
    ("objects", "differing", "limit", "objected"),
    [
        (100, 0, 0.1, False),
        (1000, 110, 0.1, False),  # 9.2% to 13.1%: it may be chance
        (1000, 130, 0.1, True),
        (10, 3, 0.1, True),
        (10, 2, 0.1, False),
        (1000, 1000, None, False),
        (0, 0, 0.0, False),
    ],
)
def test_a_candidate_fails_only_where_its_disagreement_is_surely_above_the_limit(
    objects: int, differing: int, limit: float | None, objected: bool
) -> None:
    gate = ShadowGate(fields=10, max_disagreement=limit)
    assert bool(objection(gate, found(objects=objects, differing=differing))) is objected


def test_an_objection_names_the_share_and_what_is_allowed() -> None:
    said = objection(SHADOW, found(objects=100, differing=50))
    assert said == (
        "beside the active bundle on 10 fields: 50 of 100 objects read otherwise (40.4% to 59.6%), "
        "10.0% are allowed"
    )


def test_a_proved_candidate_is_not_tried_before_its_shadow_however_often_the_station_starts(
    proved: Bench,
) -> None:
    for _ in range(PATIENCE.attempts + PATIENCE.deaths + 1):
        assert opened(serving(proved)) == (proved.old_id, False)
    assert serving(proved).awaits_shadow(attempt_of(proved))


def test_after_its_shadow_it_is_tried_and_what_it_showed_is_told_once(proved: Bench) -> None:
    here = serving(proved)
    attempt = attempt_of(proved)
    result = found(objects=100, differing=5)
    here.shadowed(attempt, result)
    here.shadowed(attempt, found(objects=100, differing=99))
    assert attempt_of(proved).shadow == result
    (report,) = proved.store().journal.read().reports
    assert (report.state, report.shadow) == ("self_testing", result)
    assert report.key.endswith("/shadow")
    assert "5 of 100 objects read otherwise" in report.detail
    assert opened(serving(proved)) == (proved.candidate_id, True)


def test_a_candidate_that_reads_too_much_otherwise_goes_before_it_was_ever_active(proved: Bench) -> None:
    here = serving(proved)
    here.shadowed(attempt_of(proved), found(objects=100, differing=50))
    ledger = proved.store().journal.read()
    assert [each.state for each in ledger.reports] == ["self_testing", "rolled_back"]
    assert "10.0% are allowed" in ledger.reports[-1].detail
    assert ledger.attempt is None
    assert ledger.histories[proved.candidate_id].failed_proofs == 1
    assert proved.store().shelf.active == proved.old_id
    assert opened(serving(proved)) == (proved.old_id, False)


def test_a_candidate_that_cannot_answer_fails_and_is_given_up_in_the_end(bench: Bench) -> None:
    for _ in range(PATIENCE.attempts):
        assert bench.updater().run_once().kind == "ready"
        serving(bench).shadow_failed(attempt_of(bench), "the process was ended by SIGSEGV")
    outcome = bench.updater().run_once()
    assert outcome.kind == "nothing"
    assert "beside the active bundle: the process was ended by SIGSEGV" in outcome.detail
    serving(bench).hand_over_reports(bench.sink)
    assert bench.broken(quiet=True) == []


def test_what_another_attempt_showed_changes_nothing(proved: Bench) -> None:
    before = attempt_of(proved)
    here = serving(proved)
    assert proved.updater().cancel() is not None
    here.shadow_failed(before, "too late")
    here.shadowed(before, found(objects=100, differing=0))
    ledger = proved.store().journal.read()
    assert ledger.attempt is None
    assert ledger.histories[proved.candidate_id].failed_proofs == 0


def test_a_disk_that_is_full_keeps_nothing_and_the_next_time_does(proved: Bench) -> None:
    class FullDisk(Disk):
        full = True

        def write(self, path, content) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().write(path, content)

    disk = FullDisk()
    here = serving(proved, filesystem=disk)
    attempt, result = attempt_of(proved), found(objects=100, differing=0)
    with pytest.raises(StorageError):
        here.shadowed(attempt, result)
    assert attempt_of(proved).shadow is None
    disk.full = False
    here.shadowed(attempt, result)
    assert attempt_of(proved).shadow == result


def test_a_station_without_shadow_tries_a_candidate_at_once(proved: Bench) -> None:
    here = serving(proved, shadow=None)
    assert not here.awaits_shadow(attempt_of(proved))
    assert opened(here) == (proved.candidate_id, True)


def test_shadow_is_off_until_a_person_asks_for_it() -> None:
    stick = {"repository": "stick", "root": "root.json"}
    assert UpdateSettings.model_validate(stick).shadow is None
    asked = UpdateSettings.model_validate({**stick, "shadow_fields": 10, "shadow_max_disagreement": 0.1})
    assert asked.shadow == SHADOW
