"""The look at the machine."""

from __future__ import annotations

import os
import resource
import threading

from edge.health.board import Heat
from edge.health.machine import Machine


class CountingBoard:
    name = "counting"

    def __init__(self):
        self.looks = 0

    def heat(self):
        self.looks += 1
        return Heat(temperature_c=float(self.looks))


def test_the_machine_is_looked_at_every_two_seconds_at_most():
    board, now_s = CountingBoard(), [0.0]
    machine = Machine(board=board, clock=lambda: "synchronised", monotonic_s=lambda: now_s[0])
    for now_s[0] in (0.0, 0.5, 1.9, 2.0, 3.0, 4.1):
        state = machine.state()
    assert board.looks == 3
    assert (state.heat.temperature_c, state.clock) == (3.0, "synchronised")


def test_open_files_and_threads_are_those_of_this_process():
    now_s = [0.0]
    machine = Machine(board=CountingBoard(), clock=lambda: "unknown", monotonic_s=lambda: now_s[0])
    before = machine.state()
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    handles = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
    now_s[0] = 10.0
    after = machine.state()
    for handle in handles:
        os.close(handle)
    release.set()
    thread.join()
    assert after.open_files == before.open_files + 10
    assert after.threads == before.threads + 1
    assert after.memory_bytes > 0


def test_a_process_out_of_descriptors_says_so_with_the_figures_of_before():
    now_s = [0.0]
    machine = Machine(board=CountingBoard(), clock=lambda: "unknown", monotonic_s=lambda: now_s[0])
    before = machine.state()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        now_s[0] = 10.0
        meanwhile = machine.state()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    now_s[0] = 20.0
    assert (before.descriptors_spent, meanwhile.descriptors_spent) == (False, True)
    assert (meanwhile.memory_bytes, meanwhile.threads) == (before.memory_bytes, before.threads)
    assert meanwhile.open_files is None
    assert not machine.state().descriptors_spent
