"""Runs of a station with a real journal, shelf and outbox; each second passes when a test says so."""

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

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
from edge.filesystem import Disk
from edge.frame import Frame
from edge.slide_map.slide_map import Place
from edge.update.serving import Serving
from edge.update.trial import TrialWatch
from tests.edge.update.workbench import GATE, PATIENCE, ScriptedTest

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
