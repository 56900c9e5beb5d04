"""The whole station, its broker and its collector under SIGKILL: no saved record is lost, none is doubled."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from edge.contract.records import DURABLE_RECORD, FieldRecord
from edge.outbox.store import Outbox

pytestmark = [pytest.mark.crash, pytest.mark.broker]

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )


def eventually(condition, what, timeout_s=60.0):
    """Poll a condition that another process brings about."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"never happened: {what}"
        os.sched_yield()
        time.sleep(0.02)


class Bench:
    """A station on an endless smear, a collector, and what both hold on disk."""

    def __init__(self, place, bundle, broker):
        self.place = place
        self.database = place / "fleet.sqlite"
        self.outbox = place / "var" / "outbox.sqlite"
        self.broker = broker
        self.config = place / "station.toml"
        self.config.write_text(
            f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "{bundle}"\n'
            '[camera]\nkind = "virtual_slide"\nlive = false\n[gates]\nmin_focus = 0.0\n'
            f'[page]\nenabled = false\n[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
            "ack_timeout_s = 1\nack_timeout_max_s = 2\nreconnect_min_s = 0.1\nreconnect_max_s = 0.5\n"
        )

    def station(self):
        return start("-m", "edge.cli", "run", "--config", self.config)

    def collector(self):
        broker = f"{self.broker.host}:{self.broker.port}"
        return start("-m", "fleet.cli", "collect", "--broker", broker, "--database", self.database)

    def collected(self):
        """(boot, sequence) of everything the collector has committed."""
        if not self.database.exists():
            return []
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT boot, sequence FROM records ORDER BY 1, 2").fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()

    def boots(self):
        return {boot for boot, _ in self.collected()}


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_killed_stations_and_brokers_lose_nothing_and_double_nothing(tmp_path, handmade_bundle, mosquitto):
    bench = Bench(tmp_path, handmade_bundle, mosquitto)
    collector = bench.collector()
    try:
        for boot in (1, 2, 3):
            station = bench.station()
            eventually(
                lambda boot=boot: sum(each[0] == boot for each in bench.collected()) >= 4,
                f"records of boot {boot} in the store",
            )
            if boot == 2:
                mosquitto.kill()
                held = len(bench.collected())
                mosquitto.start()
                eventually(
                    lambda held=held: len(bench.collected()) > held + 3, "records after the broker's death"
                )
            kill(station)
        # What was on the station's disk when it died, and not yet acknowledged, is sent by the next run.
        with Outbox(path=bench.outbox, site="lab", station="s1", software="test") as outbox:
            left = [DURABLE_RECORD.validate_json(each.body) for each in outbox.pending(limit=10_000)]
        saved = {(each.stamp.key.boot, each.stamp.key.sequence) for each in left} | set(bench.collected())
        last = bench.station()
        eventually(lambda: saved <= set(bench.collected()), "everything that was saved, in the store")
        kill(last)
        collected = bench.collected()
    finally:
        kill(collector)
    assert len(collected) == len(set(collected))
    for boot in (1, 2, 3):
        sequences = [sequence for each, sequence in collected if each == boot]
        assert sequences == list(range(1, len(sequences) + 1)), f"a gap in boot {boot}"
    assert all(isinstance(each, FieldRecord) or each.schema_id.startswith("leukoscope/") for each in left)
