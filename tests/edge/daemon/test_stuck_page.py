"""The page of a real station that asks something and is never answered: begun anew, then done without."""

from __future__ import annotations

import contextlib
import threading
import time

import httpx
import pytest

from benchmarks.scripted_station import DEADLINE_S, STUCK_AFTER_S, Bench, Script, Smear, draw_pictures


@pytest.fixture(scope="module", autouse=True)
def pictures():
    Smear.pictures = draw_pictures()


class Stuck:
    """An answer of the view that hangs as often as it is told to."""

    def __init__(self, answer, *, times):
        self._answer = answer
        self._left = times
        self.release = threading.Event()

    def __call__(self):
        self._left -= 1
        if self._left >= 0:
            assert self.release.wait(DEADLINE_S)
        return self._answer()


@pytest.fixture
def station(tmp_path):
    bench = Bench(tmp_path, Script("good"), Smear, page=True, stuck_after_s=STUCK_AFTER_S, restarts=2)
    with bench.stack:
        yield bench


@pytest.fixture
def stick(station, monkeypatch):
    """Have a question hang; the threads that it holds are let go at the end."""
    with contextlib.ExitStack() as stack:

        def begin(*, times):
            stuck = Stuck(station.station._view.gallery, times=times)
            monkeypatch.setattr(station.station._view, "gallery", stuck)
            stack.callback(stuck.release.set)
            return stuck

        yield begin


class Visitor:
    """A browser that asks for the gallery over and over, whoever serves it, until it gets it."""

    def __init__(self, url):
        self.answered, self._done = threading.Event(), threading.Event()
        self._url = url
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join(DEADLINE_S)

    def _ask(self):
        while not self._done.is_set() and not self.answered.is_set():
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(self._url + "api/gallery", timeout=1.0).raise_for_status()
                self.answered.set()
            self._done.wait(0.05)


def test_a_page_that_hangs_within_a_call_is_begun_anew_at_its_address(station, stick):
    stuck, url = stick(times=1), station.station.page_url
    with Visitor(url) as visitor:
        station.until(lambda: station.health.restarts.get("page"), "a restart")
        station.until(visitor.answered.is_set, "the page, answered by another server")
    assert station.station.page_url == url
    assert station.health.degraded == ()
    assert station.station._supervisor.left_behind == 1
    stuck.release.set()
    station.until(lambda: station.station._supervisor.left_behind == 0, "the end of the stuck one")


def test_a_page_that_hangs_again_and_again_is_done_without_and_the_rest_goes_on(station, stick):
    stick(times=10**6)
    with Visitor(station.station.page_url):
        station.until(lambda: station.health.degraded == ("page",), "the page given up")
    health = station.health
    assert health.restarts == {"page": 2}
    assert any(each.startswith("The page is no longer served; counting and") for each in health.problems)
    assert station.heard.status.endswith("without page")
    seen, fed, records = health.refusals["already_counted"], station.heard.fed, health.outbox_records
    station.until(lambda: station.health.refusals["already_counted"] > seen + 5, "fields seen without it")
    station.station.close_slide()
    assert station.health.outbox_records > records
    assert station.heard.fed > fed
    assert not station.station._supervisor.beyond_mending


def test_a_page_that_nobody_asks_for_anything_is_left_alone(station):
    begun_s = time.monotonic()
    station.until(lambda: time.monotonic() > begun_s + 2 * STUCK_AFTER_S, "a while in which its loop beats")
    assert station.health.restarts == {}
