"""The analysing thread: counts fields, refuses frames, and outlives what a person can mend."""

import os
import sys
import threading
import time
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.analysis.field import FieldAnalyzer
from edge.analysis.gates import Gates, GateSettings
from edge.camera.virtual_slide import draw_field
from edge.contract.taxonomy import ObjectKind
from edge.daemon.handover import Handover
from edge.daemon.observer import ANALYSIS, GATES, SAVING, Observer
from edge.daemon.problems import Problems
from edge.daemon.slide_desk import NO_SLIDE, SlideDesk
from edge.daemon.slide_journal import Origin
from edge.daemon.timing import StageClock
from edge.engine.signature import classifier_signature, detector_signature
from edge.engine.testing import FakeEngine, finds, names
from edge.errors import EngineError, StorageError
from edge.frame import Frame
from edge.outbox.store import Outbox
from tests.edge.facts import classifier_facts, detector_facts

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def pictures():
    return [draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)[0] for seed in (5, 8, 13)]


class AnnouncedProblems(Problems):
    """Problems that a test can wait for."""

    def __init__(self):
        super().__init__()
        self.raised = threading.Event()

    def raise_(self, subject, text):
        super().raise_(subject, text)
        self.raised.set()


class Bench:
    """An observer on a real outbox, with scripted networks; frames are put in by hand."""

    def __init__(self, outbox, failing=(), class_shares=(0.9, 0.05, 0.05)):
        found, named = detector_facts(), classifier_facts()
        script = finds(
            [(ObjectKind.WBC, 0.9, (100, 100, 160, 160))], kinds=found.kinds, max_objects=found.max_objects
        )
        calls = iter(range(10_000))

        def answer(batch):
            if next(calls) in failing:
                raise EngineError("The detector failed.", remedy="Look for lack of memory.")
            return script(batch)

        self.frames = Handover(capacity=10, live=False)
        self.problems = AnnouncedProblems()
        self.desk = SlideDesk(
            journal=outbox,
            origin=Origin(site="lab", software="test", bundle="0" * 64),
            classifier=named,
            record_every_fields=100,
            now=lambda: NOW,
        )
        self.counted, self.seen = [], []
        self.analysed_s, self.engine_errors = [], []
        self.niceness = {}
        # Any sharpness will do: what is under test is what becomes of a verdict.
        self.gates = Gates(GateSettings(min_focus=0.0, max_white_share=1.0), still_images=True)
        self.observer = Observer(
            frames=self.frames,
            gates=self.gates,
            analyzer=FieldAnalyzer(
                detector=FakeEngine(signature=detector_signature(found), answer=answer),
                classifier=FakeEngine(
                    signature=classifier_signature(named), answer=names(class_shares, distance=1.0)
                ),
                detector_facts=found,
                classifier_facts=named,
            ),
            desk=self.desk,
            clock=StageClock(monotonic_s=time.monotonic),
            problems=self.problems,
            monotonic_s=time.monotonic,
            on_frame=self._on_frame,
            on_field=self._on_field,
            on_analysed=self._on_analysed,
            on_engine_error=self.engine_errors.append,
        )

    def _on_frame(self, frame, refusal):
        self.niceness[GATES] = niceness()
        self.seen.append((frame.index, refusal))

    def _on_analysed(self, _frame, _cells, seconds):
        self.niceness[ANALYSIS] = niceness()
        self.analysed_s.append(seconds)

    def _on_field(self, field):
        self.niceness[SAVING] = niceness()
        self.counted.append(field)

    def put(self, index, picture, um_per_px=None):
        self.frames.put(
            Frame(
                pixels=picture,
                index=index,
                source=f"{index}.png",
                captured_at=NOW,
                monotonic_s=time.monotonic(),
                um_per_px=um_per_px,
            )
        )

    def watch(self, pictures):
        self.observer.start()
        for index, picture in enumerate(pictures):
            self.put(index, picture)
        self.finish()

    def finish(self):
        self.frames.end()
        assert self.observer.finished.wait(30)


def niceness():
    """How far the calling thread gives way to others."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


class FillingDisk:
    """An outbox on a disk that can be full."""

    def __init__(self, outbox):
        self.outbox = outbox
        self.full = False

    def append(self, build, *, keep=None):
        if self.full:
            raise StorageError("The disk is full.", remedy="Free some space.")
        return self.outbox.append(build, keep=keep)


@pytest.fixture
def outbox(tmp_path):
    with Outbox(path=tmp_path / "outbox.sqlite", site="lab", station="s", software="test") as opened:
        yield opened


def test_each_new_field_is_counted_once(outbox, pictures):
    bench = Bench(outbox)
    bench.desk.open("A")
    bench.watch([*pictures, pictures[0]])
    assert [field.number for field in bench.counted] == [1, 2, 3]
    assert bench.observer.refusals["already_counted"] == 1
    assert bench.desk.latest.named_cells == 3
    assert len(outbox.pending()) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a niceness is a whole process's")
def test_judging_and_saving_give_way_to_the_networks(outbox, pictures):
    bench = Bench(outbox)
    bench.desk.open("A")
    bench.watch(pictures)
    before = niceness()
    assert bench.niceness == {GATES: max(10, before), ANALYSIS: before, SAVING: max(10, before)}


def test_without_a_slide_frames_are_seen_but_not_counted(outbox, pictures):
    bench = Bench(outbox)
    bench.watch(pictures)
    assert bench.counted == []
    assert bench.seen == [(0, NO_SLIDE), (1, NO_SLIDE), (2, NO_SLIDE)]
    assert bench.observer.refusals[NO_SLIDE] == 3


def test_a_failing_network_costs_its_field_and_is_told(outbox, pictures):
    bench = Bench(outbox, failing=(2,))
    bench.desk.open("A")
    bench.watch(pictures)
    assert len(bench.counted) == 2
    assert bench.problems.standing() == ("A field was lost: The detector failed. Look for lack of memory.",)
    # What a bundle on trial is judged by.
    assert bench.engine_errors == ["The detector failed. Look for lack of memory."]
    assert len(bench.analysed_s) == 2


def test_a_scale_that_cannot_be_the_frames_costs_the_field_and_not_the_station(outbox, pictures):
    bench = Bench(outbox)
    bench.desk.open("A")
    bench.observer.start()
    bench.put(0, pictures[0], um_per_px=50.0)
    assert bench.problems.raised.wait(30)
    assert "A field was lost: 50.0 um/px makes this 640x480 frame" in bench.problems.standing()[0]
    bench.put(1, pictures[1])
    bench.finish()
    assert [field.frame.index for field in bench.counted] == [1]
    assert bench.engine_errors == [], "no fault of the bundle, which may be on trial"


def test_a_lost_field_can_be_counted_when_it_is_seen_again(outbox, pictures):
    bench = Bench(outbox, failing=(0,))
    bench.desk.open("A")
    bench.observer.start()
    bench.put(0, pictures[0])
    assert bench.problems.raised.wait(30)
    bench.put(1, pictures[0])
    bench.finish()
    assert [field.frame.index for field in bench.counted] == [1]
    assert bench.problems.standing() == ()


def test_a_full_disk_is_told_and_the_station_goes_on(outbox, pictures):
    journal = FillingDisk(outbox)
    bench = Bench(journal)
    bench.desk.open("A")
    journal.full = True
    bench.watch(pictures)
    assert bench.counted == []
    (problem,) = bench.problems.standing()
    assert problem.startswith("A field could not be saved and was not counted: ")
    assert bench.desk.latest.named_cells == 0


def test_cells_have_numbers_and_another_run_goes_on_with_the_map(outbox):
    ground, _ = draw_field(seed=21, width_px=960, height_px=480, um_per_px=0.08)
    # The scripted detector finds its cell at the same place of every field, so at another one of the slide.
    bench = Bench(outbox)
    bench.desk.open("A")
    bench.watch([np.ascontiguousarray(ground[:, x : x + 640]) for x in (0, 200)])
    first, second = (field.cells for field in bench.counted)
    assert [cell.number for cell in (*first, *second)] == [1, 2]
    again = Bench(outbox)
    assert again.desk.go_on()
    again.watch([np.ascontiguousarray(ground[:, x : x + 640]) for x in (200, 320)])
    assert again.observer.refusals["already_counted"] == 1, "the map was kept: this field lies on it"
    (third,) = again.counted
    assert [cell.number for cell in third.cells] == [3]
    assert again.desk.latest.ground.islands == 1


def test_blasts_are_pointed_out_on_the_map_as_they_are_counted_and_by_another_run(outbox, pictures):
    bench = Bench(outbox, class_shares=(0.05, 0.05, 0.9))
    bench.desk.open("A")
    bench.watch(pictures[:1])
    (cell,) = bench.counted[0].cells
    (dot,) = bench.gates.slide_map.shown.sketch.dots
    assert (dot.number, dot.at_px) == (cell.number, pytest.approx(cell.position_px, abs=1))
    again = Bench(outbox)
    assert again.desk.go_on()
    again.watch(pictures[:1])
    assert again.counted == []
    assert again.gates.slide_map.shown.sketch.dots == (dot,)


def test_what_could_not_be_saved_is_not_taken_for_counted_on_the_map(outbox, pictures):
    journal = FillingDisk(outbox)
    bench = Bench(journal)
    bench.desk.open("A")
    journal.full = True
    bench.observer.start()
    bench.put(0, pictures[0])
    assert bench.problems.raised.wait(30)
    journal.full = False
    bench.put(1, pictures[0])
    bench.finish()
    (field,) = bench.counted
    assert [cell.number for cell in field.cells] == [2], "a number is not given twice"
    assert field.frame.index == 1
