"""A whole station that runs out of file descriptors says so, goes on, and loses nothing that it saved."""

import contextlib
import json
import resource
import signal
import threading
from pathlib import Path

import httpx
import pytest

from tests.crash.whole_station import Bench, eventually, kill

pytestmark = [pytest.mark.crash, pytest.mark.broker]

WAIT_S = 60.0
SAID = "No file descriptor is free"


class Page:
    """A page that was open before: it hears the station's state over the connection that it has."""

    def __init__(self, url):
        self._url = url
        self.state = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._hear, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join(WAIT_S)

    def _hear(self):
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.stream("GET", self._url + "api/events", timeout=WAIT_S) as stream,
        ):
            for line in stream.iter_lines():
                if self._done.is_set():
                    return
                if line.startswith("data: ") and "state" in (told := json.loads(line[6:])):
                    self.state = told["state"]

    def says(self, words):
        return self.state is not None and any(words in each for each in self.state["health"]["problems"])


class Descriptors:
    """Those of another process: all that are free are taken away from it, until they are given back."""

    def __init__(self, process):
        self._id = process.pid
        self._before = resource.prlimit(self._id, resource.RLIMIT_NOFILE)

    @property
    def used(self):
        return {int(each.name) for each in Path(f"/proc/{self._id}/fd").iterdir()}

    def take_away(self):
        """Beneath the limit every number is in use; what is closed from here on may be opened again."""
        used = self.used
        lowest_free = next(number for number in range(len(used) + 1) if number not in used)
        now, _ = resource.prlimit(self._id, resource.RLIMIT_NOFILE)
        resource.prlimit(self._id, resource.RLIMIT_NOFILE, (min(now, lowest_free), self._before[1]))
        return True

    def give_back(self):
        resource.prlimit(self._id, resource.RLIMIT_NOFILE, self._before)


def announced(log, words):
    eventually(lambda: words in log.read_text(), words)
    return log.read_text().split(words)[1].split()[0]


def test_a_station_out_of_descriptors_says_so_goes_on_and_loses_nothing(tmp_path, handmade_bundle, mosquitto):
    settings = "[page]\nport = 0\n[metrics]\nenabled = true\nport = 0\n"
    bench = Bench(tmp_path, handmade_bundle, mosquitto, page=settings)
    log = tmp_path / "station.log"
    with contextlib.ExitStack() as stack:
        collector = bench.collector()
        stack.callback(kill, collector)
        station = bench.station(stack.enter_context(log.open("wb")))
        stack.callback(kill, station)
        figures = announced(log, "the figures are at ")
        page = stack.enter_context(Page(announced(log, "the page is at ")))
        eventually(lambda: page.state and len(bench.collected()) >= 3, "records in the collector")
        descriptors = Descriptors(station)
        open_before = len(descriptors.used)
        descriptors.take_away()

        eventually(lambda: page.says(SAID), "the page says what is wrong")
        held = len(bench.collected())
        eventually(lambda: len(bench.collected()) > held + 3, "deliveries by the open connection")
        with pytest.raises(httpx.HTTPError):
            httpx.get(figures, timeout=1.0)

        mosquitto.kill()
        mosquitto.start()
        # The lost connection has left descriptors behind.
        eventually(
            lambda: descriptors.take_away() and page.says("Too many open files"), "no connection is made"
        )
        held, saved = len(bench.collected()), page.state["saved_records"]
        eventually(lambda: page.state["saved_records"] > saved + 3, "fields saved meanwhile")
        assert len(bench.collected()) == held
        assert station.poll() is None

        descriptors.give_back()
        eventually(lambda: not page.state["health"]["problems"], "all is well again")
        saved = page.state["saved_records"]
        eventually(lambda: len(bench.collected()) >= saved, "everything that was saved, in the collector")
        assert httpx.get(figures, timeout=WAIT_S).status_code == 200
        eventually(lambda: len(descriptors.used) <= open_before, "no attempt left one open")
        health = page.state["health"]
        assert (health["restarts"], health["degraded"]) == ({}, [])

        station.send_signal(signal.SIGTERM)
        assert station.wait(WAIT_S) == 0, log.read_text()
        collected = bench.collected()
    assert collected == [(1, sequence) for sequence in range(1, len(collected) + 1)]
    assert log.read_text().count(SAID) >= 1
