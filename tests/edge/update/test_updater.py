"""A candidate on its way: what is taken, what is refused, what fails, and who may be at it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge.cancellation import CancelledError
from edge.errors import BundleError, StorageError
from edge.filesystem import Disk
from edge.update.protocol import Proof
from edge.update.store import UpdateBusyError
from edge.update.updater import Updater
from tests.conftest import REPOSITORY
from tests.edge.update.workbench import (
    FAILED,
    PASSED,
    PATIENCE,
    Bench,
    FolderDelivery,
    ScriptedTest,
    make_bundle,
    offer_of,
)


class Unexpected:
    def __call__(self, _bundle: Path, **_rest: object) -> Proof:
        raise AssertionError("nothing may be proved here")


def test_a_candidate_is_proved_and_waits_while_the_old_bundle_serves(bench: Bench) -> None:
    test = ScriptedTest()
    outcome = bench.updater(self_test=test).run_once()
    assert (outcome.kind, outcome.detail) == ("ready", "scripted fp32: golden set passed")
    shelf = bench.store().shelf
    assert test.bundles == [shelf.place(bench.candidate_id)]
    assert shelf.active == bench.old_id, "a proved bundle becomes active at the station's start alone"
    assert bench.updater(self_test=Unexpected()).run_once().kind == "ready"


def test_the_active_bundle_and_older_ones_are_not_taken(bench: Bench) -> None:
    assert bench.updater(source=bench.old, self_test=Unexpected()).run_once().detail == (
        "it is the active bundle"
    )
    outcome = bench.updater(source=bench.base, self_test=Unexpected()).run_once()
    assert (outcome.kind, outcome.detail) == ("nothing", "release 3 is not newer than 4")


def test_a_failed_self_test_leaves_everything_as_it_is(bench: Bench) -> None:
    for _ in range(PATIENCE.attempts):
        outcome = bench.updater(self_test=ScriptedTest(FAILED)).run_once()
        assert (outcome.kind, outcome.detail) == ("failed", "scripted fp32: golden set FAILED")
    assert bench.updater(self_test=Unexpected()).run_once().detail == (
        "it was given up until a newer release: scripted fp32: golden set FAILED"
    )
    assert not bench.store().shelf.holds(bench.candidate_id)
    assert bench.serving().recover().bundle.manifest.id == bench.old_id
    newer = make_bundle(bench.place / "newer", release=6)
    assert bench.updater(source=newer).run_once().kind == "ready"


def test_a_second_attempt_does_not_download_again(bench: Bench) -> None:
    delivery = FolderDelivery(source=bench.candidate, filesystem=Disk())
    for proof in (FAILED, PASSED):
        updater = Updater(
            store=bench.store(),
            delivery=delivery,
            self_test=ScriptedTest(proof),
            patience=PATIENCE,
            reserve_bytes=0,
        )
        outcome = updater.run_once()
    assert outcome.kind == "ready"
    assert delivery.fetches == 1


def test_a_bundle_that_went_bad_on_the_shelf_is_downloaded_again(bench: Bench) -> None:
    bench.updater(self_test=ScriptedTest(FAILED)).run_once()
    spoilt = bench.store().shelf.place(bench.candidate_id) / "detector.onnx"
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"rotten")
    assert bench.updater().run_once().kind == "ready"
    assert bench.store().shelf.open(bench.candidate_id).manifest.id == bench.candidate_id


def test_bytes_that_are_not_the_offered_bundle_never_reach_the_shelf(bench: Bench) -> None:
    impostor = make_bundle(bench.place / "impostor", release=9)
    delivery = FolderDelivery(
        source=impostor, filesystem=Disk(), offered=replace(offer_of(bench.candidate), release=9)
    )
    updater = Updater(
        store=bench.store(), delivery=delivery, self_test=Unexpected(), patience=PATIENCE, reserve_bytes=0
    )
    outcome = updater.run_once()
    assert outcome.kind == "failed"
    assert f"not {bench.candidate_id[:12]}" in outcome.detail
    assert not bench.store().shelf.holds(bench.candidate_id)


def test_a_release_other_than_the_offered_one_is_refused(bench: Bench) -> None:
    delivery = FolderDelivery(
        source=bench.candidate, filesystem=Disk(), offered=replace(offer_of(bench.candidate), release=99)
    )
    updater = Updater(
        store=bench.store(), delivery=delivery, self_test=Unexpected(), patience=PATIENCE, reserve_bytes=0
    )
    assert "is release 5, but was offered as 99" in updater.run_once().detail


def test_nothing_is_begun_where_the_bundle_would_not_fit(bench: Bench) -> None:
    needed = offer_of(bench.candidate).size_bytes
    with pytest.raises(StorageError, match=f"needs {needed} bytes with the reserve, and 10 are free"):
        bench.updater(free_bytes=lambda _place: 10).run_once()
    assert bench.store().journal.read().attempt is None
    assert bench.updater(free_bytes=lambda _place: needed).run_once().kind == "ready"


def test_a_bundle_that_is_on_the_shelf_needs_no_space(bench: Bench) -> None:
    bench.updater(self_test=ScriptedTest(FAILED)).run_once()
    assert bench.updater(free_bytes=lambda _place: 10).run_once().kind == "ready"


def test_a_damaged_active_bundle_can_be_replaced(bench: Bench) -> None:
    spoilt = bench.store().shelf.place(bench.old_id) / "detector.onnx"
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"rotten")
    with pytest.raises(BundleError):
        bench.store().shelf.open(bench.old_id)
    same = bench.updater(source=bench.old, self_test=Unexpected()).run_once()
    assert (same.kind, same.detail) == ("nothing", "it is the active bundle")
    assert bench.updater().run_once().kind == "ready"


def test_a_damaged_earlier_bundle_that_is_offered_again_is_brought_again(bench: Bench) -> None:
    while bench.live() != "quiet":
        pass
    for bundle_id in (bench.old_id, bench.candidate_id):
        spoilt = bench.store().shelf.place(bundle_id) / "detector.onnx"
        spoilt.chmod(0o644)
        spoilt.write_bytes(b"rotten")
    (bench.root / "journal.json").unlink()
    assert bench.store().shelf.previous == bench.old_id
    assert bench.updater(source=bench.old).run_once().kind == "ready"
    assert bench.store().shelf.open(bench.old_id).manifest.id == bench.old_id


def test_progress_is_told_to_the_last_byte(bench: Bench) -> None:
    told: list[tuple[int, int]] = []
    bench.updater(progress=lambda done_bytes, total_bytes: told.append((done_bytes, total_bytes))).run_once()
    total = offer_of(bench.candidate).size_bytes
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_stopping_station_gives_the_attempt_up_without_blame(bench: Bench) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    assert bench.updater().run_once(cancelled=cancelled).kind == "cancelled"
    assert bench.store().journal.read().histories[bench.candidate_id].failed_downloads == 0
    assert bench.updater().run_once().kind == "ready", "what was downloaded is gone on with"


def test_a_proved_candidate_can_be_cancelled_until_it_is_activated(bench: Bench) -> None:
    bench.updater().run_once()
    cancelled = bench.updater().cancel()
    assert cancelled is not None
    assert cancelled.id == bench.candidate_id
    opening = bench.serving().recover()
    assert (opening.bundle.manifest.id, opening.on_trial) == (bench.old_id, None)
    bench.updater().run_once()
    assert bench.serving().recover().on_trial is not None
    assert bench.updater().cancel() is None, "too late"


def test_there_is_nothing_to_cancel_in_an_idle_station(bench: Bench) -> None:
    assert bench.updater().cancel() is None


def test_a_cancellation_of_an_earlier_attempt_does_not_end_the_next(bench: Bench) -> None:
    bench.updater(self_test=ScriptedTest(FAILED)).run_once()
    (bench.root / "cancel").write_text(f"{bench.candidate_id}/1")
    assert bench.updater().run_once().kind == "ready"


def test_a_cancellation_that_came_at_the_last_moment_is_still_heard(bench: Bench) -> None:
    bench.updater().run_once()
    attempt = bench.store().journal.read().attempt
    assert attempt is not None
    bench.store().ask_to_cancel(attempt)
    assert bench.serving().recover().on_trial is None


def test_the_self_test_is_told_of_a_cancellation(bench: Bench) -> None:
    class Cancelling:
        def __call__(self, _bundle: Path, *, cancelled, **_rest: object) -> Proof:
            attempt = bench.store().journal.read().attempt
            assert attempt is not None
            assert not cancelled()
            bench.store().ask_to_cancel(attempt)
            if cancelled():
                raise CancelledError
            return PASSED

    assert bench.updater(self_test=Cancelling()).run_once().kind == "cancelled"


@pytest.fixture
def busy(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """Another process of the station, in the middle of its self-test."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.edge.update.other_process", str(bench.place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at it\n"
        yield process
        process.kill()


def test_of_two_updaters_the_second_is_sent_away(bench: Bench, busy: subprocess.Popen[str]) -> None:
    with pytest.raises(UpdateBusyError, match=rf"Another process \({busy.pid}\) is at work") as refused:
        bench.updater(self_test=Unexpected()).run_once()
    assert "update cancel" in refused.value.remedy
    assert busy.communicate("go on\n")[0] == "ready\n"
    assert bench.updater(self_test=Unexpected()).run_once().kind == "ready"


def test_a_station_starts_beside_an_updater_and_leaves_it_alone(
    bench: Bench, busy: subprocess.Popen[str]
) -> None:
    opening = bench.serving().recover()
    assert (opening.bundle.manifest.id, opening.on_trial) == (bench.old_id, None)
    assert "Another process" in opening.problem
    assert busy.communicate("go on\n")[0] == "ready\n", "its attempt was not taken for an interrupted one"


def test_an_updater_is_cancelled_from_another_process(bench: Bench, busy: subprocess.Popen[str]) -> None:
    assert busy.stdout is not None
    cancelled = bench.updater().cancel()
    assert cancelled is not None
    assert cancelled.id == bench.candidate_id
    assert busy.stdout.readline() == "cancelled\n"
    assert bench.store().journal.read().reports[-1].state == "idle"


def test_an_updater_killed_at_its_work_frees_the_updates(bench: Bench, busy: subprocess.Popen[str]) -> None:
    busy.kill()
    busy.wait()
    assert bench.updater().run_once().kind == "ready"
    reports = [(each.attempt, each.state) for each in bench.store().journal.read().reports]
    assert (1, "rolled_back") in reports
    assert (2, "self_testing") in reports
