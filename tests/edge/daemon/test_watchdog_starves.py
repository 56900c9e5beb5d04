"""What supervision cannot mend, a driver that keeps Python's own lock, starves systemd's watchdog."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from itertools import pairwise

from tests.conftest import REPOSITORY

HELD_S = 6
USUAL_S = 4.0
"""A busy machine feeds later than every 0.1 s; the lock is held clearly longer than that."""

STATION = f"""
import ctypes, sys, threading
from pathlib import Path
from edge.watchdog import Watchdog
from benchmarks.scripted_station import Bench, Script, Smear, draw_pictures

class Holding(Script):
    def answer(self, batch):
        answers = super().answer(batch)
        if len(fed) > 3 and not held:
            held.append(True)
            ctypes.PyDLL(None).sleep({HELD_S})
        return answers

fed, held = [], []
Smear.pictures = draw_pictures()
bench = Bench(Path(sys.argv[1]), Holding("good"), Smear, stuck_after_s=300.0)
with bench.stack, Watchdog() as watchdog:
    bench.station._watchdog = watchdog
    pause = threading.Event()
    while not held or len(fed) < 60:
        bench.station.tick()
        fed.append(1)
        pause.wait(0.1)
"""


def test_a_native_call_that_holds_pythons_lock_starves_the_watchdog(tmp_path):
    (tmp_path / "station").mkdir()
    heard_s = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            [sys.executable, "-c", STATION, str(tmp_path / "station")], cwd=REPOSITORY, env=environment
        ) as station:
            while len(heard_s) < 60:
                if b"WATCHDOG=1" in systemd.recv(4096):
                    heard_s.append(time.monotonic())
            assert station.wait(60) == 0
    gaps_s = sorted(after - before for before, after in pairwise(heard_s))
    assert gaps_s[-1] > HELD_S - 1, "nobody was fed while the lock was held"
    assert gaps_s[len(gaps_s) // 2] < USUAL_S
