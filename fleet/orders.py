"""Sends orders to stations. What came of one is told by the station's records, not by the broker."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from paho.mqtt import MQTTException, publish
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.contract.message import topic
from edge.contract.orders import Command
from edge.errors import BrokerError
from fleet.settings import BrokerAccess


def order(command: str, *, slide: str | None, valid_s: float) -> Command:
    """An order that is carried out at most once, and not after ``valid_s`` from now.

    Raises ValueError for a command that no station knows.
    """
    expires_at = datetime.now(timezone.utc) + timedelta(seconds=valid_s)
    return Command.model_validate(
        {"id": uuid.uuid4().hex, "command": command, "slide": slide, "expires_at": expires_at}
    )


def send(command: Command, *, site: str, station: str, access: BrokerAccess) -> None:
    """Give ``command`` to the broker, which keeps it for a station that is away. Raises BrokerError.

    The broker forgets it when it expires (MQTT 5); a station that gets it later refuses it by itself.
    """
    message: dict[str, Any] = {
        "topic": topic(site, station, "command"),
        "payload": command.model_dump_json(by_alias=True),
        "qos": 1,
    }
    if access.protocol == "5":
        left_s = (command.expires_at - datetime.now(timezone.utc)).total_seconds()
        message["properties"] = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        message["properties"].MessageExpiryInterval = max(1, int(left_s))
    auth: Any = None
    if access.username is not None:
        auth = {"username": access.username, "password": access.password()}
    # Paho's own types know neither properties of a message nor a ready TLS context; its code takes both.
    messages: Any = [message]
    tls: Any = access.tls_context()
    protocol = MQTTProtocolVersion.MQTTv5 if access.protocol == "5" else MQTTProtocolVersion.MQTTv311
    try:
        publish.multiple(
            messages,
            hostname=access.host,
            port=access.port,
            auth=auth,
            tls=tls,
            protocol=protocol,
        )
    except (OSError, MQTTException) as error:
        raise BrokerError(
            f"The broker {access.host}:{access.port} did not take the order: {error}.",
            remedy="Check its address, and whether this user may write to the station's command topic.",
        ) from error
