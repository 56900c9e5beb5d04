from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge import broker as broker_module
from edge.broker import Broker, EmbeddedBroker, Mosquitto, find_or_embed
from edge.errors import BrokerError

TIMEOUT_S = 10


class Client:
    """A paho client whose messages wait in a queue."""

    def __init__(self, broker: Broker, name: str, subscriptions: tuple[str, ...] = ()) -> None:
        version = mqtt.MQTTv5 if broker.protocol == "5" else mqtt.MQTTv311
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        ready: queue.Queue[Any] = queue.Queue()
        self._paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version)
        self._paho.on_connect = lambda *_: ready.put("connected")
        self._paho.on_subscribe = lambda *_: ready.put("subscribed")
        self._paho.on_message = lambda _client, _data, message: self.messages.put(message)
        self._paho.connect(broker.host, broker.port)
        self._paho.loop_start()
        assert ready.get(timeout=TIMEOUT_S) == "connected"
        for topic in subscriptions:
            self._paho.subscribe(topic, options=SubscribeOptions(qos=1)) if broker.protocol == "5" else (
                self._paho.subscribe(topic, 1)
            )
            assert ready.get(timeout=TIMEOUT_S) == "subscribed"

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        info = self._paho.publish(topic, payload, qos=1, retain=retain)
        info.wait_for_publish(TIMEOUT_S)
        assert info.is_published()

    def close(self) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()


@pytest.fixture(params=[pytest.param(Mosquitto, marks=pytest.mark.broker), EmbeddedBroker])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with request.param() as started:
        yield started


def test_records_arrive_by_wildcard_at_qos_1(broker: Broker) -> None:
    reader = Client(broker, "reader", ("leukoscope/v1/+/+/field",))
    writer = Client(broker, "writer")
    for number in range(50):
        writer.publish("leukoscope/v1/ward/s1/field", str(number).encode())
    received = [reader.messages.get(timeout=TIMEOUT_S) for _ in range(50)]
    assert [message.payload for message in received] == [str(number).encode() for number in range(50)]
    assert {message.qos for message in received} == {1}
    writer.publish("leukoscope/v1/ward/s1/health", b"not subscribed")
    writer.publish("leukoscope/v1/ward/s1/field", b"last")
    assert reader.messages.get(timeout=TIMEOUT_S).payload == b"last"
    reader.close()
    writer.close()


def test_retained_state_reaches_a_late_subscriber(broker: Broker) -> None:
    writer = Client(broker, "writer")
    writer.publish("leukoscope/v1/ward/s1/state", b"online", retain=True)
    reader = Client(broker, "reader", ("leukoscope/v1/+/+/state",))
    message = reader.messages.get(timeout=TIMEOUT_S)
    assert (message.payload, message.retain) == (b"online", True)
    reader.close()
    writer.close()


@pytest.mark.broker
def test_mosquitto_comes_back_on_its_port_after_a_kill() -> None:
    with Mosquitto() as broker:
        port = broker.port
        broker.kill()
        with pytest.raises(ConnectionRefusedError):
            Client(broker, "nobody")
        broker.start()
        assert broker.port == port
        Client(broker, "somebody").close()
        directory = broker.directory
        assert directory.is_dir()
    assert not directory.exists()


@pytest.mark.broker
def test_mosquitto_says_why_it_does_not_start() -> None:
    with pytest.raises(BrokerError, match="does not start"), Mosquitto(extra=["no_such_option yes"]):
        pass


def test_without_mosquitto_the_demo_embeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "find_mosquitto", lambda: None)
    assert isinstance(find_or_embed(), EmbeddedBroker)


def test_a_broker_that_was_never_started_says_so() -> None:
    for broker in (Mosquitto(), EmbeddedBroker()):
        with pytest.raises(BrokerError, match="never started"):
            _ = broker.port
