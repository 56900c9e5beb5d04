from __future__ import annotations

import json
import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract.message import MAX_COMMAND_BYTES
from edge.contract.orders import Command
from edge.errors import StorageError
from edge.outbox.command_desk import CommandDesk
from edge.outbox.commands import CommandGate, Refusal

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


class Station:
    """A gate whose time and memory the test holds."""

    def __init__(self, *, per_minute: int = 6) -> None:
        self.now_s = 0.0
        self.remembered: dict[str, datetime] = {}
        self.disk_full = False
        self.gate = CommandGate(
            per_minute=per_minute,
            remember=self.remember,
            utc_now=lambda: NOW + timedelta(seconds=self.now_s),
            monotonic_s=lambda: self.now_s,
        )

    def remember(self, command_id: str, *, expires_at: datetime) -> bool:
        if self.disk_full:
            raise StorageError("The disk is full.")
        known = command_id in self.remembered
        self.remembered[command_id] = expires_at
        return not known

    def judge(self, command_id: str = "a", *, expires_in_s: float = 600) -> Command | str:
        payload = {"id": command_id, "command": "open_slide", "slide": "A-1"}
        expires_at = NOW + timedelta(seconds=self.now_s + expires_in_s)
        judged = self.gate.judge(json.dumps(payload | {"expires_at": expires_at.isoformat()}).encode())
        return judged.reason if isinstance(judged, Refusal) else judged


def test_a_command_passes_once() -> None:
    station = Station()
    judged = station.judge()
    assert isinstance(judged, Command)
    assert (judged.command, judged.slide) == ("open_slide", "A-1")
    assert station.judge() == "repeated"


def test_an_expired_command_is_not_remembered() -> None:
    station = Station()
    assert station.judge(expires_in_s=0) == "expired"
    assert station.remembered == {}


def test_the_bucket_fills_evenly_and_never_beyond_its_measure() -> None:
    station = Station(per_minute=6)
    answers = [station.judge(str(number)) for number in range(7)]
    assert answers[6] == "too_many"
    assert "too_many" not in answers[:6]
    station.now_s = 10
    assert isinstance(station.judge("7"), Command)
    assert station.judge("8") == "too_many"
    station.now_s = 10_000
    assert [station.judge(f"later{number}") for number in range(7)].count("too_many") == 1


def test_rubbish_costs_as_much_as_a_command() -> None:
    station = Station(per_minute=2)
    for _ in range(2):
        refusal = station.gate.judge(b"rubbish")
        assert isinstance(refusal, Refusal)
        assert refusal.reason == "malformed"
    assert station.judge() == "too_many"


def test_zero_refuses_every_command() -> None:
    assert Station(per_minute=0).judge() == "too_many"


def test_what_cannot_be_noted_must_not_be_done() -> None:
    station = Station()
    station.disk_full = True
    assert station.judge() == "not_saved"


def test_an_order_that_is_none_can_be_answered_where_it_has_an_id() -> None:
    told = Station().gate.judge(b'{"id": "c1", "command": "reboot"}')
    assert isinstance(told, Refusal)
    assert (told.reason, told.command_id) == ("malformed", "c1")
    for payload in (b'{"id": 7}', b'{"id": ""}', b'{"command": "reboot"}', b"rubbish"):
        told = Station().gate.judge(payload)
        assert isinstance(told, Refusal)
        assert told.command_id is None


def test_size_is_judged_before_anything_is_read() -> None:
    refusal = Station().gate.judge(b"[" * (MAX_COMMAND_BYTES + 1))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "oversized"


@settings(max_examples=60)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_payload_does_more_than_be_refused(payload: bytes) -> None:
    refusal = Station().gate.judge(payload)
    assert isinstance(refusal, Refusal)
    assert len(refusal.detail) <= 200


SEED_COMMANDS = [
    {"id": "a1", "command": "open_slide", "slide": "A-17", "target_cells": 200},
    {"id": "b" * 64, "command": "close_slide", "schema": "leukoscope/command/1"},
    {"id": "c", "command": "look_for_update"},
]
STRANGE = [None, -1, 1e308, "", "\x00", "A" * 300, [], {}, [[[]]], True, "2026-03-01T00:00:00Z", 2**70]


def mutated(chance: random.Random) -> bytes:
    """A valid order with something changed in its values, its keys or its bytes."""
    order: dict[Any, Any] = dict(chance.choice(SEED_COMMANDS))
    order["expires_at"] = (NOW + timedelta(hours=1)).isoformat()
    for _ in range(chance.randrange(3)):
        key = chance.choice([*order, "id", "expires_at", "reboot"])
        if chance.random() < 0.3:
            order.pop(key, None)
        else:
            order[key] = chance.choice(STRANGE)
    payload = bytearray(json.dumps(order, default=str).encode())
    for _ in range(chance.choice((0, 0, 1, 4))):
        place = chance.randrange(len(payload) + 1)
        match chance.randrange(4):
            case 0:
                payload[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 1:
                del payload[place : place + chance.randrange(1, 20)]
            case 2 if place < len(payload):
                payload[place] = chance.randrange(256)
            case _:
                payload += payload[: chance.randrange(len(payload) + 1)]
    return bytes(payload)


def try_mutated(*, inputs: int) -> None:
    chance = random.Random(7)
    told: Counter[str] = Counter()
    station = Station(per_minute=10 * inputs)
    done: list[str] = []
    desk = CommandDesk(
        gate=station.gate,
        answers=Answers(),
        site="ward",
        station="s1",
        on_command=lambda command: done.append(command.id),
        utc_now=lambda: NOW,
    )
    for _ in range(inputs):
        payload = mutated(chance)
        answer = desk.obey(payload)
        if answer is None:
            told["no answer"] += 1
            continue
        told["repeated" if answer.repeated else answer.outcome] += 1
        # Who is answered did say that id.
        assert answer.id == json.loads(payload)["id"]
    print(f"{inputs} mutated orders: {dict(told)}")
    assert len(done) == len(set(done)) == told["done"] == desk.obeyed
    assert told["done"] + sum(desk.refused.values()) == inputs
    assert min(told[kind] for kind in ("done", "repeated", "malformed", "no answer")) > 0


class Answers:
    """Answers that are durable as long as the test."""

    def __init__(self) -> None:
        self._noted: dict[str, bytes] = {}

    def remember_answer(self, command_id: str, answer: bytes) -> None:
        self._noted[command_id] = answer

    def answer_to(self, command_id: str) -> bytes | None:
        return self._noted.get(command_id)


def test_thousands_of_mutated_orders_are_each_done_once_or_refused() -> None:
    try_mutated(inputs=4000)


@pytest.mark.nightly
def test_a_hundred_thousand_mutated_orders_are_each_done_once_or_refused() -> None:
    try_mutated(inputs=100_000)
