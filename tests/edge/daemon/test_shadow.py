"""A candidate beside the active bundle: what is compared, what is passed over, and what hangs or dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from datetime import datetime, timezone

import numpy as np
import psutil
import pytest

from edge.analysis.comparison import Sighting
from edge.analysis.field import FieldAnalyzer
from edge.bundle import open_bundle
from edge.camera.virtual_slide import draw_field
from edge.cancellation import CancelledError
from edge.contract.records import ReadingChange
from edge.contract.taxonomy import ObjectKind
from edge.daemon.second_opinion import ChildOpinions, SeenField
from edge.daemon.second_opinion_child import second_opinion
from edge.daemon.shadow import Shadow
from edge.engine.signature import classifier_signature, detector_signature
from edge.engine.testing import FakeEngine, finds, names
from edge.errors import EngineError
from edge.frame import Frame
from edge.networks import open_networks
from tests.conftest import REPOSITORY
from tests.edge.facts import classifier_facts, detector_facts

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
WAIT_S = 60
BOX = (100, 100, 160, 160)


def frame(index=0, *, seed=5):
    pixels, _ = draw_field(seed=seed, width_px=416, height_px=320, um_per_px=0.08)
    return Frame(pixels=pixels, index=index, source=f"{index}", captured_at=NOW, monotonic_s=0.0)


def analyzer(*, probabilities=(0.9, 0.05, 0.05), objects=((ObjectKind.WBC, 0.9, BOX),)):
    found, named = detector_facts(), classifier_facts()
    return FieldAnalyzer(
        detector=FakeEngine(
            signature=detector_signature(found),
            answer=finds(objects, kinds=found.kinds, max_objects=found.max_objects),
        ),
        classifier=FakeEngine(
            signature=classifier_signature(named), answer=names(probabilities, distance=1.0)
        ),
        detector_facts=found,
        classifier_facts=named,
    )


class Candidate:
    """A second opinion in this process; a test holds it back at a field and lets it go on."""

    def __init__(self, *, of, fails_at=None):
        self.analyzer = of
        self.fails_at = fails_at
        self.asked = []
        self.at_work = threading.Semaphore(0)
        self.may_answer = threading.Semaphore(0)
        self.bundles = []

    @contextmanager
    def __call__(self, bundle, _cancelled):
        self.bundles.append(bundle)
        yield self.answer

    def answer(self, field, *, cancelled):
        self.asked.append(field)
        self.at_work.release()
        while not self.may_answer.acquire(timeout=0.01):
            if cancelled():
                raise CancelledError
        if len(self.asked) == self.fails_at:
            raise EngineError("The detector failed.")
        return second_opinion(self.analyzer, field)

    def let_go(self, fields):
        for _ in range(fields):
            self.may_answer.release()


def until(condition):
    pause, deadline = threading.Event(), WAIT_S * 100
    while not condition():
        deadline -= 1
        assert deadline, "it never came"
        pause.wait(0.01)


def ended(shadow, bundle, attempt="candidate/1"):
    until(lambda: shadow.follow(attempt, bundle=bundle) is not None)
    return shadow.follow(attempt, bundle=bundle)


def test_readings_of_the_same_frames_are_compared_and_told(tmp_path):
    active = analyzer()
    candidate = Candidate(
        of=analyzer(
            probabilities=(0.05, 0.05, 0.9),
            objects=((ObjectKind.WBC, 0.9, BOX), (ObjectKind.PLATELET, 0.8, (10, 10, 30, 30))),
        )
    )
    shadow = Shadow(fields=2, open_opinion=candidate)
    assert shadow.follow("candidate/1", bundle=tmp_path) is None
    candidate.let_go(2)
    for index in range(2):
        here = frame(index)
        shadow.see(here, active.analyze(here.pixels))
        assert candidate.at_work.acquire(timeout=WAIT_S)
    end = ended(shadow, tmp_path)
    assert (end.fault, candidate.bundles) == ("", [tmp_path])
    assert [field.pixels.shape for field in candidate.asked] == [(320, 416, 3)] * 2
    assert (end.found.fields, end.found.fields_passed_over) == (2, 0)
    assert (end.found.objects, end.found.differing) == (4, 4)
    assert (end.found.missed, end.found.found) == ({}, {ObjectKind.PLATELET: 2})
    assert end.found.changes == (
        ReadingChange(active="neutrophil", candidate="blast", objects=2),
        ReadingChange(active="nothing", candidate="platelet", objects=2),
    )
    assert shadow.stop(WAIT_S)


def test_a_candidate_that_reads_the_same_disagrees_nowhere(tmp_path):
    candidate = Candidate(of=analyzer())
    shadow = Shadow(fields=1, open_opinion=candidate)
    shadow.follow("candidate/1", bundle=tmp_path)
    candidate.let_go(1)
    shadow.see(frame(), analyzer().analyze(frame().pixels))
    found = ended(shadow, tmp_path).found
    assert (found.objects, found.differing, found.changes) == (1, 0, ())


def test_while_it_is_busy_only_the_newest_field_waits_and_nobody_waits_for_it(tmp_path):
    candidate = Candidate(of=analyzer())
    shadow = Shadow(fields=2, open_opinion=candidate)
    shadow.follow("candidate/1", bundle=tmp_path)
    frames = [frame(index, seed=index + 1) for index in range(6)]
    shadow.see(frames[0], ())
    assert candidate.at_work.acquire(timeout=WAIT_S)
    for each in frames[1:]:
        shadow.see(each, ())
    assert shadow.progress == "0 of 2 fields are compared"
    candidate.let_go(2)
    end = ended(shadow, tmp_path)
    first, newest = candidate.asked
    assert np.array_equal(first.pixels, frames[0].pixels)
    assert np.array_equal(newest.pixels, frames[5].pixels)
    assert end.found.fields_passed_over == 4


def test_an_engine_error_of_the_candidate_ends_the_run(tmp_path):
    candidate = Candidate(of=analyzer(), fails_at=2)
    shadow = Shadow(fields=3, open_opinion=candidate)
    shadow.follow("candidate/1", bundle=tmp_path)
    candidate.let_go(2)
    for index in range(2):
        shadow.see(frame(index), ())
        assert candidate.at_work.acquire(timeout=WAIT_S)
    end = ended(shadow, tmp_path)
    assert (end.found, end.fault) == (None, "The detector failed.")
    shadow.see(frame(3), ())
    assert len(candidate.asked) == 2


def test_a_run_that_is_stopped_finds_nothing_and_the_next_attempt_begins_anew(tmp_path):
    candidate = Candidate(of=analyzer())
    shadow = Shadow(fields=1, open_opinion=candidate)
    shadow.follow("candidate/1", bundle=tmp_path)
    shadow.see(frame(), ())
    assert candidate.at_work.acquire(timeout=WAIT_S)
    assert shadow.follow("candidate/2", bundle=tmp_path / "other") is None
    assert shadow.progress == "0 of 1 fields are compared"
    until(lambda: len(candidate.bundles) == 2)
    assert shadow.stop(WAIT_S)
    assert (shadow.progress, candidate.bundles) == ("", [tmp_path, tmp_path / "other"])


def test_without_a_run_what_is_seen_is_let_go():
    shadow = Shadow(fields=1, open_opinion=Candidate(of=analyzer()))
    shadow.see(frame(), ())
    assert shadow.progress == ""
    assert shadow.stop(0)


@pytest.fixture
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def opinions(*, open_s=120.0, field_s=120.0, script=None):
    rest = {} if script is None else {"program": (sys.executable, "-c", script)}
    return ChildOpinions(precision="fp32", open_s=open_s, field_s=field_s, **rest)


def never():
    return False


def field(pixels, seen=()):
    return SeenField(pixels=pixels, um_per_px=None, seen=tuple(seen))


@pytest.mark.usefixtures("_in_the_repository")
def test_a_real_candidate_in_its_process_reads_what_its_networks_read_here(handmade_bundle):
    pictures = [draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)[0] for seed in (3, 5)]
    with open_networks(open_bundle(handmade_bundle), threads=1) as networks:
        cells = [networks.analyzer.analyze(each) for each in pictures]
    assert all(cells)
    with opinions()(handmade_bundle, never) as opinion:
        (child,) = psutil.Process().children()
        assert child.nice() == 19
        for pixels, seen in zip(pictures, cells, strict=True):
            same = opinion(field(pixels, map(Sighting.of, seen)), cancelled=never)
            assert len(same) == len(seen)
            assert all(each.agree for each in same)
        # As from a camera that gives every other column: bytes that do not lie one behind another.
        strided = opinion(field(pictures[0][:, ::2], ()), cancelled=never)
        assert {each.old for each in strided} <= {"nothing"}
    assert not child.is_running()


@pytest.mark.usefixtures("_in_the_repository")
def test_a_process_that_is_killed_at_work_is_a_fault_of_the_candidate(handmade_bundle):
    with opinions()(handmade_bundle, never) as opinion:
        (child,) = psutil.Process().children()
        child.send_signal(signal.SIGTERM)  # of the whole station's end: no fault
        assert opinion(field(frame().pixels), cancelled=never) is not None
        child.kill()
        with pytest.raises(EngineError, match="the second opinion was ended by SIGKILL"):
            opinion(field(frame().pixels), cancelled=never)


@pytest.mark.usefixtures("_in_the_repository")
def test_a_scale_that_does_not_fit_the_candidate_is_told(handmade_bundle):
    with opinions()(handmade_bundle, never) as opinion:
        unfit = SeenField(pixels=frame().pixels, um_per_px=50.0, seen=())
        with pytest.raises(EngineError, match="50"):
            opinion(unfit, cancelled=never)


@pytest.mark.usefixtures("_in_the_repository")
def test_a_bundle_that_was_altered_is_not_opened(handmade_bundle, tmp_path):
    with (
        pytest.raises(EngineError, match=str(tmp_path)),
        opinions()(tmp_path, never),
    ):
        pytest.fail("it was opened")


READY = "print('{}', flush=True)\n"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("import time; time.sleep(600)", "opening the bundle took longer than 0.5 s"),
        (READY + "import time; time.sleep(600)", "a field took longer than 0.5 s"),
        (READY + "import sys; sys.stdin.buffer.read(100); print('no JSON', flush=True)", "did not answer"),
        (READY + "import os; os.abort()", "was ended by SIGABRT"),
        ("print('x' * 2_000_000, flush=True)", "does not answer in lines"),
    ],
)
def test_a_process_that_hangs_or_talks_nonsense_is_ended(tmp_path, script, fault):
    with (
        pytest.raises(EngineError, match=fault),
        opinions(
            open_s=0.5 if "opening" in fault else 60, field_s=0.5 if "a field" in fault else 60, script=script
        )(tmp_path, never) as opinion,
    ):
        opinion(field(frame().pixels), cancelled=never)
    assert psutil.Process().children() == []


def test_a_run_ends_at_once_where_the_station_does(tmp_path):
    stopping = threading.Event()
    script = READY + "import time; time.sleep(600)"
    with opinions(script=script)(tmp_path, never) as opinion:
        stopping.set()
        with pytest.raises(CancelledError):
            opinion(field(frame().pixels), cancelled=stopping.is_set)


@pytest.mark.usefixtures("_in_the_repository")
def test_a_child_does_not_outlive_a_station_that_was_killed(handmade_bundle, tmp_path):
    note = tmp_path / "child"
    os.mkfifo(note)
    script = (
        "import pathlib, psutil, signal, sys\n"
        "from edge.daemon.second_opinion import ChildOpinions\n"
        "opinions = ChildOpinions(precision='fp32', open_s=120, field_s=120)\n"
        f"with opinions(pathlib.Path({str(handmade_bundle)!r}), lambda: False):\n"
        "    (child,) = psutil.Process().children()\n"
        f"    pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "    signal.pause()\n"
    )
    station = psutil.Popen([sys.executable, "-c", script])
    child = psutil.Process(int(note.read_text()))
    station.kill()
    station.wait()
    child.wait(WAIT_S)
