"""A whole station, its broker and its collector as processes of their own, and what they hold on disk."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(*arguments, log=subprocess.DEVNULL):
    return subprocess.Popen([sys.executable, *map(str, arguments)], stdout=log, stderr=log, env=ENVIRONMENT)


def eventually(condition, what, timeout_s=60.0):
    """Poll a condition that another process brings about."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"never happened: {what}"
        os.sched_yield()
        time.sleep(0.02)


class Bench:
    """A station on an endless smear, a collector, and what both hold on disk."""

    def __init__(self, place, bundle, broker, *, page="[page]\nenabled = false\n"):
        self.place = place
        self.database = place / "fleet.sqlite"
        self.outbox = place / "var" / "outbox.sqlite"
        self.broker = broker
        self.config = place / "station.toml"
        self.config.write_text(
            f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "{bundle}"\n'
            '[camera]\nkind = "virtual_slide"\nlive = false\n[gates]\nmin_focus = 0.0\n'
            f'{page}[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
            "ack_timeout_s = 1\nack_timeout_max_s = 2\nreconnect_min_s = 0.1\nreconnect_max_s = 0.5\n"
        )

    def station(self, log=subprocess.DEVNULL):
        return start("-m", "edge.cli", "run", "--config", self.config, log=log)

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
