"""A publisher with its outbox, and how to wait for what it does."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from edge.contract.message import Key
from edge.contract.orders import Command
from edge.contract.records import DurableRecord
from edge.contract.status import StateRecord
from edge.outbox.publisher import Publisher
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox

Build = Callable[[Key], DurableRecord]
TIMEOUT_S = 30


def birth() -> StateRecord:
    return StateRecord(
        site="ward", station="s1", boot=1, state="offline", software="1", bundle="b", engine="cpu"
    )


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    deadline = time.monotonic() + TIMEOUT_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.005)


class Station:
    """A publisher with its outbox and what it was commanded."""

    def __init__(self, outbox: Outbox, settings: MqttSettings, on_command: Any = None) -> None:
        self.outbox = outbox
        self.commands: queue.Queue[Command] = queue.Queue()
        self.publisher = Publisher(
            outbox=outbox,
            settings=settings,
            site="ward",
            station="s1",
            birth=birth,
            on_command=on_command or self.commands.put,
            chance=random.Random(1),
        )


Start = Callable[..., Station]


def command(command_id: str = "c1", *, expires_in_s: float = 60, **fields: Any) -> str:
    expires_at = datetime.now(timezone.utc) + timedelta(seconds=expires_in_s)
    order = Command(id=command_id, command="close_slide", expires_at=expires_at, **fields)
    return order.model_dump_json(by_alias=True)
