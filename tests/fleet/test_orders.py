"""Orders to stations, over a real broker."""

from __future__ import annotations

import queue

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from edge.broker import Mosquitto
from edge.contract.orders import Command
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
        words = ["order", "lab/s1", "open_slide", "--slide", "A 12", "--valid-s", "60"]
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


def test_what_names_no_station_is_told() -> None:
    with pytest.raises(UsageError, match="'s1' names no station"):
        CliRunner().invoke(app, ["order", "s1", "close_slide", "--broker", "x"], catch_exceptions=False)


def test_a_broker_that_is_away_is_told() -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9 did not take the order"):
        CliRunner().invoke(
            app, ["order", "lab/s1", "close_slide", "--broker", "127.0.0.1:9"], catch_exceptions=False
        )
