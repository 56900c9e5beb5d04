"""A stage's thread is relieved: every item is delivered once or told as lost once."""

from __future__ import annotations

import threading
import time

import pytest

from edge.daemon.handover import Handover
from edge.daemon.stage_worker import StageWork, StageWorker
from edge.daemon.timing import StageClock
from edge.errors import EngineError

DEADLINE_S = 20


class Bench:
    """A worker whose items hang as long as the test wants; what became of each is kept."""

    def __init__(self, *, prepare=lambda: None):
        self.source = Handover(capacity=8, live=False)
        self.hanging = {}
        self.begun = {}
        self.delivered, self.lost, self.late = [], [], []
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self.clock = StageClock(monotonic_s=time.monotonic)
        self.worker = StageWorker(
            stage="stage",
            source=self.source,
            work=StageWork(
                do=self._do,
                deliver=lambda item, result: self._note(self.delivered, (item, result)),
                lost=lambda item, reason: self._note(self.lost, (item, reason)),
                late=lambda item, result: self._note(self.late, (item, result)),
                at_end=self.ended.set,
                prepare=prepare,
            ),
            clock=self.clock,
        )

    def put(self, item, *, hangs=False):
        if hangs:
            self.hanging[item] = threading.Event()
        self.begun[item] = threading.Event()
        self.source.put(item)
        return self.hanging.get(item)

    def until(self, kept, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(kept) >= count, DEADLINE_S), kept

    def _do(self, item):
        self.begun[item].set()
        if item in self.hanging:
            assert self.hanging[item].wait(DEADLINE_S)
        if item == "breaks":
            raise RuntimeError("the driver is gone")
        return item.upper()

    def _note(self, kept, entry):
        with self.changed:
            kept.append(entry)
            self.changed.notify_all()


@pytest.fixture
def bench():
    subject = Bench()
    yield subject
    for release in subject.hanging.values():
        release.set()
    subject.source.end()
    subject.worker.stop(DEADLINE_S)
    subject.worker._shift.thread.join(DEADLINE_S)
    assert subject.worker.left_behind == 0


def test_items_are_seen_to_in_order_and_the_end_is_told(bench):
    bench.worker.start()
    for item in "abc":
        bench.put(item)
    bench.source.end()
    assert bench.ended.wait(DEADLINE_S)
    assert bench.delivered == [("a", "A"), ("b", "B"), ("c", "C")]
    assert bench.worker.silent_s is None


def test_a_stuck_item_is_lost_the_next_are_seen_to_and_its_late_result_is_not_delivered(bench):
    bench.worker.start()
    release = bench.put("stuck", hangs=True)
    assert bench.begun["stuck"].wait(DEADLINE_S)
    bench.worker.restart("no progress for 10 s")
    assert bench.lost == [("stuck", "no progress for 10 s")]
    bench.put("next")
    bench.until(bench.delivered, 1)
    assert bench.worker.left_behind == 1
    release.set()
    bench.until(bench.late, 1)
    assert bench.late == [("stuck", "STUCK")]
    assert bench.delivered == [("next", "NEXT")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_says_why_and_another_goes_on(bench):
    bench.worker.start()
    bench.put("breaks")
    assert bench.begun["breaks"].wait(DEADLINE_S)
    bench.worker._shift.thread.join(DEADLINE_S)
    assert bench.worker.fault == "RuntimeError: the driver is gone"
    bench.worker.restart(bench.worker.fault)
    bench.put("next")
    bench.until(bench.delivered, 1)
    assert bench.worker.fault == ""
    assert bench.lost == [("breaks", "RuntimeError: the driver is gone")]


def test_a_thread_that_takes_over_prepares_first_and_its_failure_is_a_fault():
    prepared = []

    def prepare():
        prepared.append(True)
        if len(prepared) == 1:
            raise EngineError("The engine cannot be loaded.", remedy="Look for lack of memory.")

    bench = Bench(prepare=prepare)
    bench.worker.start()
    assert prepared == []
    bench.worker.restart("stuck")
    bench.worker._shift.thread.join(DEADLINE_S)
    assert bench.worker.fault == "The engine cannot be loaded. Look for lack of memory."
    assert bench.worker.preparing
    bench.worker.restart("again")
    bench.put("a")
    bench.until(bench.delivered, 1)
    assert not bench.worker.preparing
    assert bench.worker.stop(DEADLINE_S)


def test_a_stage_that_is_given_up_tells_what_waited_as_lost_and_blocks_nobody(bench):
    bench.worker.start()
    bench.put("stuck", hangs=True)
    assert bench.begun["stuck"].wait(DEADLINE_S)
    bench.put("waits")
    bench.worker.give_up("five restarts")
    assert sorted(bench.lost) == [("stuck", "five restarts"), ("waits", "five restarts")]
    assert bench.ended.is_set()
    for index in range(50):
        bench.put(f"after {index}")
    assert bench.worker.silent_s is None


def test_waiting_for_room_is_a_sign_of_life():
    seen = threading.Event()
    full = Handover(capacity=1, live=False)
    full.put("first")
    writer = threading.Thread(target=lambda: full.put("second", on_wait=seen.set))
    writer.start()
    assert seen.wait(DEADLINE_S)
    assert full.get(1) == "first"
    writer.join(DEADLINE_S)
    assert full.get(1) == "second"
