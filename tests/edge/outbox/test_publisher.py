from __future__ import annotations

import random
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from edge.broker import Mosquitto, free_port
from edge.contract.records import DURABLE_RECORD
from edge.contract.status import HealthRecord, StateRecord
from edge.errors import BrokerError
from edge.outbox.publisher import backoff_s
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox
from tests.edge.outbox.publishing import TIMEOUT_S, Build, Start, Station, command, eventually

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_records_leave_when_the_collector_has_them(
    mosquitto: Mosquitto, far_end: Any, start: Start, build: Build, protocol: str
) -> None:
    station = start(protocol=protocol)
    keys = [station.outbox.append(build) for _ in range(5)]
    assert [far_end.next_record().stamp.key for _ in keys] == keys
    assert station.outbox.statistics().records == 5
    far_end.acknowledge(1, 3)
    eventually(lambda: station.outbox.statistics().records == 2)
    far_end.acknowledge(1, 5)
    eventually(lambda: station.outbox.statistics().records == 0)
    assert station.publisher.status.acknowledged == 5
    assert station.publisher.status.broker == "connected"


def test_in_mqtt_5_a_record_says_what_it_is(far_end: Any, start: Start, build: Build) -> None:
    start().outbox.append(build)
    properties = far_end.next("update").properties
    assert (properties.ContentType, properties.PayloadFormatIndicator) == ("application/json", 1)


def replayed(message: mqtt.MQTTMessage) -> bool:
    return ("replayed", "true") in getattr(message.properties, "UserProperty", [])


def test_what_has_waited_is_marked_and_what_is_new_overtakes_it(
    outbox: Outbox, mosquitto: Mosquitto, far_end: Any, build: Build
) -> None:
    for _ in range(30):
        outbox.append(build)
    settings = MqttSettings(
        host=mosquitto.host, port=mosquitto.port, in_flight=5, backlog_per_s=20, ack_timeout_s=60
    )
    station = Station(outbox, settings)
    station.publisher.start()
    began_s = time.monotonic()
    order, marked, contiguous = [], {}, 0
    while contiguous < 31:
        message = far_end.next("update")
        sequence = DURABLE_RECORD.validate_json(message.payload).stamp.key.sequence
        order.append(sequence)
        marked[sequence] = replayed(message)
        if len(order) == 3:
            outbox.append(build)
        while contiguous + 1 in marked:
            contiguous += 1
            far_end.acknowledge(1, contiguous)
    took_s = time.monotonic() - began_s
    eventually(lambda: outbox.statistics().records == 0)
    station.publisher.stop(TIMEOUT_S)
    assert sorted(order) == list(range(1, 32)), "each was sent once"
    assert order.index(31) < 20, "the new one waited for the backlog"
    assert marked == {sequence: sequence < 31 for sequence in range(1, 32)}
    # The bucket holds five; the other 25 come at 20 in a second.
    assert took_s > 25 / 20 * 0.9
    assert (station.publisher.status.sent, station.publisher.status.replayed) == (31, 30)


def test_where_there_is_no_collector_the_broker_is_enough(far_end: Any, start: Start, build: Build) -> None:
    station = start(ack="broker", in_flight=3)
    for _ in range(20):
        station.outbox.append(build)
    eventually(lambda: station.outbox.statistics().records == 0)
    assert station.publisher.status.acknowledged == 20
    # Those that were there before the connection may be overtaken by those that came after.
    heard = [far_end.next_record().stamp.key.sequence for _ in range(20)]
    assert (heard[0], sorted(heard)) == (1, list(range(1, 21)))


def test_records_of_earlier_boots_go_first(
    tmp_path: Path, mosquitto: Mosquitto, far_end: Any, build: Build
) -> None:
    path = tmp_path / "earlier.sqlite3"
    for _ in range(2):
        with Outbox(path=path, site="ward", station="s1", software="1") as outbox:
            for _ in range(2):
                outbox.append(build)
    with Outbox(path=path, site="ward", station="s1", software="1") as outbox:
        outbox.append(build)
        station = Station(outbox, MqttSettings(host=mosquitto.host, port=mosquitto.port))
        station.publisher.start()
        keys = [far_end.next_record().stamp.key for _ in range(5)]
        assert [(key.boot, key.sequence) for key in keys] == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]
        for boot, sequence in ((1, 2), (2, 2), (3, 1)):
            far_end.acknowledge(boot, sequence)
        station.publisher.stop(TIMEOUT_S)
        assert outbox.statistics().records == 0


def test_no_more_is_under_way_than_may_be(far_end: Any, start: Start, build: Build) -> None:
    station = start(in_flight=2, ack_timeout_s=300)
    for _ in range(4):
        station.outbox.append(build)
    assert [far_end.next_record().stamp.key.sequence for _ in range(2)] == [1, 2]
    far_end.acknowledge(1, 1)
    assert far_end.next_record().stamp.key.sequence == 3
    # Once this command is obeyed, the publisher has gone round again and found no room.
    far_end.send("command", command())
    station.commands.get(timeout=TIMEOUT_S)
    eventually(lambda: station.publisher.status.commands == 1)
    assert station.publisher.status.sent == 3


def test_what_nobody_acknowledges_is_sent_again(far_end: Any, start: Start, build: Build) -> None:
    station = start(ack_timeout_s=0.2)
    eventually(lambda: station.publisher.status.broker == "connected")
    for _ in range(2):
        station.outbox.append(build)
    heard = [far_end.next("update") for _ in range(4)]
    sequences = [DURABLE_RECORD.validate_json(each.payload).stamp.key.sequence for each in heard]
    assert (sequences, [replayed(each) for each in heard[2:]]) == ([1, 2, 1, 2], [True, True])
    assert station.publisher.status.resends >= 1
    far_end.acknowledge(1, 2)
    eventually(lambda: station.outbox.statistics().records == 0)


def test_birth_will_and_farewell(mosquitto: Mosquitto, far_end: Any, start: Start, build: Build) -> None:
    station = start()
    state = StateRecord.model_validate_json(far_end.next("state").payload)
    assert (state.state, state.boot, state.engine, state.first_pending) == ("online", 1, "cpu", {1: 1})
    station.outbox.append(build)
    far_end.next_record()
    far_end.acknowledge(1, 1)
    eventually(lambda: station.outbox.statistics().records == 0)
    station.publisher.stop(TIMEOUT_S)
    assert StateRecord.model_validate_json(far_end.next("state").payload).state == "offline"
    assert station.publisher.status.broker == "disconnected"


def test_a_second_client_of_that_name_brings_out_the_will(
    mosquitto: Mosquitto, far_end: Any, start: Start
) -> None:
    start(reconnect_min_s=60, reconnect_max_s=60)
    assert b'"online"' in far_end.next("state").payload
    usurper = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, client_id="leukoscope-ward-s1", protocol=mqtt.MQTTv311
    )
    usurper.connect(mosquitto.host, mosquitto.port)
    usurper.loop_start()
    assert b'"offline"' in far_end.next("state").payload
    usurper.disconnect()
    usurper.loop_stop()


def test_a_broker_killed_in_mid_run_costs_nothing(
    mosquitto: Mosquitto, far_end: Any, start: Start, build: Build
) -> None:
    station = start(ack_timeout_s=0.5)
    station.outbox.append(build)
    assert far_end.next_record().stamp.key.sequence == 1
    mosquitto.kill()
    station.outbox.append(build)
    eventually(lambda: "cannot be reached" in station.publisher.status.problem)
    mosquitto.start()
    eventually(lambda: station.publisher.status.connections == 2)
    assert station.publisher.status.problem == ""
    sequences = set()
    while sequences != {1, 2}:
        sequences.add(far_end.next_record().stamp.key.sequence)
    far_end.acknowledge(1, 2)
    eventually(lambda: station.outbox.statistics().records == 0)


def test_appending_never_waits_for_a_broker_that_is_not_there(start: Start, build: Build) -> None:
    station = start(port=free_port())
    for _ in range(20):
        station.outbox.append(build)
    eventually(lambda: "cannot be reached" in station.publisher.status.problem)
    assert station.publisher.status.broker == "disconnected"
    assert station.outbox.statistics().records == 20


def test_a_refused_connection_is_not_connected_and_says_why(tmp_path: Path, start: Start) -> None:
    password = tmp_path / "password"
    password.write_text("wrong\n")
    users = tmp_path / "users"
    users.write_text("")
    users.chmod(0o600)
    with Mosquitto(extra=["allow_anonymous false", f"password_file {users}"]) as broker:
        for protocol in ("5", "3.1.1"):
            station = start(port=broker.port, protocol=protocol, username="s1", password_file=password)
            eventually(lambda station=station: "ot authorized" in station.publisher.status.problem)
            assert "username" in station.publisher.status.problem
            assert station.publisher.status.connections == 0
            station.publisher.stop(0)


def test_missing_files_are_told_at_the_start(tmp_path: Path, start: Start) -> None:
    with pytest.raises(BrokerError, match=r"absent\.pem"):
        start(port=1, tls={"ca_file": tmp_path / "absent.pem"})
    (tmp_path / "broken.pem").write_text("rubbish")
    with pytest.raises(BrokerError, match="PEM"):
        start(port=1, tls={"ca_file": tmp_path / "broken.pem"})
    with pytest.raises(BrokerError, match="nowhere"):
        start(port=1, username="s1", password_file=tmp_path / "nowhere")


def test_false_acknowledgements_delete_nothing(far_end: Any, start: Start, build: Build) -> None:
    station = start()
    station.outbox.append(build)
    far_end.next_record()
    far_end.send("ack", b"rubbish")
    far_end.acknowledge(1, 1, station="other")
    far_end.acknowledge(1, 700)
    eventually(lambda: "two stations share one name" in station.publisher.status.problem)
    assert station.publisher.status.bad_acknowledgements == 3
    assert station.outbox.statistics().records == 1
    far_end.acknowledge(1, 1)
    eventually(lambda: station.outbox.statistics().records == 0)


def test_only_the_newest_health_is_published(mosquitto: Mosquitto, far_end: Any, outbox: Outbox) -> None:
    def health(frames: int) -> HealthRecord:
        return HealthRecord(
            site="ward",
            station="s1",
            boot=1,
            recorded_at=datetime.now(timezone.utc),
            uptime_s=1.0,
            camera="streaming",
            frames=frames,
            frames_dropped=0,
            fields=0,
            refusals={},
            latencies={},
            queues={},
            outbox_records=0,
            outbox_bytes=0,
            discarded=0,
            disk_free_bytes=0,
            memory_bytes=0,
            broker="connected",
        )

    station = Station(outbox, MqttSettings(host=mosquitto.host, port=mosquitto.port))
    for frames in range(3):
        station.publisher.publish_health(health(frames))
    station.publisher.start()
    message = far_end.next("health")
    station.publisher.stop(0)
    assert HealthRecord.model_validate_json(message.payload).frames == 2
    assert message.properties.MessageExpiryInterval <= 120


def test_the_wait_between_attempts_grows_within_its_limits() -> None:
    settings = MqttSettings(host="broker", reconnect_min_s=1, reconnect_max_s=60)
    chance = random.Random(3)
    for failures, limit_s in ((0, 1), (1, 2), (3, 8), (6, 60), (500, 60)):
        waits = [backoff_s(failures, settings=settings, chance=chance) for _ in range(200)]
        assert min(waits) >= 0.5
        assert limit_s * 0.9 < max(waits) <= limit_s
