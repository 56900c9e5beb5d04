"""Orders as they come over a real broker: done once, refused, answered."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from edge.contract.message import MAX_COMMAND_BYTES
from edge.contract.orders import Command
from edge.errors import CameraError
from tests.edge.outbox.publishing import TIMEOUT_S, Build, Start, command, eventually

pytestmark = pytest.mark.broker


def test_every_order_with_an_id_is_answered_and_one_that_comes_again_is_answered_again(
    far_end: Any, start: Start
) -> None:
    def carry_out(order: Command) -> None:
        if order.id == "impossible":
            raise CameraError("The camera is away.", remedy="Connect it.")

    station = start(on_command=carry_out)
    far_end.next("state")
    orders = {
        "good": command("good"),
        "impossible": command("impossible"),
        "late": command("late", expires_in_s=-1),
        "strange": '{"id": "strange", "command": "reboot"}',
    }
    told = {}
    for order_id, order in orders.items():
        far_end.send("command", order)
        told[order_id] = far_end.next_answer()
        assert told[order_id].id == order_id
    assert {order_id: answer.outcome for order_id, answer in told.items()} == {
        "good": "done",
        "impossible": "not_done",
        "late": "expired",
        "strange": "malformed",
    }
    assert told["impossible"].detail == "The camera is away. Connect it."
    assert (told["good"].site, told["good"].station) == ("ward", "s1")
    for order_id in ("good", "impossible"):
        far_end.send("command", orders[order_id])
        again = far_end.next_answer()
        assert again == told[order_id].model_copy(update={"repeated": True})
    assert station.publisher.status.commands == 1


def test_an_order_in_which_the_station_died_is_answered_with_what_is_known(
    far_end: Any, start: Start
) -> None:
    station = start()
    station.outbox.remember_command("c1", expires_at=datetime.now(timezone.utc) + timedelta(minutes=1))
    far_end.next("state")
    far_end.send("command", command("c1"))
    answer = far_end.next_answer()
    assert (answer.outcome, answer.repeated) == ("unknown", True)
    assert "stopped while" in answer.detail
    assert station.commands.empty()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_bad_commands_are_counted_and_good_ones_done_once(far_end: Any, start: Start, protocol: str) -> None:
    station = start(protocol=protocol)
    far_end.next("state")
    far_end.send("command", b"\xff\x00 not JSON")
    far_end.send("command", '{"command": "reboot"}')
    far_end.send("command", b"[" * (MAX_COMMAND_BYTES + 1))
    far_end.send("command", b"")
    far_end.send("command", command("late", expires_in_s=-1))
    far_end.send("command", command("good"))
    far_end.send("command", command("good"))
    far_end.send("command", command("other", slide="A-17"))
    assert [station.commands.get(timeout=TIMEOUT_S).id for _ in range(2)] == ["good", "other"]
    eventually(lambda: station.publisher.status.commands == 2)
    assert station.publisher.status.refused_commands == {
        "malformed": 3,
        "oversized": 1,
        "expired": 1,
        "repeated": 1,
    }


def test_commands_beyond_the_rate_are_refused(far_end: Any, start: Start) -> None:
    station = start(commands_per_minute=2)
    far_end.next("state")
    for number in range(5):
        far_end.send("command", command(f"c{number}"))
    eventually(lambda: station.publisher.status.refused_commands == {"too_many": 3})
    assert station.publisher.status.commands == 2


def test_a_command_that_fails_does_not_end_publishing(far_end: Any, start: Start, build: Build) -> None:
    def fail(_command: Command) -> None:
        raise CameraError("The camera is away.")

    station = start(on_command=fail)
    far_end.next("state")
    far_end.send("command", command())
    eventually(lambda: station.publisher.status.refused_commands == {"not_done": 1})
    station.outbox.append(build)
    far_end.next_record()
