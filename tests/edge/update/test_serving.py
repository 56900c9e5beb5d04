"""Which bundle a station opens, and how a trial ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.analysis.cells import Cell
from edge.analysis.gates import Accepted
from edge.contract.taxonomy import ObjectKind
from edge.daemon.slide_desk import SlideDesk
from edge.daemon.slide_journal import Origin
from edge.errors import StorageError
from edge.frame import Frame
from edge.outbox.store import Outbox
from edge.slide_map.slide_map import Place
from edge.update.rules import Report, waits_for_slide
from edge.update.serving import Serving
from tests.edge.update.workbench import GOOD, PATIENCE, SLOW, Bench, FileSink, make_bundle

PLACE = Place()


@pytest.fixture
def ready(bench: Bench) -> Bench:
    """A station with a proved candidate."""
    assert bench.updater().run_once().kind == "ready"
    return bench


def opened(serving: Serving) -> tuple[str, bool]:
    opening = serving.recover()
    return opening.bundle.manifest.id, opening.on_trial is not None


def test_a_station_without_updates_opens_the_bundle_it_was_installed_with(tmp_path) -> None:
    bench = Bench(place=tmp_path)
    base = make_bundle(bench.base, release=3)
    opening = bench.serving().recover()
    assert opening.bundle.directory == base.resolve()
    assert (opening.on_trial, opening.problem) == (None, "")


def test_a_proved_candidate_is_tried_at_the_next_start_and_stays_when_it_holds(ready: Bench) -> None:
    serving = ready.serving()
    assert opened(serving) == (ready.candidate_id, True)
    assert serving.observe(replace(GOOD, fields=3)).decision == "wait"
    assert serving.observe(GOOD).decision == "commit"
    shelf, ledger = ready.store().shelf, ready.store().journal.read()
    assert (shelf.active, shelf.previous) == (ready.candidate_id, ready.old_id)
    assert (ledger.highest_release, ledger.active_p99_ms, ledger.attempt) == (5, 100, None)
    assert opened(ready.serving()) == (ready.candidate_id, False)


def test_a_trial_that_fails_brings_the_old_bundle_back(ready: Bench) -> None:
    serving = ready.serving()
    serving.recover()
    verdict = serving.observe(replace(GOOD, fault="engine error: no answer"))
    assert (verdict.decision, verdict.detail) == ("roll_back", "engine error: no answer")
    assert (ready.root / "active").resolve() == ready.store().shelf.place(ready.old_id)
    assert ready.store().shelf.holds(ready.candidate_id), "this process still has it open"
    assert opened(ready.serving()) == (ready.old_id, False)


def test_the_candidate_is_measured_by_the_bundle_before_it(ready: Bench) -> None:
    serving = ready.serving()
    serving.recover()
    attempt = ready.store().journal.read().attempt
    assert attempt is not None
    assert attempt.trial is not None
    assert attempt.trial.baseline_p99_ms == GOOD.latency_p99_ms, "as its last process told when it stopped"
    assert serving.observe(SLOW).decision == "roll_back"


def test_the_figures_of_a_bundle_that_was_taken_back_are_no_measure_for_it(ready: Bench) -> None:
    serving = ready.serving()
    serving.recover()
    assert serving.observe(SLOW).decision == "roll_back"
    serving.stop(SLOW)
    assert ready.store().journal.read().active_p99_ms == GOOD.latency_p99_ms
    ready.updater().run_once()
    again = ready.serving()
    assert opened(again) == (ready.candidate_id, True)
    assert again.observe(SLOW).decision == "roll_back", "a second attempt is measured as the first was"


def test_a_process_that_serves_another_bundle_proves_nothing_of_the_one_on_trial(ready: Bench) -> None:
    ready.serving().recover()
    blocked = ready.root / "journal.json.new"
    blocked.mkdir()
    beside = ready.serving()
    assert beside.recover().on_trial is None, "it cannot be counted now"
    blocked.rmdir()
    assert beside.observe(GOOD).decision == "wait"
    beside.stop(replace(GOOD, served_s=10_000))
    attempt = ready.store().journal.read().attempt
    assert attempt is not None
    assert attempt.trial is not None
    assert attempt.trial.served_s == 0


def test_a_rollback_is_to_where_the_station_was_with_the_way_back_that_it_had(bench: Bench) -> None:
    second = make_bundle(bench.place / "second", release=6)
    while bench.live() != "quiet":
        pass
    before = (bench.store().shelf.active, bench.store().shelf.previous)
    assert before == (bench.candidate_id, bench.old_id)
    bench.updater(source=second).run_once()
    serving = bench.serving()
    serving.recover()
    serving.observe(SLOW)
    bench.serving().recover()
    assert (bench.store().shelf.active, bench.store().shelf.previous) == before


def test_a_first_update_rolls_back_to_the_installed_bundle(tmp_path) -> None:
    bench = Bench(place=tmp_path)
    make_bundle(bench.base, release=3)
    make_bundle(bench.candidate, release=5)
    bench.updater().run_once()
    serving = bench.serving()
    assert opened(serving) == (bench.candidate_id, True)
    serving.observe(replace(GOOD, golden=False))
    assert not (bench.root / "active").is_symlink()
    assert bench.serving().recover().bundle.directory == bench.base.resolve()


def test_a_trial_that_kills_the_station_ends_by_itself(ready: Bench) -> None:
    for _ in range(PATIENCE.deaths):
        assert opened(ready.serving()) == (ready.candidate_id, True)
    opening = ready.serving().recover()
    assert (opening.bundle.manifest.id, opening.on_trial) == (ready.old_id, None)
    assert "died 2 times" in ready.store().journal.read().reports[-1].detail


def test_a_station_that_is_switched_off_every_evening_finishes_its_trial(ready: Bench) -> None:
    few = replace(GOOD, fields=1, served_s=100)
    for _ in range(5):
        serving = ready.serving()
        assert opened(serving) == (ready.candidate_id, True)
        assert serving.observe(few).decision == "wait"
        serving.stop(few)
    serving = ready.serving()
    serving.recover()
    assert serving.observe(few).decision == "commit", "600 s of service in all"


def test_serving_time_is_noted_so_that_a_crash_forgets_little_of_it(ready: Bench) -> None:
    serving = ready.serving()
    serving.recover()
    for served_s in range(0, 200, 10):
        serving.observe(replace(GOOD, fields=1, served_s=served_s))
    attempt = ready.store().journal.read().attempt
    assert attempt is not None
    assert attempt.trial is not None
    assert 200 - attempt.trial.served_s <= 50


def test_a_trial_that_never_shows_enough_ends_at_its_deadline(ready: Bench) -> None:
    serving = ready.serving()
    serving.recover()
    verdict = serving.observe(replace(GOOD, golden=None, fields=0, served_s=3600))
    assert (verdict.decision, "deadline passed" in verdict.detail) == ("roll_back", True)


def test_a_candidate_whose_bytes_rotted_before_its_trial_is_not_opened(ready: Bench) -> None:
    spoilt = ready.store().shelf.place(ready.candidate_id) / "classifier.onnx"
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"rotten")
    opening = ready.serving().recover()
    assert (opening.bundle.manifest.id, opening.on_trial) == (ready.old_id, None)
    report = ready.store().journal.read().reports[-1]
    assert report.state == "rolled_back"
    assert "truncated" in report.detail


def test_a_damaged_active_bundle_gives_way_to_the_one_before_and_says_so(bench: Bench) -> None:
    while bench.live() != "quiet":
        pass
    for bundle_id, heir in ((bench.candidate_id, bench.old_id), (bench.old_id, None)):
        spoilt = bench.store().shelf.place(bundle_id) / "detector.onnx"
        spoilt.chmod(0o644)
        spoilt.write_bytes(b"rotten")
        opening = bench.serving().recover()
        expected = bench.base.resolve() if heir is None else bench.store().shelf.place(heir)
        assert opening.bundle.directory == expected.resolve()
        assert "detector.onnx" in opening.problem


def test_without_its_journal_a_station_does_not_trust_what_may_be_on_trial(ready: Bench) -> None:
    ready.serving().recover()
    (ready.root / "journal.json").write_bytes(b'{"schema": "leukoscope/update-jou')
    opening = ready.serving().recover()
    assert (opening.bundle.manifest.id, opening.on_trial) == (ready.old_id, None)
    assert "journal.json.damaged" in opening.problem
    assert opened(ready.serving()) == (ready.old_id, False), "and so it stays"


def test_a_trial_that_cannot_be_counted_is_not_begun(ready: Bench) -> None:
    serving = ready.serving()
    serving.recover()
    (ready.root / "journal.json.new").mkdir()
    opening = ready.serving().recover()
    assert (opening.bundle.manifest.id, opening.on_trial) == (ready.old_id, None)
    assert "cannot be kept" in opening.problem


def test_with_neither_a_journal_nor_a_disk_that_writes_the_one_before_is_opened(ready: Bench) -> None:
    ready.serving().recover()
    (ready.root / "journal.json").write_bytes(b"torn")
    (ready.root / "lock").unlink()
    (ready.root / "lock").mkdir()
    opening = ready.serving().recover()
    assert (opening.bundle.manifest.id, opening.on_trial) == (ready.old_id, None)
    assert "not a ledger" in opening.problem


def test_reports_are_told_once_though_the_station_dies_between_telling_and_forgetting(ready: Bench) -> None:
    class DyingSink:
        def take(self, report: Report) -> None:
            ready.sink.take(report)
            raise KeyboardInterrupt

    waiting = len(ready.store().journal.read().reports)
    assert waiting == 4
    with pytest.raises(KeyboardInterrupt):
        ready.serving().hand_over_reports(DyingSink())
    ready.serving().hand_over_reports(ready.sink)
    keys = [each["key"] for each in ready.sink.reports if each["candidate"] == ready.candidate_id]
    assert len(keys) == len(set(keys)) == waiting
    assert ready.store().journal.read().reports == ()


def test_a_sink_that_cannot_take_loses_nothing_and_fails_no_candidate(bench: Bench) -> None:
    class FullSink:
        def take(self, _report: Report) -> None:
            raise StorageError("The outbox is full.")

    assert bench.updater(sink=FullSink()).run_once().kind == "ready"
    bench.serving().hand_over_reports(bench.sink)
    assert bench.sink.states(bench.candidate_id) == ["downloading", "verified", "preparing", "self_testing"]


def test_a_bundle_with_other_classes_waits_for_the_close_of_the_slide(bench: Bench, tmp_path) -> None:
    other = make_bundle(tmp_path / "other", release=7, classes=("neutrophil", "blast", "monocyte"))
    assert bench.updater(source=other).run_once().kind == "ready"
    serving_now = bench.serving()
    with Outbox(path=tmp_path / "outbox.sqlite", site="lab", station="s1", software="1") as outbox:
        desk = open_desk(outbox, bench)
        proved = bench.store().shelf.open(bench.store().journal.read().attempt.offer.id)

        def why_wait() -> str:
            counted = desk.latest.objects.get(ObjectKind.WBC, 0) if desk.is_open and desk.latest else 0
            return waits_for_slide(
                counted_cells=counted,
                slide_classes=("neutrophil", "blast"),
                candidate_classes=proved.manifest.classifier.classes,
            )

        assert why_wait() == "", "nothing is counted yet"
        count_a_cell(desk)
        assert "counts other classes (neutrophil, blast) than the new bundle names" in why_wait()
        desk.close()
        assert why_wait() == ""
    serving_now.stop(GOOD)
    assert bench.serving().recover().bundle.manifest.id == proved.manifest.id


def open_desk(outbox: Outbox, bench: Bench) -> SlideDesk:
    classifier = bench.store().shelf.open(bench.old_id).manifest.classifier
    desk = SlideDesk(
        journal=outbox,
        origin=Origin(site="lab", software="1", bundle=bench.old_id),
        classifier=classifier,
        record_every_fields=10,
        now=lambda: datetime.now(timezone.utc),
    )
    desk.open("smear")
    return desk


def count_a_cell(desk: SlideDesk) -> None:
    frame = Frame(
        pixels=np.zeros((32, 32, 3), np.uint8),
        index=0,
        source="drawn",
        captured_at=datetime.now(timezone.utc),
        monotonic_s=0.0,
    )
    cell = Cell(box_px=(1, 1, 9, 9), kind=ObjectKind.WBC, score=0.9)
    accepted = Accepted(focus=1.0, stained_share=0.2, place=PLACE)
    assert desk.count(frame, accepted, [cell], slide_number=desk.opened, analysis_ms=1.0) is not None


def test_a_sink_keeps_what_it_has(tmp_path) -> None:
    sink = FileSink(tmp_path / "reports")
    report = Report(candidate="c" * 64, release=1, attempt=1, state="idle")
    sink.take(report)
    sink.take(report)
    assert len(FileSink(tmp_path / "reports").reports) == 1
