"""Orders to stations, over a real broker."""

from __future__ import annotations

import queue
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from edge.broker import Mosquitto
from edge.contract.orders import Command, CommandAnswer
from edge.errors import BrokerError
from fleet.cli import app
from fleet.errors import UsageError

TIMEOUT_S = 20


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_an_order_arrives_at_its_station_alone_with_its_end(mosquitto: Mosquitto, protocol: str) -> None:
    heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
    ready: queue.Queue[bool] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = lambda _client, _data, message: heard.put(message)
    client.on_subscribe = lambda *_: ready.put(True)
    client.on_connect = lambda *_: client.subscribe("leukoscope/#", qos=1)
    client.connect(mosquitto.host, mosquitto.port)
    client.loop_start()
    try:
        assert ready.get(timeout=TIMEOUT_S)
        words = ["order", "lab/s1", "open_slide", "--slide", "A 12", "--valid-s", "60", "--wait-s", "0"]
        where = ["--broker", f"{mosquitto.host}:{mosquitto.port}", "--protocol", protocol]
        answer = CliRunner().invoke(app, [*words, *where], catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        message = heard.get(timeout=TIMEOUT_S)
    finally:
        client.disconnect()
        client.loop_stop()
    command = Command.model_validate_json(message.payload)
    assert message.topic == "leukoscope/v1/lab/s1/command"
    assert (command.command, command.slide) == ("open_slide", "A 12")
    assert answer.output == f"{command.id}: open_slide for lab/s1\n"
    # The broker forgets it in time, where it can.
    expiry = getattr(message.properties, "MessageExpiryInterval", None)
    assert (expiry is not None and 0 < expiry <= 60) == (protocol == "5")


class AnsweringStation:
    """Answers every order as it is told to; others' answers before it."""

    def __init__(self, broker: Mosquitto, outcome: str, detail: str = "") -> None:
        self._outcome, self._detail = outcome, detail
        ready: queue.Queue[bool] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_subscribe = lambda *_: ready.put(True)
        self._client.on_connect = lambda client, *_: client.subscribe("leukoscope/v1/lab/s1/command", qos=1)
        self._client.on_message = self._answer
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert ready.get(timeout=TIMEOUT_S)

    def _answer(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        order_id = Command.model_validate_json(message.payload).id
        answer = CommandAnswer(
            site="lab",
            station="s1",
            id=order_id,
            outcome=self._outcome,
            detail=self._detail,
            answered_at=datetime.now(timezone.utc),
        )
        for payload in (
            b"rubbish",
            answer.model_copy(update={"id": "another", "outcome": "unknown"}).model_dump_json(by_alias=True),
            answer.model_dump_json(by_alias=True),
        ):
            client.publish("leukoscope/v1/lab/s1/answer", payload, qos=1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(
    ("outcome", "detail", "shown", "exit_code"),
    [("done", "", "done", 0), ("not_done", "No slide is open.", "not done: No slide is open.", 1)],
)
def test_the_stations_answer_is_shown(
    mosquitto: Mosquitto, protocol: str, outcome: str, detail: str, shown: str, exit_code: int
) -> None:
    where = ["--broker", f"{mosquitto.host}:{mosquitto.port}", "--protocol", protocol]
    with closing(AnsweringStation(mosquitto, outcome, detail)):
        told = CliRunner().invoke(app, ["order", "lab/s1", "close_slide", *where], catch_exceptions=False)
    assert told.output.splitlines()[1:] == [shown]
    assert told.exit_code == exit_code


@pytest.mark.broker
def test_a_station_that_is_away_gives_no_answer(mosquitto: Mosquitto) -> None:
    where = ["--broker", f"{mosquitto.host}:{mosquitto.port}", "--wait-s", "0.2"]
    told = CliRunner().invoke(app, ["order", "lab/s1", "close_slide", *where], catch_exceptions=False)
    assert "no answer yet" in told.output
    assert told.exit_code == 0


@pytest.mark.broker
def test_a_refusing_broker_is_told(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.touch(mode=0o600)
    with (
        Mosquitto(extra=["allow_anonymous false", f"password_file {users}"]) as broker,
        pytest.raises(BrokerError, match="ot authorized"),
    ):
        CliRunner().invoke(
            app,
            ["order", "lab/s1", "close_slide", "--broker", f"{broker.host}:{broker.port}"],
            catch_exceptions=False,
        )


def test_what_names_no_station_is_told() -> None:
    with pytest.raises(UsageError, match="'s1' names no station"):
        CliRunner().invoke(app, ["order", "s1", "close_slide", "--broker", "x"], catch_exceptions=False)


def test_a_broker_that_is_away_is_told() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9 did not take the order"):
        CliRunner().invoke(
            app, ["order", "lab/s1", "close_slide", "--broker", "127.0.0.1:9"], catch_exceptions=False
        )
