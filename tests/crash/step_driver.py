"""A station in miniature that ends itself at a named step of an outbox's work.

Reads a case in JSON from each line of standard input, forks a station for it, which spares the imports, and
answers with a line: the station's wait status, or the names of its steps where nothing was to end it. What
it finds wrong in what its predecessor left goes to standard error. Every key whose ``append`` returned is in
the log before the next one is asked for.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path

from edge.contract.message import Key, Stamp
from edge.contract.records import UpdateRecord
from edge.contract.status import StateRecord
from edge.outbox import publisher as publisher_module
from edge.outbox.publisher import Publisher
from edge.outbox.settings import MqttSettings, OutboxLimits
from edge.outbox.store import Outbox
from tests.crash.steps import SteppedDisk, SteppedOutbox, Steps, When, stepped_link

RECORDS = 4
SMALL = OutboxLimits.model_construct(max_bytes=100_000, max_age_s=1e9)
"""So little that records must be given up, and yet enough for a trace of each."""
DETAIL = 3000
NEWEST = "newest record"


def build(key: Key) -> UpdateRecord:
    stamp = Stamp(site="ward", key=key, recorded_at=datetime.now(timezone.utc), software="1", bundle="b")
    return UpdateRecord(stamp=stamp, state="idle", candidate="c", release=1, detail="x" * DETAIL)


def birth() -> StateRecord:
    return StateRecord(
        site="ward", station="s1", boot=1, state="online", software="1", bundle="b", engine="e"
    )


def last_told(log: Path) -> tuple[int, int]:
    lines = log.read_text().splitlines() if log.exists() else []
    boot, sequence = lines[-1].split() if lines else (0, 0)
    return int(boot), int(sequence)


def check_predecessor(outbox: Outbox, log: Path) -> None:
    """The kept value is of the newest record that was saved, and no record that was told of is missing."""
    noted = outbox.kept(NEWEST).get(NEWEST, b"0 0").split()
    kept = (int(noted[0]), int(noted[1]))
    pending = [tuple(each.position) for each in outbox.pending(limit=10_000)]
    if kept < last_told(log):
        print(f"told of {last_told(log)}, but the kept value is of {kept}", file=sys.stderr, flush=True)
    if pending and pending[-1] != kept:
        print(f"the newest is {pending[-1]}, the kept value is of {kept}", file=sys.stderr, flush=True)
    if outbox.report:
        print(outbox.report, file=sys.stderr, flush=True)


def live(case: dict, *, place: Path, port: int, steps: Steps) -> None:
    """Record, have it published and acknowledged, and end."""
    publisher_module.Link = stepped_link(steps)
    log = place / "told"
    disk = SteppedDisk(name="stepped", steps=steps)
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    outbox = Outbox(
        path=place / "outbox.sqlite3",
        site="ward",
        station="s1",
        software="1",
        limits=SMALL if case["small"] else None,
        vfs=disk.name,
    )
    with steps.during("open"):
        outbox.__enter__()
    check_predecessor(outbox, log)
    settings = MqttSettings(
        host="127.0.0.1",
        port=port,
        reconnect_min_s=0.05,
        reconnect_max_s=0.2,
        ack_timeout_s=0.5,
        backlog_per_s=5000,
    )
    publisher = Publisher(
        outbox=SteppedOutbox(outbox=outbox, steps=steps),
        settings=settings,
        site="ward",
        station="s1",
        birth=birth,
        on_command=lambda _command: None,
    )
    publisher.start()
    for _ in range(RECORDS if case["records"] else 0):
        with steps.during("record"):
            noted = f"{outbox.boot} {outbox.last_sequence + 1}".encode()
            with steps.step("save"):
                key = outbox.append(build, keep={NEWEST: noted})
            with steps.step("tell"):
                os.write(told, f"{key.boot} {key.sequence}\n".encode())
    pause = threading.Event()
    while case["deliver"] and outbox.statistics().records:
        pause.wait(0.005)
    publisher.stop(5 if case["deliver"] else 0)
    with steps.during("close"):
        outbox.__exit__(None, None, None)


def run(case: dict, *, place: Path, port: int) -> object:
    names: dict[int, dict[str, None]] = defaultdict(dict)

    def watch(name: str, time: int, when: When) -> None:
        names[time][name] = None
        if (name, time, when) == (case.get("point"), case.get("time"), case.get("when")):
            os.kill(os.getpid(), signal.SIGKILL)

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            live(case, place=place, port=port, steps=Steps(watch))
            os.write(writer, json.dumps([list(names[time]) for time in sorted(names)]).encode())
            status = 0
        finally:
            if status:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(reader) as said:
        text = said.read()
    return {"status": status, "steps": json.loads(text) if text else []}


def main() -> None:
    place, port = Path(sys.argv[1]), int(sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line), place=place, port=port)), flush=True)


if __name__ == "__main__":
    main()
