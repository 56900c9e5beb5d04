"""A station in miniature, to be killed: an outbox that is filled as fast as it goes, and its publisher.

For each line on standard input, ``fill`` or ``drain``, it forks a child, prints the child's process id,
and, when the child is gone, its exit status. Forking spares the imports, so that a test can kill often.
Every key whose ``append`` returned is written to the log before the next one is asked for.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from datetime import datetime, timezone
from pathlib import Path

from edge.contract.message import Key, Stamp
from edge.contract.records import UpdateRecord
from edge.contract.status import StateRecord
from edge.outbox.publisher import Publisher
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox


def build(key: Key) -> UpdateRecord:
    stamp = Stamp(site="ward", key=key, recorded_at=datetime.now(timezone.utc), software="1", bundle="b")
    return UpdateRecord(stamp=stamp, state="idle", candidate="c", release=1, detail="x" * 500)


def birth() -> StateRecord:
    return StateRecord(
        site="ward", station="s1", boot=1, state="online", software="1", bundle="b", engine="e"
    )


def run(order: str, *, outbox_path: Path, log_path: Path, port: int) -> None:
    settings = MqttSettings(
        host="127.0.0.1",
        port=port,
        reconnect_min_s=0.05,
        reconnect_max_s=0.2,
        ack_timeout_s=0.5,
        backlog_per_s=5000,
    )
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    emptied = threading.Event()
    with Outbox(path=outbox_path, site="ward", station="s1", software="1") as outbox:
        publisher = Publisher(
            outbox=outbox,
            settings=settings,
            site="ward",
            station="s1",
            birth=birth,
            on_command=lambda _command: None,
        )
        publisher.start()
        while order == "fill":
            key = outbox.append(build)
            os.write(log, f"{key.boot} {key.sequence}\n".encode())
        while outbox.statistics().records:
            emptied.wait(0.02)
        publisher.stop(5)


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    outbox_path, log_path, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    while order := sys.stdin.readline().strip():
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run(order, outbox_path=outbox_path, log_path=log_path, port=port)
                status = 0
            finally:
                os._exit(status)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
