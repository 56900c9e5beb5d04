"""One connection to the broker, from CONNECT to its loss. Paho's thread only posts events here."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.broker_access import read_password, tls_context
from edge.contract.message import MAX_COMMAND_BYTES
from edge.errors import BrokerError
from edge.outbox.settings import MqttSettings, TlsSettings

# The broker keeps what is far beyond any command to itself (MQTT 5).
_MAX_PACKET_BYTES: Final = 4 * MAX_COMMAND_BYTES
_MQTT_5: Final = "5"
_RECEIVE_MAXIMUM: Final = 65_535  # what MQTT 5 says of a broker that says nothing
REPLAYED: Final = ("replayed", "true")
"""The user property of a record that has waited, or was sent before."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """The broker answered a publication; ``problem`` where it did not take it."""

    message: int
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Received:
    """A message arrived."""

    topic: str
    payload: bytes


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The connection is gone."""

    reason: str


Event = Delivered | Received | Lost


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A message to publish; ``expiry_s`` and ``replayed``, that it is not new, are told in MQTT 5 alone."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    replayed: bool = False


def check_files(settings: MqttSettings) -> None:
    """Read the certificates and the password once. Raises BrokerError naming the one that does not serve."""
    read_password(settings.password_file)
    if settings.tls is not None:
        _context(settings.tls)


class Link:
    """A connection that is opened once and, when lost, is replaced by another."""

    def __init__(
        self,
        *,
        settings: MqttSettings,
        client_id: str,
        will: Publication | None,
        subscriptions: Sequence[str],
        post: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._will = will
        self._subscriptions = tuple(subscriptions)
        self._post = post
        self._answered = threading.Event()
        self._refusal = ""
        self._paho: mqtt.Client | None = None
        self.receive_maximum = _RECEIVE_MAXIMUM
        """How many messages the broker takes at QoS 1 without having answered one."""
        self.packet_bytes_max: int | None = None
        """The largest packet that the broker takes; None where it does not say."""

    def open(self) -> None:
        """Connect and subscribe. Raises BrokerError saying why not."""
        where = f"The broker {self._settings.host}:{self._settings.port}"
        client = self._client()
        try:
            self._connect(client)
        except ssl.SSLError as error:
            raise BrokerError(
                f"{where} and this machine do not agree on TLS: {_tls_fault(error)}.",
                remedy="Check ca_file, crl_file, certificate_file, port, the broker's name and the clock.",
            ) from error
        except OSError as error:
            raise BrokerError(
                f"{where} cannot be reached: {error}.",
                remedy="Check host, port, network and that the broker runs.",
            ) from error
        client.loop_start()
        self._paho = client
        if not self._answered.wait(self._settings.connect_timeout_s):
            self.close()
            raise BrokerError(
                f"{where} gave no answer within {self._settings.connect_timeout_s:g} s.",
                remedy="Check the network, and that this is a broker's port, with TLS or without as set.",
            )
        if self._refusal:
            self.close()
            raise BrokerError(
                f"{where} refuses the connection: {self._refusal}.",
                remedy="Check username, password and certificate, and whether it speaks MQTT "
                f"{self._settings.protocol} (setting protocol).",
            )

    def publish(self, publication: Publication) -> int:
        """Hand a message to the connection; its number comes back in ``Delivered`` at QoS 1."""
        properties = None
        if self._settings.protocol == _MQTT_5:
            properties = _properties(
                PacketTypes.PUBLISH,
                PayloadFormatIndicator=1,
                ContentType="application/json",
                MessageExpiryInterval=publication.expiry_s,
                UserProperty=REPLAYED if publication.replayed else None,
            )
        info = self._client_in_use.publish(
            publication.topic,
            publication.payload,
            qos=publication.qos,
            retain=publication.retain,
            properties=properties,
        )
        return info.mid

    def publish_and_wait(self, publication: Publication, *, timeout_s: float) -> None:
        """Publish and wait for the broker's answer, at most so long; a lost connection ends the wait."""
        info = self._client_in_use.publish(
            publication.topic, publication.payload, qos=publication.qos, retain=publication.retain
        )
        if info.rc == mqtt.MQTT_ERR_SUCCESS:
            info.wait_for_publish(timeout_s)

    def close(self) -> None:
        """Disconnect in good order; the broker then publishes no Will."""
        if self._paho is not None:
            self._paho.disconnect()
            self._paho.loop_stop()
            self._paho = None

    @property
    def _client_in_use(self) -> mqtt.Client:
        if self._paho is None:
            raise BrokerError("The connection to the broker is closed.")
        return self._paho

    def _client(self) -> mqtt.Client:
        settings = self._settings
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=mqtt.MQTTv5 if settings.protocol == _MQTT_5 else mqtt.MQTTv311,
            clean_session=None if settings.protocol == _MQTT_5 else settings.session_expiry_s == 0,
            reconnect_on_failure=False,
        )
        client.connect_timeout = settings.connect_timeout_s
        # How many are under way is the publisher's to say; paho would hold some back.
        client.max_inflight_messages = 0
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        if (will := self._will) is not None:
            client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        if settings.username is not None:
            client.username_pw_set(settings.username, read_password(settings.password_file))
        if settings.tls is not None:
            client.tls_set_context(_context(settings.tls))
        return client

    def _connect(self, client: mqtt.Client) -> None:
        settings = self._settings
        if settings.protocol == _MQTT_5:
            client.connect(
                settings.host,
                settings.port,
                keepalive=settings.keepalive_s,
                clean_start=settings.session_expiry_s == 0,
                properties=_properties(
                    PacketTypes.CONNECT,
                    SessionExpiryInterval=settings.session_expiry_s,
                    MaximumPacketSize=_MAX_PACKET_BYTES,
                ),
            )
        else:
            client.connect(settings.host, settings.port, keepalive=settings.keepalive_s)

    # Paho calls these from its own thread.

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
        else:
            self.receive_maximum = getattr(properties, "ReceiveMaximum", _RECEIVE_MAXIMUM)
            self.packet_bytes_max = getattr(properties, "MaximumPacketSize", None)
            for topic in self._subscriptions:
                client.subscribe(topic, qos=1)
        self._answered.set()

    def _on_connect_fail(self, _client: mqtt.Client, _userdata: object) -> None:
        self._refusal = "the connection broke off"
        self._answered.set()

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if not self._answered.is_set():
            self._refusal = str(reason)
            self._answered.set()
        self._post(Lost(reason=str(reason)))

    def _on_publish(
        self,
        _client: mqtt.Client,
        _userdata: object,
        message: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._post(Delivered(message=message, problem=str(reason) if reason.is_failure else ""))

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self._post(Received(topic=message.topic, payload=bytes(message.payload)))

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _message: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                self._post(Lost(reason=f"the broker refuses the subscription: {reason}"))


def _properties(packet: int, **values: Any) -> Properties:  # noqa: ANN401 - MQTT's own open set
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        if value is not None:
            setattr(properties, name, value)
    return properties


def _tls_fault(error: ssl.SSLError) -> str:
    """What is wrong, in the words that tell an expired certificate from a revoked or a strange one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return error.reason or str(error)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    return tls_context(
        ca_file=tls.ca_file,
        certificate_file=tls.certificate_file,
        key_file=tls.key_file,
        crl_file=tls.crl_file,
    )
