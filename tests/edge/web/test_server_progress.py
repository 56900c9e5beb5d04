"""The page's server tells how long it has made no progress, and another takes over at the same address."""

from __future__ import annotations

import contextlib
import errno
import threading
import time

import httpx
import pytest

from edge.errors import PageError
from edge.web.guard import CONTROL_HEADER
from edge.web.server import PageServer
from edge.web.testing import FakeStation
from edge.web.view_calls import ViewCalls

DEADLINE_S = 20
CONTROL = {CONTROL_HEADER: "1"}


class Hanging(FakeStation):
    """A station of which a question is not answered before it is released."""

    def __init__(self, question="snapshot"):
        super().__init__()
        self.release, self.asked = threading.Event(), threading.Semaphore(0)
        if question == "snapshot":
            self.snapshot = self._hang(self.snapshot)
        else:
            self.gallery = self._hang(self.gallery)

    def _hang(self, answer):
        def hang():
            self.asked.release()
            assert self.release.wait(DEADLINE_S)
            return answer()

        return hang


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def until(condition, what):
    pause, deadline_s = threading.Event(), time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        pause.wait(0.01)


@pytest.fixture
def ask():
    """Ask a server for something without waiting for the answer."""
    with contextlib.ExitStack() as stack:

        def begin(url):
            def get():
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(url, timeout=DEADLINE_S)

            thread = threading.Thread(target=get, daemon=True)
            thread.start()
            stack.callback(thread.join, DEADLINE_S)

        yield begin


def test_its_event_loop_stamps_progress_and_nobody_need_look():
    clock = Clock()
    with PageServer(view=FakeStation(), port=0, monotonic_s=clock) as server:
        clock.now_s += 30
        until(lambda: server.silent_s == 0, "a stamp")
        assert server.running
        assert (server.passes, server.left_behind) == (0, 0)
        clock.now_s += 31
        until(lambda: server.passes > 0, "a server that has run for a minute has shown that it works")
    assert (server.silent_s, server.running, server.left_behind) == (None, False, 0)


def test_progress_does_not_go_by_the_wall_clock(monkeypatch):
    clock, real = Clock(), time.time
    with PageServer(view=FakeStation(), port=0, monotonic_s=clock) as server:
        monkeypatch.setattr(time, "time", lambda: real() - 365 * 86400)
        for _ in range(2):
            clock.now_s += 30
            until(lambda: server.silent_s == 0, "a stamp")


@pytest.mark.parametrize("address", ["api/state", "api/events"])
def test_a_question_that_the_station_does_not_answer_is_no_progress(ask, address):
    clock, view = Clock(), Hanging()
    with PageServer(view=view, port=0, monotonic_s=clock) as server:
        ask(server.url + address)
        assert view.asked.acquire(timeout=DEADLINE_S)
        clock.now_s += 12
        assert server.silent_s == 12
        assert server.running
        passes = server.passes
        view.release.set()
        until(lambda: server.passes > passes, "the answer")
        until(lambda: server.silent_s < 12, "progress again")


def test_what_a_page_asks_the_station_is_seen_through():
    with PageServer(view=FakeStation(), port=0) as server:
        for passes in (1, 2):
            order = httpx.post(server.url + "api/slide/pause", headers=CONTROL, timeout=DEADLINE_S)
            # Paused twice: a refusal is an answer as well.
            assert order.status_code == (204 if passes == 1 else 409)
            until(lambda passes=passes: server.passes == passes, "the call noted")


def test_a_server_whose_question_hangs_is_relieved_at_the_same_address(ask):
    view = Hanging("gallery")
    with PageServer(view=view, port=0) as server:
        url = server.url
        ask(url + "api/gallery")
        assert view.asked.acquire(timeout=DEADLINE_S)
        server.restart()
        assert (server.url, server.left_behind) == (url, 1)
        assert httpx.get(url + "api/state", timeout=DEADLINE_S).status_code == 200
        assert server.silent_s < DEADLINE_S
        view.release.set()
        until(lambda: server.left_behind == 0, "the end of the old one")
        assert httpx.get(url + "api/state", timeout=DEADLINE_S).status_code == 200


def test_a_stuck_server_is_relieved_at_the_same_address():
    stuck, release = threading.Event(), threading.Event()

    def hang_in_the_first_loop():
        if threading.current_thread().name == "page-server" and not stuck.is_set():
            stuck.set()
            assert release.wait(DEADLINE_S)
        return time.monotonic()

    with PageServer(view=FakeStation(), port=0, monotonic_s=hang_in_the_first_loop) as server:
        url = server.url
        assert stuck.wait(DEADLINE_S)
        server.restart()
        assert server.url == url
        assert httpx.get(url + "api/state", timeout=DEADLINE_S).status_code == 200
        assert server.left_behind == 1
        release.set()
        until(lambda: server.left_behind == 0, "the end of the old one")
        assert httpx.get(url + "api/state", timeout=DEADLINE_S).status_code == 200


def test_a_question_without_an_answer_does_not_keep_the_process_from_ending(ask):
    view = Hanging()
    with PageServer(view=view, port=0) as server:
        ask(server.url + "api/state")
        assert view.asked.acquire(timeout=DEADLINE_S)
        assert all(each.daemon for each in threading.enumerate() if each is not threading.main_thread())
        view.release.set()


def test_a_server_that_gets_no_handle_cannot_be_begun_anew_and_says_so(monkeypatch):
    def no_handle(_self):
        raise OSError(errno.EMFILE, "Too many open files")

    with PageServer(view=FakeStation(), port=0) as server:
        with monkeypatch.context() as spent:
            spent.setattr("socket.socket.dup", no_handle)
            with pytest.raises(PageError, match="Too many open files"):
                server.restart()
        server.restart()
        assert httpx.get(server.url + "api/state", timeout=DEADLINE_S).status_code == 200


def test_calls_are_noted_however_they_end():
    clock = Clock()
    calls = ViewCalls(monotonic_s=clock)
    view = calls.watching(FakeStation())
    assert view.snapshot().version == 1
    with pytest.raises(TypeError):
        view.judge_cell()
    assert (calls.passes, calls.outstanding, calls.longest_s) == (2, 0, 0.0)
    with calls.noted():
        clock.now_s += 3
        with calls.noted():
            clock.now_s += 1
            assert (calls.outstanding, calls.longest_s) == (2, 4.0)
        assert (calls.outstanding, calls.longest_s) == (1, 4.0)
