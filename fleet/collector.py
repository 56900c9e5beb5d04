"""Listens to every station of a broker, commits what it hears, and only then tells the station.

Paho's thread receives into a bounded queue; one writer commits whatever has gathered while it committed
the last batch. The broker, too, is told only then (manual PUBACK): a station that relies on the broker's
acknowledgement has nothing else between itself and this database.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.contract.message import TOPIC_ROOT, topic
from edge.contract.orders import Ack
from fleet.errors import FleetStoreError
from fleet.intake import LEAVES, read_message
from fleet.settings import BrokerAccess
from fleet.store import FleetStore, Receipt

_LOG: Final = logging.getLogger(__name__)
_MAX_WAITING: Final = 1000
_MAX_BATCH: Final = 500
_RECONNECT_MIN_S: Final = 1
_RECONNECT_MAX_S: Final = 30
_KEEPALIVE_S: Final = 30
_STOP_TIMEOUT_S: Final = 30.0
_PUT_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message as it came; ``connection`` counts connections, since its ``number`` is of one alone."""

    topic: str
    payload: bytes
    number: int
    qos: int
    connection: int


class FarSide(Protocol):
    """Whom the writer tells that something is committed."""

    def acknowledge(self, receipts: Sequence[Receipt]) -> None:
        """Tell the stations; it may be lost, they will ask again."""
        ...

    def settle(self, messages: Sequence[Message]) -> None:
        """Tell the broker that it need not keep these messages."""
        ...


class Writer:
    """Commits messages in batches, in a thread of its own, and has it told when they are committed.

    While the database refuses (a full disk), the same batch is tried again: the broker waits meanwhile.
    """

    def __init__(
        self, *, store: FleetStore, far_side: FarSide, utc_now: Callable[[], datetime], retry_s: float = 5.0
    ) -> None:
        self._store = store
        self._far_side = far_side
        self._utc_now = utc_now
        self._retry_s = retry_s
        self._queue: queue.Queue[Message | None] = queue.Queue(maxsize=_MAX_WAITING)
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector-writer", daemon=True)

    @property
    def running(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, message: Message) -> None:
        """Take a message; when the database is slow, this waits, and the broker with it."""
        while not self._leave.is_set():
            try:
                self._queue.put(message, timeout=_PUT_TIMEOUT_S)
            except queue.Full:
                continue
            return

    def stop(self) -> None:
        """Commit what was taken, then end."""
        self._leave.set()
        if self._thread.is_alive():
            with suppress(queue.Full):  # then it does not sleep, and will see that it must leave
                self._queue.put_nowait(None)
            self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        while messages := self._gather():
            self._commit(messages)

    def _gather(self) -> list[Message]:
        """Wait for one message and take what waits behind it; nothing at the end."""
        messages: list[Message] = []
        try:
            message = self._queue.get(block=not self._leave.is_set())
            while message is not None:
                messages.append(message)
                if len(messages) == _MAX_BATCH:
                    break
                message = self._queue.get_nowait()
        except queue.Empty:
            pass
        return messages

    def _commit(self, messages: list[Message]) -> None:
        batch = [read_message(each.topic, each.payload) for each in messages]
        while True:
            try:
                receipts = self._store.commit(batch, received_at=self._utc_now())
            except FleetStoreError as error:
                _LOG.warning("%d messages wait: %s", len(batch), error)
                if self._leave.wait(self._retry_s):
                    return
                continue
            break
        _LOG.debug("committed %d messages", len(batch))
        self._far_side.acknowledge(receipts)
        self._far_side.settle(messages)


class Collector:
    """A connection to a broker with a writer behind it. Reconnects for ever; see the log for why not."""

    def __init__(
        self,
        *,
        access: BrokerAccess,
        store: FleetStore,
        utc_now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._access = access
        self._writer = Writer(store=store, far_side=self, utc_now=utc_now)
        self._connection = 0
        self._paho: mqtt.Client | None = None
        self._subscribed = threading.Event()

    @property
    def running(self) -> bool:
        """Whether what arrives is still being committed; false only before, after, and upon a fault."""
        return self._writer.running

    def start(self) -> None:
        """Begin; an absent broker is no error, it is tried again. Raises BrokerError for wrong files."""
        self._paho = client = self._client()
        self._writer.start()
        if self._access.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._access.session_expiry_s
            client.connect_async(
                self._access.host, self._access.port, _KEEPALIVE_S, clean_start=False, properties=properties
            )
        else:
            client.connect_async(self._access.host, self._access.port, _KEEPALIVE_S)
        client.loop_start()

    def stop(self) -> None:
        """Take no more, commit and acknowledge what was taken, and leave."""
        if self._paho is None:
            return
        self._writer.stop()
        self._paho.disconnect()
        self._paho.loop_stop()
        self._paho = None

    def wait_until_subscribed(self, timeout_s: float) -> bool:
        """Whether the broker lets it listen, waiting at most so long."""
        return self._subscribed.wait(timeout_s)

    def acknowledge(self, receipts: Sequence[Receipt]) -> None:
        """Tell the stations what is committed."""
        if self._paho is None:
            return
        for receipt in receipts:
            ack = Ack(station=receipt.station, boot=receipt.boot, sequence=receipt.sequence)
            where = topic(receipt.site, receipt.station, "ack")
            self._paho.publish(where, ack.model_dump_json(by_alias=True), qos=1)

    def settle(self, messages: Sequence[Message]) -> None:
        """Tell the broker what is committed, if it is still the connection the messages came by."""
        if self._paho is None:
            return
        for message in messages:
            if message.connection == self._connection:
                self._paho.ack(message.number, message.qos)

    def _client(self) -> mqtt.Client:
        access = self._access
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"leukoscope-collector-{access.name}",
            protocol=mqtt.MQTTv5 if access.protocol == "5" else mqtt.MQTTv311,
            clean_session=None if access.protocol == "5" else False,
            manual_ack=True,
        )
        client.reconnect_delay_set(_RECONNECT_MIN_S, _RECONNECT_MAX_S)
        if access.username is not None:
            client.username_pw_set(access.username, access.password())
        if (context := access.tls_context()) is not None:
            client.tls_set_context(context)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    # Paho calls these from its own thread.

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._connection += 1
        if reason.is_failure:
            _LOG.error(
                "the broker %s:%d refuses the connection: %s", self._access.host, self._access.port, reason
            )
            return
        _LOG.info("connected to the broker %s:%d", self._access.host, self._access.port)
        client.subscribe([(f"{TOPIC_ROOT}/+/+/{leaf}", 1) for leaf in LEAVES])

    def _on_connect_fail(self, _client: mqtt.Client, _userdata: object) -> None:
        _LOG.warning("the broker %s:%d cannot be reached; trying again", self._access.host, self._access.port)

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._subscribed.clear()
        if reason.is_failure:
            _LOG.warning("the connection to the broker was lost: %s", reason)

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _message: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            _LOG.error("the broker does not let the collector listen: %s", ", ".join(refused))
        else:
            self._subscribed.set()

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        self._writer.put(
            Message(
                topic=message.topic,
                payload=bytes(message.payload),
                number=message.mid,
                qos=message.qos,
                connection=self._connection,
            )
        )
