"""A real mosquitto with the very configuration that is installed, and certificates made for the test."""

from __future__ import annotations

import getpass
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.broker import find_mosquitto, free_port
from edge.contract.status import StateRecord
from edge.outbox.publisher import Publisher
from edge.outbox.settings import MqttSettings, TlsSettings
from edge.outbox.store import Outbox

WAIT_S = 10.0
NOT_AUTHORIZED = ReasonCode(PacketTypes.PUBACK, "Not authorized").value
OWN, NEIGHBOUR = "leukoscope/v1/lab/scope-1", "leukoscope/v1/lab/scope-2"

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed"),
]


class Authority:
    """A certificate authority of one test run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.certificate = folder / "ca.crt"
        self._key = folder / "ca.key"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc",
            "-days", "2", "-subj", "/CN=Test laboratory", "-keyout", self._key, "-out", self.certificate,
        )  # fmt: skip

    def issue(self, common_name: str, *, server: bool = False) -> tuple[Path, Path]:
        """A certificate and its key."""
        stem = self._folder / common_name.replace("/", "_")
        key, request, certificate = (stem.with_suffix(suffix) for suffix in (".key", ".csr", ".crt"))
        extensions = stem.with_suffix(".ext")
        usage = "serverAuth" if server else "clientAuth"
        extensions.write_text(f"extendedKeyUsage={usage}\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc",
            "-subj", "/CN=" + re.sub(r"([/+])", r"\\\1", common_name), "-keyout", key, "-out", request,
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-days", "2", "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        return certificate, key

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Person:
    """A client with (or without) a certificate; what it is sent comes into ``heard``."""

    def __init__(self, *, port: int, ca: Path, certificate: tuple[Path, Path] | None) -> None:
        self.heard: Queue[tuple[str, bytes]] = Queue()
        self._granted: Queue[int] = Queue()
        self._acknowledged: Queue[tuple[int, int]] = Queue()
        self._connected = threading.Event()
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        client.tls_set(
            ca_certs=str(ca),
            certfile=None if certificate is None else str(certificate[0]),
            keyfile=None if certificate is None else str(certificate[1]),
        )
        client.on_connect = lambda *_: self._connected.set()
        client.on_message = lambda _client, _data, message: self.heard.put((message.topic, message.payload))
        client.on_subscribe = lambda _client, _data, _number, codes, _properties: self._granted.put(
            len(codes)
        )
        client.on_publish = lambda _client, _data, number, code, _properties: self._acknowledged.put(
            (number, code.value)
        )
        client.connect("127.0.0.1", port)
        client.loop_start()

    def connected(self) -> bool:
        return self._connected.wait(WAIT_S)

    def subscribe(self, topic: str) -> None:
        self._client.subscribe(topic, qos=1)
        self._granted.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: bytes = b"{}") -> int:
        """The broker's reason code; 0 and 16 (nobody listens) are success."""
        number = self._client.publish(topic, payload, qos=1).mid
        acknowledged, code = self._acknowledged.get(timeout=WAIT_S)
        assert acknowledged == number
        return code

    def hears(self) -> tuple[str, bytes]:
        return self.heard.get(timeout=WAIT_S)

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class SecuredBroker:
    """The staged broker at work: its port, its authority, and people who come to it."""

    def __init__(self, *, port: int, authority: Authority) -> None:
        self.port = port
        self.authority = authority
        self._people: list[Person] = []

    def person(self, common_name: str, *, authority: Authority | None = None) -> Person:
        certificate = (authority or self.authority).issue(common_name)
        person = self._come(certificate)
        assert person.connected(), f"{common_name} could not connect"
        return person

    def _come(self, certificate: tuple[Path, Path] | None) -> Person:
        person = Person(port=self.port, ca=self.authority.certificate, certificate=certificate)
        self._people.append(person)
        return person

    def refuses(self, certificate: tuple[Path, Path] | None) -> bool:
        """Whether a bare TLS client gets nothing but a closed door."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        connect = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03bad"
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1") as channel,
            ):
                channel.sendall(connect)
                return channel.recv(1) == b""
        except (ssl.SSLError, ConnectionError):
            return True

    def leave(self) -> None:
        for person in self._people:
            person.leave()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "laboratory")


@pytest.fixture
def broker(stage: Path, authority: Authority) -> Iterator[SecuredBroker]:
    etc = stage / "etc/mosquitto"
    place = etc / "leukoscope"
    certificate, key = authority.issue("broker.test", server=True)
    for name, source in (("ca.crt", authority.certificate), ("broker.crt", certificate), ("broker.key", key)):
        (place / name).write_bytes(source.read_bytes())
    port = free_port()
    installed = etc / "conf.d/leukoscope.conf"
    text = installed.read_text()
    assert text.count("\nlistener 8883\n") == 1
    # The two things that a test cannot have: the standard port and the root directory.
    text = text.replace("listener 8883", f"listener {port} 127.0.0.1").replace("/etc/mosquitto/", f"{etc}/")
    installed.write_text(text)
    data = stage / "var/lib/mosquitto"
    data.mkdir(parents=True)
    main = etc / "mosquitto.conf"  # what Debian installs, in short
    main.write_text(
        f"user {getpass.getuser()}\npersistence true\npersistence_location {data}/\n"
        f"log_dest stderr\ninclude_dir {etc}/conf.d\n"
    )
    daemon = subprocess.Popen(
        [str(find_mosquitto()), "-c", str(main)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        _wait_for(port, daemon)
        secured = SecuredBroker(port=port, authority=authority)
        yield secured
        secured.leave()
    finally:
        daemon.terminate()
        _, said = daemon.communicate(timeout=WAIT_S)
    assert "Error: " not in said.replace("OpenSSL Error", "")


def _wait_for(port: int, daemon: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if daemon.poll() is not None:
            pytest.fail(f"mosquitto ended: {daemon.communicate()[1]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        threading.Event().wait(0.02)
    pytest.fail("mosquitto does not listen")


def test_a_station_speaks_for_itself_and_for_nobody_else(broker: SecuredBroker) -> None:
    collector, station = broker.person("collector"), broker.person("lab/scope-1")
    collector.subscribe("leukoscope/v1/#")
    for leaf in ("state", "field", "slide", "review", "crop", "health", "update"):
        assert station.publish(f"{OWN}/{leaf}", leaf.encode()) == 0
        assert collector.hears() == (f"{OWN}/{leaf}", leaf.encode())
    for foreign in (
        f"{NEIGHBOUR}/field",
        "leukoscope/v1/other/scope-1/field",
        f"{OWN}/ack",
        f"{OWN}/command",
        f"{OWN}/field/more",
        "leukoscope/v1/lab/field",
        "elsewhere",
    ):
        assert station.publish(foreign) == NOT_AUTHORIZED, foreign
    assert station.publish(f"{OWN}/field", b"last") == 0
    assert collector.hears() == (f"{OWN}/field", b"last"), "nothing of the foreign ones came through"


def test_a_station_hears_what_is_meant_for_it_alone(broker: SecuredBroker) -> None:
    station, neighbour = broker.person("lab/scope-1"), broker.person("lab/scope-2")
    collector, operator = broker.person("collector"), broker.person("operator")
    for listener in (station, neighbour):
        listener.subscribe("leukoscope/v1/#")
    assert neighbour.publish(f"{NEIGHBOUR}/field") in {0, 16}
    assert collector.publish(f"{NEIGHBOUR}/ack", b"theirs") == 0
    assert collector.publish(f"{OWN}/ack", b"ours") == 0
    assert operator.publish(f"{OWN}/command", b"order") == 0
    assert station.hears() == (f"{OWN}/ack", b"ours")
    assert station.hears() == (f"{OWN}/command", b"order")
    assert neighbour.hears() == (f"{NEIGHBOUR}/ack", b"theirs")
    for listener in (station, neighbour):
        with pytest.raises(Empty):
            listener.heard.get_nowait()


def test_the_collector_gives_no_orders_and_the_operator_sees_no_results(broker: SecuredBroker) -> None:
    collector, operator = broker.person("collector"), broker.person("operator")
    station = broker.person("lab/scope-1")
    operator.subscribe("leukoscope/v1/#")
    assert collector.publish(f"{OWN}/command") == NOT_AUTHORIZED
    assert collector.publish(f"{OWN}/field") == NOT_AUTHORIZED
    assert operator.publish(f"{OWN}/ack") == NOT_AUTHORIZED
    assert station.publish(f"{OWN}/field") in {0, 16}
    assert station.publish(f"{OWN}/health", b"well") == 0
    assert operator.hears() == (f"{OWN}/health", b"well")


@pytest.mark.parametrize("name", ["+/+", "lab/+", "#", "lab/#"])
def test_a_wildcard_in_a_certificate_opens_nothing(broker: SecuredBroker, name: str) -> None:
    greedy, collector = broker.person(name), broker.person("collector")
    greedy.subscribe("leukoscope/v1/#")
    assert greedy.publish(f"{OWN}/field") == NOT_AUTHORIZED
    assert collector.publish(f"{OWN}/ack") in {0, 16}
    with pytest.raises(Empty):
        greedy.heard.get_nowait()


def test_without_a_certificate_of_the_laboratory_nobody_connects(
    broker: SecuredBroker, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path / "foreign")
    assert broker.refuses(None)
    assert broker.refuses(foreign.issue("lab/scope-1"))
    assert not broker.refuses(broker.authority.issue("lab/scope-1")), "the probe itself works"


def test_the_stations_own_publisher_gets_in(broker: SecuredBroker, tmp_path: Path) -> None:
    collector = broker.person("collector")
    collector.subscribe("leukoscope/v1/+/+/state")
    certificate, key = broker.authority.issue("lab/scope-1")
    settings = MqttSettings(
        host="127.0.0.1",
        port=broker.port,
        tls=TlsSettings(ca_file=broker.authority.certificate, certificate_file=certificate, key_file=key),
    )
    birth = StateRecord(
        site="lab", station="scope-1", boot=1, state="online", software="test", bundle="none", engine="none"
    )
    with Outbox(path=tmp_path / "outbox.sqlite", site="lab", station="scope-1", software="test") as outbox:
        publisher = Publisher(
            outbox=outbox,
            settings=settings,
            site="lab",
            station="scope-1",
            birth=lambda: birth,
            on_command=lambda _: None,
        )
        publisher.start()
        topic, payload = collector.hears()
        publisher.stop(WAIT_S)
    assert topic == f"{OWN}/state"
    assert StateRecord.model_validate_json(payload).state == "online"
    assert b"offline" in collector.hears()[1]
