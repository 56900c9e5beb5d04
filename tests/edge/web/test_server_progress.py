"""The page's server tells that it is alive, and another takes over at the same address."""

from __future__ import annotations

import threading
import time

import httpx

from edge.web.server import PageServer
from edge.web.testing import FakeStation

DEADLINE_S = 20


def test_progress_is_told_for_as_long_as_the_server_answers():
    beats = threading.Semaphore(0)
    with PageServer(view=FakeStation(), port=0, on_progress=beats.release) as server:
        assert beats.acquire(timeout=DEADLINE_S)
        assert beats.acquire(timeout=DEADLINE_S)
        assert server.running
    assert not server.running


def test_progress_does_not_go_by_the_wall_clock(monkeypatch):
    beats = threading.Semaphore(0)
    real = time.time
    with PageServer(view=FakeStation(), port=0, on_progress=beats.release):
        assert beats.acquire(timeout=DEADLINE_S)
        monkeypatch.setattr(time, "time", lambda: real() - 365 * 86400)
        for _ in range(2):
            assert beats.acquire(timeout=DEADLINE_S)


def test_a_stuck_server_is_relieved_at_the_same_address():
    stuck, release = threading.Event(), threading.Event()
    beaten = threading.Event()

    def hang_once():
        if not stuck.is_set():
            stuck.set()
            assert release.wait(DEADLINE_S)
        else:
            beaten.set()

    with PageServer(view=FakeStation(), port=0, on_progress=hang_once) as server:
        url, old = server.url, server._thread
        assert stuck.wait(DEADLINE_S)
        server.restart()
        assert server.url == url
        assert beaten.wait(DEADLINE_S)
        assert httpx.get(url + "api/state", timeout=DEADLINE_S).status_code == 200
        release.set()
        old.join(DEADLINE_S)
        assert not old.is_alive()
        assert httpx.get(url + "api/state", timeout=DEADLINE_S).status_code == 200
