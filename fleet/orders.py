"""Sends orders to stations, and hears what came of them."""

from __future__ import annotations

import queue
import time
import uuid
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Final, TypeVar

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import ValidationError
from typing_extensions import Self

from edge.contract.message import topic
from edge.contract.orders import Command, CommandAnswer
from edge.errors import BrokerError
from fleet.settings import BrokerAccess

_ANSWER_S: Final = 10.0
"""How long the broker may take to answer anything."""
_Event = TypeVar("_Event")


def order(command: str, *, slide: str | None, valid_s: float, target_cells: int | None = None) -> Command:
    """An order that is carried out at most once, and not after ``valid_s`` from now.

    Raises ValueError for a command that no station knows.
    """
    expires_at = datetime.now(timezone.utc) + timedelta(seconds=valid_s)
    return Command.model_validate(
        {
            "id": uuid.uuid4().hex,
            "command": command,
            "slide": slide,
            "target_cells": target_cells,
            "expires_at": expires_at,
        }
    )


def send(
    command: Command, *, site: str, station: str, access: BrokerAccess, wait_s: float = 0
) -> CommandAnswer | None:
    """Give ``command`` to the broker, which keeps it for a station that is away. Raises BrokerError.

    The broker forgets it when it expires (MQTT 5); a station that gets it later refuses it by itself. The
    station's answer is waited for so long; None where none came. It may still be carried out.
    """
    with _Caller(access) as caller:
        if wait_s:
            caller.listen(topic(site, station, "answer"))
        caller.publish(command, where=topic(site, station, "command"))
        return caller.answer_to(command.id, within_s=wait_s) if wait_s else None


class _Caller:
    """A connection for one order."""

    def __init__(self, access: BrokerAccess) -> None:
        self._access = access
        self._came: queue.Queue[ReasonCode] = queue.Queue()
        self._granted: queue.Queue[list[ReasonCode]] = queue.Queue()
        self._taken: queue.Queue[ReasonCode] = queue.Queue()
        self._heard: queue.Queue[bytes] = queue.Queue()
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            protocol=mqtt.MQTTv5 if access.protocol == "5" else mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _ANSWER_S
        if access.username is not None:
            client.username_pw_set(access.username, access.password())
        if (context := access.tls_context()) is not None:
            client.tls_set_context(context)
        client.on_connect = lambda _client, _data, _flags, reason, _properties: self._came.put(reason)
        client.on_subscribe = lambda _client, _data, _number, reasons, _properties: self._granted.put(reasons)
        client.on_publish = lambda _client, _data, _number, reason, _properties: self._taken.put(reason)
        client.on_message = lambda _client, _data, message: self._heard.put(bytes(message.payload))

    def __enter__(self) -> Self:
        """Connect. Raises BrokerError."""
        try:
            self._client.connect(self._access.host, self._access.port)
        except OSError as error:
            raise self._fault(str(error)) from error
        with ExitStack() as stack:
            stack.callback(self._leave)
            self._client.loop_start()
            self._check(self._next(self._came))
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave."""
        self._leave()

    def listen(self, where: str) -> None:
        """Hear what is said there from now on."""
        self._client.subscribe(where, qos=1)
        for reason in self._next(self._granted):
            self._check(reason)

    def publish(self, command: Command, *, where: str) -> None:
        """Have the broker take the order."""
        properties = None
        if self._access.protocol == "5":
            left_s = (command.expires_at - datetime.now(timezone.utc)).total_seconds()
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = max(1, int(left_s))
        self._client.publish(where, command.model_dump_json(by_alias=True), qos=1, properties=properties)
        self._check(self._next(self._taken))

    def answer_to(self, command_id: str, *, within_s: float) -> CommandAnswer | None:
        """The answer to that order, None where none comes in time."""
        until_s = time.monotonic() + within_s
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                answer = CommandAnswer.model_validate_json(self._heard.get(timeout=left_s))
            except queue.Empty:
                break
            except ValidationError:
                continue  # the topic's access rules are the broker's; what is no answer is none
            if answer.id == command_id:
                return answer
        return None

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _next(self, source: queue.Queue[_Event]) -> _Event:
        try:
            return source.get(timeout=_ANSWER_S)
        except queue.Empty:
            raise self._fault("it does not answer") from None

    def _check(self, reason: ReasonCode) -> None:
        if reason.is_failure:
            raise self._fault(str(reason))

    def _fault(self, why: str) -> BrokerError:
        return BrokerError(
            f"The broker {self._access.host}:{self._access.port} did not take the order: {why}.",
            remedy="Check its address, and whether this user may write to the station's command topic "
            "and hear its answers.",
        )
