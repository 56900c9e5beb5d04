"""The rules of an update, and that no order of events leads out of them."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge.contract.records import UpdateRecord
from edge.update import rules
from edge.update.protocol import Offer
from edge.update.rules import Ledger, Patience
from tests.edge.update.workbench import ENDS, FAILED, PASSED

PATIENCE = Patience(attempts=2, downloads=3, deaths=2)
OFFER = Offer(name="lab", release=5, id="c" * 64, size_bytes=1000)


def refused(ledger: Ledger, offer: Offer = OFFER, **rest) -> str:
    return rules.refusal(ledger, offer, **{"active_id": "a" * 64, "active_release": 4, **rest})


def on_trial() -> Ledger:
    ledger = rules.begin(Ledger(active_p99_ms=80.0), OFFER)
    for state in ("verified", "preparing", "self_testing"):
        ledger = rules.advance(ledger, state)
    ledger = rules.activate(rules.proved(ledger, PASSED), active="a" * 64, previous=None)
    return rules.serve(ledger, patience=PATIENCE)


def test_the_states_are_those_that_the_fleet_is_told_of() -> None:
    assert set(get_args(rules.State)) == set(get_args(UpdateRecord.model_fields["state"].annotation))


def test_a_release_only_goes_up() -> None:
    assert refused(Ledger()) == ""
    assert "not newer than 5" in refused(Ledger(), active_release=5)
    assert "not newer than 6" in refused(Ledger(highest_release=6)), "committed before, and gone since"
    assert "active" in refused(Ledger(), active_id=OFFER.id)


def test_a_deliberate_downgrade_is_a_new_release_of_old_content() -> None:
    assert refused(Ledger(highest_release=5), replace(OFFER, release=6, id="d" * 64)) == ""


def test_a_candidate_is_given_up_after_its_attempts_and_a_newer_release_is_not() -> None:
    ledger = Ledger()
    for attempt in (1, 2):
        assert refused(ledger) == ""
        ledger = rules.advance(rules.begin(ledger, OFFER), "verified")
        ledger = rules.fail(rules.advance(ledger, "preparing"), "it disagrees", patience=PATIENCE)
        assert ledger.attempt is not None
        assert ledger.attempt.number == attempt
        ledger = rules.settled(ledger)
    assert refused(ledger) == "it was given up until a newer release: it disagrees"
    assert ledger.reports[-1].detail == "it disagrees; given up until a newer release"
    assert refused(ledger, replace(OFFER, release=6, id="d" * 64)) == ""


def test_a_failed_download_is_forgiven_more_often_than_a_failed_proof() -> None:
    ledger = Ledger()
    for _ in range(PATIENCE.downloads):
        assert refused(ledger) == ""
        ledger = rules.settled(rules.fail(rules.begin(ledger, OFFER), "cut short", patience=PATIENCE))
    assert "cut short" in refused(ledger)


def test_a_person_can_give_a_candidate_another_chance() -> None:
    patience = Patience(downloads=1)
    ledger = rules.settled(rules.fail(rules.begin(Ledger(), OFFER), "cut short", patience=patience))
    forgiven = rules.forgive(ledger, OFFER.id)
    assert refused(forgiven) == ""
    again = rules.begin(forgiven, OFFER).attempt
    assert again is not None
    assert again.number == 2, "its reports must not be taken for those of the first attempt"


def test_a_cancelled_attempt_is_nobodys_fault() -> None:
    ledger = rules.abandon(rules.begin(Ledger(), OFFER), "cancelled")
    assert ledger.attempt is None
    assert [report.state for report in ledger.reports] == ["downloading", "idle"]
    assert ledger.histories[OFFER.id].failed_downloads == 0


def test_a_trial_cannot_be_cancelled() -> None:
    assert not rules.can_be_cancelled(on_trial())
    with pytest.raises(ValueError, match="trial"):
        rules.abandon(on_trial(), "cancelled")


@pytest.mark.parametrize("state", ["downloading", "verified", "preparing", "self_testing"])
def test_an_attempt_whose_process_is_gone_has_failed(state: rules.State) -> None:
    ledger = rules.begin(Ledger(), OFFER)
    for step in ("verified", "preparing", "self_testing"):
        if ledger.attempt is not None and ledger.attempt.state != state:
            ledger = rules.advance(ledger, step)
    after = rules.interrupted(ledger, patience=PATIENCE)
    assert after.attempt is not None
    assert after.attempt.state == "rolled_back"
    assert after.reports[-1].detail == f"interrupted while {state.replace('_', '-')}"


def test_a_proved_candidate_outlives_its_process() -> None:
    ledger = rules.begin(Ledger(), OFFER)
    for state in ("verified", "preparing", "self_testing"):
        ledger = rules.advance(ledger, state)
    ready = rules.proved(ledger, PASSED)
    assert rules.interrupted(ready, patience=PATIENCE) is ready


def test_only_a_passed_proof_proves() -> None:
    ledger = rules.begin(Ledger(), OFFER)
    for state in ("verified", "preparing", "self_testing"):
        ledger = rules.advance(ledger, state)
    with pytest.raises(ValueError, match="passed"):
        rules.proved(ledger, FAILED)


def test_a_trial_ends_when_the_station_died_in_it_too_often() -> None:
    once = rules.serve(on_trial(), patience=PATIENCE)
    assert once.attempt is not None
    assert once.attempt.state == "trial"
    twice = rules.serve(once, patience=PATIENCE)
    assert twice.attempt is not None
    assert twice.attempt.state == "rolled_back"
    assert "died 2 times" in twice.reports[-1].detail


def test_a_station_switched_off_and_on_has_not_died() -> None:
    ledger = on_trial()
    for day in range(1, 20):
        ledger = rules.served(ledger, served_s=day * 10.0, ended=True)
        ledger = rules.serve(ledger, patience=PATIENCE)
    assert ledger.attempt is not None
    assert ledger.attempt.trial is not None
    assert (ledger.attempt.trial.deaths, ledger.attempt.trial.served_s) == (0, 190.0)


def test_a_commit_forgets_what_cannot_come_again_and_keeps_what_can() -> None:
    newer = replace(OFFER, release=9, id="e" * 64)
    failed = rules.settled(rules.fail(rules.begin(Ledger(), newer), "bad", patience=Patience(downloads=1)))
    ledger = replace(on_trial(), histories={**on_trial().histories, **failed.histories})
    after = rules.settled(rules.commit(ledger, "good", latency_p99_ms=90.0))
    assert (after.highest_release, after.active_p99_ms) == (5, 90.0)
    assert set(after.histories) == {newer.id}, "release 9 was given up, and 9 is still newer than 5"


def test_a_slide_with_cells_is_never_taken_from_one_bundle_to_another() -> None:
    old, new = ("neutrophil", "blast"), ("neutrophil", "blast", "monocyte")
    assert rules.waits_for_slide(counted_cells=0, slide_classes=old, candidate_classes=new) == ""
    assert "3 cells" in rules.waits_for_slide(counted_cells=3, slide_classes=old, candidate_classes=old)
    assert "monocyte" in rules.waits_for_slide(counted_cells=3, slide_classes=old, candidate_classes=new)


class AnyOrder(RuleBasedStateMachine):
    """Offers, failures, deaths and ends in any order: the promises hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.active: str | None = None
        self.committed: list[int] = []

    @property
    def state(self) -> str | None:
        return self.ledger.attempt.state if self.ledger.attempt else None

    @precondition(lambda self: self.state is None)
    @rule(release=st.integers(1, 6))
    def offer(self, release: int) -> None:
        offer = Offer(name="lab", release=release, id=f"{release:064x}", size_bytes=1)
        if not rules.refusal(self.ledger, offer, active_id=self.active or "", active_release=0):
            self.ledger = rules.begin(self.ledger, offer)

    @precondition(lambda self: self.state in {"downloading", "verified", "preparing"})
    @rule()
    def advance(self) -> None:
        after = {"downloading": "verified", "verified": "preparing", "preparing": "self_testing"}
        self.ledger = rules.advance(self.ledger, after[self.state])

    @precondition(lambda self: self.state == "self_testing")
    @rule()
    def prove(self) -> None:
        self.ledger = rules.proved(self.ledger, PASSED)

    @rule()
    def start(self) -> None:
        ledger = rules.interrupted(self.ledger, patience=PATIENCE)
        if ledger.attempt is not None and ledger.attempt.is_ready:
            ledger = rules.activate(ledger, active=self.active, previous=None)
        if ledger.attempt is not None and ledger.attempt.state == "trial":
            ledger = rules.serve(ledger, patience=PATIENCE)
        self.ledger = ledger

    @precondition(lambda self: self.state == "trial")
    @rule()
    def commit(self) -> None:
        self.ledger = rules.commit(self.ledger, "good", latency_p99_ms=None)

    @precondition(lambda self: self.state not in {None, "committed", "rolled_back"})
    @rule()
    def fail(self) -> None:
        self.ledger = rules.fail(self.ledger, "bad", patience=PATIENCE)

    @precondition(lambda self: rules.can_be_cancelled(self.ledger))
    @rule()
    def cancel(self) -> None:
        self.ledger = rules.abandon(self.ledger, "cancelled")

    @precondition(lambda self: self.state in {"committed", "rolled_back"})
    @rule()
    def settle(self) -> None:
        if self.state == "committed" and self.ledger.attempt is not None:
            self.active = self.ledger.attempt.offer.id
            self.committed.append(self.ledger.attempt.offer.release)
        self.ledger = rules.settled(self.ledger)

    @invariant()
    def releases_go_up(self) -> None:
        assert self.committed == sorted(set(self.committed))

    @invariant()
    def attempts_are_bounded(self) -> None:
        for history in self.ledger.histories.values():
            assert history.failed_proofs <= PATIENCE.attempts
            assert history.failed_downloads <= PATIENCE.downloads

    @invariant()
    def each_attempt_has_one_outcome(self) -> None:
        keys = [report.key for report in self.ledger.reports]
        assert len(keys) == len(set(keys))
        ended = [(each.candidate, each.attempt) for each in self.ledger.reports if each.state in ENDS]
        assert len(ended) == len(set(ended))
        attempts = {(each.candidate, each.attempt) for each in self.ledger.reports}
        open_ones = attempts - set(ended)
        assert len(open_ones) == (self.state not in {None, "committed", "rolled_back"})


TestAnyOrder = AnyOrder.TestCase
