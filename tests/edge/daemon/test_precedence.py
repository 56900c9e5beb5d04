"""The networks' thread goes before those that give way, and nothing of that outlasts the station."""

from __future__ import annotations

import os
import sys
import threading

import cv2
import pytest

from edge.daemon.precedence import give_way, networks_first


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a niceness is a whole process's")
def test_a_thread_that_gives_way_leaves_the_others_as_they_are() -> None:
    before, found = niceness(), []

    def work() -> None:
        give_way()
        found.append(niceness())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [max(before, 10)]
    assert niceness() == before


def test_what_a_station_changes_for_its_process_is_undone() -> None:
    before = sys.getswitchinterval(), cv2.getNumThreads()
    with networks_first():
        assert sys.getswitchinterval() < before[0]
        assert cv2.getNumThreads() == 1
    assert (sys.getswitchinterval(), cv2.getNumThreads()) == before
