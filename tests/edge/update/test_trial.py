"""The health gate, and what it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.update.trial import ENOUGH_FIELDS, Figures, Gate, TrialWatch, judge

GATE = Gate(fields=50, serving_s=600, deadline_s=3600, latency_factor=1.5)
SEEN = Figures(served_s=60, fields=50, latency_p99_ms=100, golden=True)


def decision(figures: Figures, *, before_s: float = 0, baseline_ms: float | None = 100) -> str:
    return judge(GATE, figures, served_before_s=before_s, baseline_p99_ms=baseline_ms).decision


def test_enough_fields_or_enough_time_commit() -> None:
    assert decision(SEEN) == "commit"
    assert decision(replace(SEEN, fields=49)) == "wait"
    assert decision(replace(SEEN, fields=0, latency_p99_ms=None, served_s=600)) == "commit"


def test_the_time_of_earlier_processes_counts() -> None:
    few = replace(SEEN, fields=3, served_s=60)
    assert decision(few, before_s=530) == "wait"
    assert decision(few, before_s=540) == "commit"


def test_nothing_is_committed_before_the_golden_set_agreed_in_the_serving_station() -> None:
    assert decision(replace(SEEN, golden=None)) == "wait"
    assert decision(replace(SEEN, golden=False)) == "roll_back"


def test_the_deadline_ends_a_trial_that_shows_too_little() -> None:
    verdict = judge(GATE, replace(SEEN, golden=None, served_s=3600), served_before_s=0, baseline_p99_ms=None)
    assert verdict.decision == "roll_back"
    assert "deadline passed: the golden set was never run" in verdict.detail


def test_a_slower_bundle_goes_back_where_the_one_before_was_measured() -> None:
    slow = replace(SEEN, latency_p99_ms=151)
    assert decision(slow) == "roll_back"
    assert decision(replace(slow, latency_p99_ms=150)) == "commit"
    assert decision(slow, baseline_ms=None) == "commit"


def test_a_handful_of_fields_does_not_decide_on_latency() -> None:
    assert decision(replace(SEEN, fields=ENOUGH_FIELDS - 1, latency_p99_ms=5000)) == "wait"
    assert decision(replace(SEEN, fields=ENOUGH_FIELDS, latency_p99_ms=5000)) == "roll_back"


def test_one_engine_error_is_enough() -> None:
    verdict = judge(
        GATE, replace(SEEN, fault="engine error: no answer"), served_before_s=0, baseline_p99_ms=None
    )
    assert (verdict.decision, verdict.detail) == ("roll_back", "engine error: no answer")


def test_the_watch_tells_what_it_was_told() -> None:
    now_s = 100.0
    watch = TrialWatch(monotonic_s=lambda: now_s)
    assert watch.figures() == Figures(served_s=0, fields=0, latency_p99_ms=None, golden=None)
    for number in range(100):
        watch.note_field(float(number))
    watch.note_golden(passed=True, detail="agrees")
    now_s = 160.0
    figures = watch.figures()
    assert (figures.served_s, figures.fields, figures.golden, figures.fault) == (60, 100, True, "")
    assert figures.latency_p99_ms == pytest.approx(98.01)


def test_the_watch_keeps_the_first_fault() -> None:
    watch = TrialWatch(monotonic_s=lambda: 0.0)
    watch.note_golden(passed=False, detail="golden set FAILED")
    watch.note_engine_error("later")
    assert watch.figures().fault == "golden set FAILED"
    assert watch.figures().golden is False
