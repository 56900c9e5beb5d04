"""The whole station killed in the middle of a slide: the next run goes on, and nobody reads the id."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from edge.contract.records import DURABLE_RECORD, FieldRecord, SlideRecord
from edge.outbox.store import Outbox

pytestmark = pytest.mark.crash

ACCESSION = "H-2026-00417"
PATIENCE_S = 60.0


class RunningStation:
    """A station's process with its page; all that it says is kept."""

    def __init__(self, config):
        self.config = config
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge.cli", "run", "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if "page: http" in line:
                self.page = line.split()[-1].rstrip("/")
                break
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr))
        self.reader.start()

    def slide(self):
        return httpx.get(f"{self.page}/api/state", timeout=PATIENCE_S).json()["state"]["slide"]

    def order(self, order, **body):
        headers = {"X-Leukoscope-Page": "1"}
        address = f"{self.page}/api/slide/{order}"
        httpx.post(address, json=body, headers=headers, timeout=PATIENCE_S).raise_for_status()

    def until(self, condition, what):
        """The slide as soon as the page is told one that fits."""
        deadline_s = time.monotonic() + PATIENCE_S
        with httpx.stream("GET", f"{self.page}/api/events", timeout=PATIENCE_S) as events:
            for line in events.iter_lines():
                told = json.loads(line[len("data: ") :]) if line.startswith("data: ") else {}
                slide = told.get("state", {}).get("slide")
                if slide and condition(slide):
                    return slide
                assert time.monotonic() < deadline_s, f"never happened: {what}; the slide is {slide}"
        raise AssertionError(f"the page ended before it told of {what}")

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait(PATIENCE_S)
        self.reader.join()
        self.process.stderr.close()


def test_a_killed_station_goes_on_with_its_slide(tmp_path, handmade_bundle):
    config = tmp_path / "station.toml"
    config.write_text(
        f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "{handmade_bundle}"\n'
        '[camera]\nkind = "virtual_slide"\nlive = false\n'
        "[gates]\nmin_focus = 0.0\n[page]\nport = 0\n"
    )
    first = RunningStation(config)
    try:
        order = ("slide", "open", "--cells", "400", "--config", str(config), "--page", first.page)
        subprocess.run(
            [sys.executable, "-m", "edge.cli", *order],
            input=f"{ACCESSION}\n",
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
        first.until(lambda slide: slide["name"] == ACCESSION and slide["fields"] >= 3, "fields of the slide")
        first.order("pause")
        paused = first.until(lambda slide: slide["state"] == "paused", "the pause")
    finally:
        first.end(signal.SIGKILL)

    second = RunningStation(config)
    try:
        slide = second.slide()
        assert (slide["state"], slide["resumed"], slide["target_cells"]) == ("paused", 1, 400)
        assert slide["name"] == slide["recorded_as"] == paused["recorded_as"] != ACCESSION
        assert slide["fields"] >= paused["fields"]
        second.order("resume")
        second.until(lambda now: now["fields"] > slide["fields"] + 1, "more fields on the slide")
        second.order("open", slide=ACCESSION)
        assert second.slide()["name"] == ACCESSION
        second.order("close")
    finally:
        second.end(signal.SIGTERM)

    with Outbox(path=tmp_path / "var" / "outbox.sqlite", site="lab", station="s1", software="test") as outbox:
        stored = outbox.pending(limit=10_000)
        assert outbox.kept("slide/") == {}
    records = [DURABLE_RECORD.validate_json(each.body) for each in stored]
    ours = [each for each in records if getattr(each, "slide", "") == paused["recorded_as"]]
    fields = [each.field for each in ours if isinstance(each, FieldRecord)]
    assert fields == list(range(1, len(fields) + 1))
    states = [each for each in ours if isinstance(each, SlideRecord)]
    assert {each.identity for each in states} == {"pseudonym"}
    assert (states[-1].state, states[-1].fields) == ("closed", len(fields))
    boots = {each.stamp.key.boot for each in ours}
    assert len(boots) == 2
    # The id stands nowhere but on the page: not in a record, not in the log, not on the disk.
    left = b"".join(path.read_bytes() for path in (tmp_path / "var").rglob("*") if path.is_file())
    for place in (left, "".join(first.said + second.said).encode(), b"".join(each.body for each in stored)):
        assert ACCESSION.encode() not in place
