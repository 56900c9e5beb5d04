"""A live camera's stale frames are dropped and counted; a replay's never are."""

import threading
from datetime import datetime, timezone

import numpy as np

from edge.daemon.handover import Handover
from edge.frame import Frame


def frame(index):
    return Frame(
        pixels=np.zeros((4, 4, 3), np.uint8),
        index=index,
        source="test",
        captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        monotonic_s=float(index),
    )


def test_a_live_queue_keeps_the_newest_and_counts_the_rest():
    queue = Handover(capacity=2, live=True)
    for index in range(5):
        queue.put(frame(index))
    assert [queue.get(0).index, queue.get(0).index] == [3, 4]
    assert queue.dropped == 3
    assert queue.get(0) is None


def test_a_replay_waits_for_its_reader():
    queue = Handover(capacity=2, live=False)
    writer = threading.Thread(target=lambda: [queue.put(frame(index)) for index in range(50)])
    writer.start()
    seen = [queue.get(5).index for _ in range(50)]
    writer.join(5)
    assert seen == list(range(50))
    assert queue.dropped == 0


def test_the_end_wakes_a_waiting_writer_and_leaves_what_waits():
    queue = Handover(capacity=1, live=False)
    queue.put(frame(0))
    writer = threading.Thread(target=lambda: queue.put(frame(1)))
    writer.start()
    queue.end()
    writer.join(5)
    assert not writer.is_alive()
    assert not queue.drained
    assert queue.get(0).index == 0
    assert queue.get(0) is None
    assert queue.drained
