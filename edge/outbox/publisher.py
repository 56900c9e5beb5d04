"""Carries the outbox's records to the broker, from a thread of its own; capture never waits for it.

A record leaves the outbox when the collector says that it has committed it or, by setting, when the broker
has taken it. Everything else (a lost connection, a lost message, a lost acknowledgement) is met by sending
again: the collector knows a record by its key.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final, Literal

from edge.contract.message import topic
from edge.contract.orders import Command
from edge.contract.status import HealthRecord, StateRecord
from edge.errors import BrokerError, StorageError
from edge.outbox.command_desk import CommandDesk
from edge.outbox.commands import CommandGate, Refusal, RefusalReason
from edge.outbox.delivery import Delivery
from edge.outbox.link import Delivered, Link, Lost, Publication, Received, check_files
from edge.outbox.mailbox import Mailbox
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox

_LOG: Final = logging.getLogger(__name__)
_IDLE_S: Final = 5.0
"""At least so often a round ends, also where nothing comes: whoever supervises sees that it is alive."""
_STORAGE_PAUSE_S: Final = 5.0
_FAREWELL_S: Final = 2.0
_LIMITS_EVERY_S: Final = 60.0
_ANSWER_EXPIRY_S: Final = 3600
"""Whoever gave an order asks for its answer sooner than that, or asks again."""


@dataclass(frozen=True, kw_only=True)
class PublisherStatus:
    """How publishing fares, since the start; ``problem`` is for a person, empty where all is well."""

    broker: Literal["connected", "disconnected"] = "disconnected"
    problem: str = ""
    connections: int = 0
    sent: int = 0
    replayed: int = 0
    resends: int = 0
    acknowledged: int = 0
    commands: int = 0
    refused_commands: Mapping[RefusalReason, int] = field(default_factory=dict)
    bad_acknowledgements: int = 0


class Publisher:
    """Publishes one station's records, state and health, and hands it its commands.

    ``birth`` is asked at every connection what the station is; its state, boot and first pending sequences
    are filled in here. ``on_command`` is called from the publisher's thread and must return soon; a
    LeukoscopeError of it is the answer to the command. ``on_progress`` is called there at every round of its
    work.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        settings: MqttSettings,
        site: str,
        station: str,
        birth: Callable[[], StateRecord],
        on_command: Callable[[Command], None],
        on_progress: Callable[[], None] = lambda: None,
        chance: random.Random | None = None,
        utc_now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._site = site
        self._station = station
        self._birth = birth
        self._on_progress = on_progress
        self._chance = chance or random.Random()
        self._monotonic_s = monotonic_s
        self._mailbox = Mailbox()
        self._delivery = Delivery(
            outbox=outbox, settings=settings, site=site, station=station, monotonic_s=monotonic_s
        )
        self._desk = CommandDesk(
            gate=CommandGate(
                per_minute=settings.commands_per_minute,
                remember=outbox.remember_command,
                utc_now=utc_now,
                monotonic_s=monotonic_s,
            ),
            answers=outbox,
            site=site,
            station=station,
            on_command=on_command,
            utc_now=utc_now,
        )
        self._health: HealthRecord | None = None
        self._announce = False
        self._leave_by_s: float | None = None
        self._next_limits_s = 0.0
        self._connected = False
        self._connections = 0
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def status(self) -> PublisherStatus:
        """How it fares now."""
        counts = self._delivery.counts
        return PublisherStatus(
            broker="connected" if self._connected else "disconnected",
            problem=self._problem or self._delivery.problem,
            connections=self._connections,
            sent=counts.sent,
            replayed=counts.replayed,
            resends=counts.resends,
            acknowledged=counts.acknowledged,
            commands=self._desk.obeyed,
            refused_commands=self._desk.refused,
            bad_acknowledgements=counts.bad_acknowledgements,
        )

    @property
    def running(self) -> bool:
        """Whether its thread lives; false before the start, after the stop, and after a fault in it."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin.

        Raises BrokerError when a certificate or password file does not serve. An absent broker is no error:
        it is tried again for ever.
        """
        check_files(self._settings)
        self._outbox.add_listener(self._mailbox.knock)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Send what can be sent within the time, say goodbye and end. What is left stays in the outbox."""
        self._leave_by_s = self._monotonic_s() + timeout_s
        self._mailbox.knock()
        if self.running:
            self._thread.join(timeout_s + _FAREWELL_S + self._settings.connect_timeout_s)

    def abandon(self) -> None:
        """Wait no longer for its thread: should it come back from where it is stuck, it ends at once."""
        self._leave_by_s = self._monotonic_s()
        self._mailbox.knock()

    def publish_health(self, record: HealthRecord) -> None:
        """Publish how the station fares; while there is no connection, only the newest is kept."""
        self._health = record
        self._mailbox.knock()

    # From here on everything runs in the publisher's thread.

    def _run(self) -> None:
        failures = 0
        while self._leave_by_s is None:
            began_s = self._monotonic_s()
            problem = self._work()
            if not problem:
                return
            # A broker that lets us in and throws us out again is not to be asked again at once, for ever.
            if self._monotonic_s() - began_s > self._settings.reconnect_max_s:
                failures = 0
            self._tell(problem)
            self._pause(backoff_s(failures, settings=self._settings, chance=self._chance))
            failures += 1

    def _work(self) -> str:
        """Connect, and work until the connection is lost; then why. Nothing where it is time to leave."""
        try:
            link = self._open_link()
        except BrokerError as error:
            return str(error)
        try:
            reason = self._serve(link)
        finally:
            link.close()
            self._connected = False
        return reason and f"The connection to the broker was lost: {reason}."

    def _open_link(self) -> Link:
        self._mailbox.take(0)  # what is left over from an earlier connection
        link = Link(
            settings=self._settings,
            client_id=f"leukoscope-{self._site}-{self._station}",
            will=self._state("offline"),
            subscriptions=[self._topic("ack"), self._topic("command")],
            post=self._mailbox.post,
        )
        link.open()
        _LOG.info("connected to the broker %s:%d", self._settings.host, self._settings.port)
        self._connected = True
        self._connections += 1
        self._problem = ""
        return link

    def _serve(self, link: Link) -> str:
        """Work until the connection is lost (then why), or until it is time to leave (then nothing)."""
        self._delivery.connected()
        self._announce = True
        while not self._time_to_leave():
            self._on_progress()
            wait_s = self._send(link)
            lost = self._receive(link, wait_s)
            if lost is not None:
                return lost.reason
            if self._delivery.silent_s >= self._settings.answer_timeout_s:
                return f"the broker has not answered for {self._settings.answer_timeout_s:g} s"
        link.publish_and_wait(self._state("offline"), timeout_s=_FAREWELL_S)
        return ""

    def _time_to_leave(self) -> bool:
        if self._leave_by_s is None:
            return False
        if self._monotonic_s() >= self._leave_by_s:
            return True
        try:
            return not self._outbox.statistics().records
        except StorageError:
            return True

    def _send(self, link: Link) -> float:
        """Send what there is to send; how long to wait for events then, in seconds."""
        if self._delivery.go_back_if_overdue():
            # A collector with an empty database must learn what will never come.
            self._announce = True
        self._enforce_limits()
        try:
            if self._announce:
                self._announce = False
                link.publish(self._state("online"))
            self._delivery.send(link)
        except StorageError as error:
            self._tell(str(error))
            return _STORAGE_PAUSE_S
        health, self._health = self._health, None
        if health is not None:
            link.publish(
                Publication(
                    topic=self._topic("health"),
                    payload=health.model_dump_json(by_alias=True).encode(),
                    qos=0,
                    expiry_s=self._settings.health_expiry_s,
                )
            )
        waits = [_IDLE_S, self._delivery.wait_s()]
        if self._leave_by_s is not None:
            waits.append(self._leave_by_s - self._monotonic_s())
        return max(0.0, min(each for each in waits if each is not None))

    def _receive(self, link: Link, wait_s: float) -> Lost | None:
        lost: Lost | None = None
        delivered: list[Delivered] = []
        acknowledged_before = self._delivery.counts.acknowledged
        for event in self._mailbox.take(wait_s):
            match event:
                case Lost():
                    lost = event
                case Delivered():
                    delivered.append(event)
                case Received(topic=where, payload=payload) if where == self._topic("ack"):
                    self._note(self._delivery.acknowledged(payload))
                case Received(payload=payload):
                    self._obey(link, payload)
        if overflowed := self._mailbox.take_overflowed():
            self._desk.refuse(
                Refusal(reason="too_many", detail="faster than they can be read"), times=overflowed
            )
        self._note(self._delivery.answered(delivered))
        if self._delivery.counts.acknowledged > acknowledged_before:
            self._problem = ""
        return lost

    def _obey(self, link: Link, payload: bytes) -> None:
        answer = self._desk.obey(payload)
        if answer is not None:
            link.publish(
                Publication(
                    topic=self._topic("answer"),
                    payload=answer.model_dump_json(by_alias=True).encode(),
                    expiry_s=_ANSWER_EXPIRY_S,
                )
            )

    def _state(self, state: Literal["online", "offline"]) -> Publication:
        record = self._birth().model_copy(
            update={
                "state": state,
                "boot": self._outbox.boot,
                "first_pending": self._outbox.first_pending() if state == "online" else {},
            }
        )
        payload = record.model_dump_json(by_alias=True).encode()
        return Publication(topic=self._topic("state"), payload=payload, retain=True)

    def _topic(self, leaf: str) -> str:
        return topic(self._site, self._station, leaf)

    def _enforce_limits(self) -> None:
        """See to the outbox's age limit now and then, also while nothing is appended."""
        if self._monotonic_s() < self._next_limits_s:
            return
        self._next_limits_s = self._monotonic_s() + _LIMITS_EVERY_S
        try:
            self._outbox.enforce_limits()
        except StorageError as error:
            self._tell(str(error))

    def _pause(self, seconds: float) -> None:
        """Wait, unless it is time to leave; records that are appended meanwhile do not shorten it."""
        self._enforce_limits()
        until_s = self._monotonic_s() + seconds
        while self._leave_by_s is None and (left_s := until_s - self._monotonic_s()) > 0:
            self._on_progress()
            self._mailbox.take(min(left_s, _IDLE_S))

    def _note(self, problem: str) -> None:
        if problem:
            self._tell(problem)

    def _tell(self, problem: str) -> None:
        """Say what is wrong, until records arrive again."""
        if problem != self._problem:
            _LOG.warning("%s", problem)
        self._problem = problem


def backoff_s(failures: int, *, settings: MqttSettings, chance: random.Random) -> float:
    """How long to wait after so many failures: anything up to a limit that doubles.

    Chance spreads the stations, so that they do not all return in the same moment after a broker's fall.
    """
    limit_s = min(settings.reconnect_max_s, settings.reconnect_min_s * 2.0 ** min(failures, 32))
    return chance.uniform(min(settings.reconnect_min_s, limit_s) / 2, limit_s)
