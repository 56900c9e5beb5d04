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
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Final, Literal

from pydantic import ValidationError

from edge.contract.message import topic
from edge.contract.orders import Ack, Command
from edge.contract.status import HealthRecord, StateRecord
from edge.errors import BrokerError, LeukoscopeError, StorageError
from edge.outbox.commands import CommandGate, Refusal, RefusalReason
from edge.outbox.kinds import StoredRecord
from edge.outbox.link import Delivered, Link, Lost, Publication, Received, check_files
from edge.outbox.mailbox import Mailbox
from edge.outbox.position import Position
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox
from edge.outbox.window import Window

_LOG: Final = logging.getLogger(__name__)
_IDLE_S: Final = 5.0
"""At least so often a round ends, also where nothing comes: whoever supervises sees that it is alive."""
_STORAGE_PAUSE_S: Final = 5.0
_FAREWELL_S: Final = 2.0
_LIMITS_EVERY_S: Final = 60.0
_PAGE: Final = 32


@dataclass(frozen=True, kw_only=True)
class PublisherStatus:
    """How publishing fares, since the start; ``problem`` is for a person, empty where all is well."""

    broker: Literal["connected", "disconnected"] = "disconnected"
    problem: str = ""
    connections: int = 0
    sent: int = 0
    resends: int = 0
    acknowledged: int = 0
    commands: int = 0
    refused_commands: Mapping[RefusalReason, int] = field(default_factory=dict)
    bad_acknowledgements: int = 0


class Publisher:
    """Publishes one station's records, state and health, and hands it its commands.

    ``birth`` is asked at every connection what the station is; its state, boot and first pending sequences
    are filled in here. ``on_command`` is called from the publisher's thread and must return soon; a
    LeukoscopeError of it is logged and counted. ``on_progress`` is called there at every round of its work.
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
        self._on_command = on_command
        self._on_progress = on_progress
        self._chance = chance or random.Random()
        self._monotonic_s = monotonic_s
        self._mailbox = Mailbox()
        self._window = Window(
            size=settings.in_flight,
            timeout_s=settings.ack_timeout_s,
            timeout_max_s=settings.ack_timeout_max_s,
        )
        self._gate = CommandGate(
            per_minute=settings.commands_per_minute,
            remember=outbox.remember_command,
            utc_now=utc_now,
            monotonic_s=monotonic_s,
        )
        self._under_way: dict[int, Position] = {}
        self._refused: Counter[RefusalReason] = Counter()
        self._health: HealthRecord | None = None
        self._announce = False
        self._leave_by_s: float | None = None
        self._next_limits_s = 0.0
        self._status = PublisherStatus()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def status(self) -> PublisherStatus:
        """How it fares now."""
        return self._status

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

    def announce(self) -> None:
        """Publish the birth again, because what the station is has changed."""
        self._announce = True
        self._mailbox.knock()

    # From here on everything runs in the publisher's thread.

    def _run(self) -> None:
        failures = 0
        while self._leave_by_s is None:
            try:
                link = self._open_link()
            except BrokerError as error:
                self._problem(str(error))
                self._pause(backoff_s(failures, settings=self._settings, chance=self._chance))
                failures += 1
                continue
            failures = 0
            try:
                reason = self._serve(link)
            finally:
                link.close()
                self._status = replace(self._status, broker="disconnected")
            if reason:
                self._problem(f"The connection to the broker was lost: {reason}.")
                self._pause(backoff_s(failures, settings=self._settings, chance=self._chance))
                failures = 1

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
        self._status = replace(
            self._status, broker="connected", problem="", connections=self._status.connections + 1
        )
        return link

    def _serve(self, link: Link) -> str:
        """Work until the connection is lost (then why), or until it is time to leave (then nothing)."""
        self._window.connected()
        self._under_way.clear()
        self._announce = True
        while not self._time_to_leave():
            self._on_progress()
            wait_s = self._send(link)
            lost = self._receive(wait_s)
            if lost is not None:
                return lost.reason
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
        if self._window.go_back_if_overdue(now_s=self._monotonic_s()):
            self._status = replace(self._status, resends=self._status.resends + 1)
            # A collector with an empty database must learn what will never come.
            self._announce = True
        self._enforce_limits()
        try:
            if self._announce:
                self._announce = False
                link.publish(self._state("online"))
            self._send_records(link)
        except StorageError as error:
            self._problem(str(error))
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
        return self._wait_s()

    def _send_records(self, link: Link) -> None:
        while self._window.room > 0:
            records = self._outbox.pending(after=self._window.cursor, limit=min(self._window.room, _PAGE))
            for record in records:
                self._send_record(link, record)
            if not records:
                return

    def _send_record(self, link: Link, record: StoredRecord) -> None:
        number = link.publish(Publication(topic=self._topic(record.leaf), payload=record.body))
        if self._settings.ack == "broker":
            self._under_way[number] = record.position
        self._window.sent(record.position, now_s=self._monotonic_s())
        self._status = replace(self._status, sent=self._status.sent + 1)

    def _wait_s(self) -> float:
        until_s = [self._monotonic_s() + _IDLE_S]
        until_s += [each for each in (self._window.deadline_s, self._leave_by_s) if each is not None]
        return max(0.0, min(until_s) - self._monotonic_s())

    def _receive(self, wait_s: float) -> Lost | None:
        lost: Lost | None = None
        delivered: list[Position] = []
        for event in self._mailbox.take(wait_s):
            match event:
                case Lost():
                    lost = event
                case Delivered(message=message, problem=problem):
                    position = self._under_way.pop(message, None)
                    if problem:
                        self._problem(f"The broker does not take a message: {problem}.")
                    elif position is not None:
                        delivered.append(position)
                case Received(topic=where, payload=payload) if where == self._topic("ack"):
                    self._acknowledge(payload)
                case Received(payload=payload):
                    self._obey(payload)
        if overflowed := self._mailbox.take_overflowed():
            self._refuse(Refusal(reason="too_many", detail="faster than they can be read"), times=overflowed)
        if delivered:
            self._delete_delivered(delivered)
        return lost

    def _delete_delivered(self, delivered: list[Position]) -> None:
        try:
            deleted = self._outbox.delivered_to_broker(delivered)
        except StorageError as error:
            self._problem(str(error))
            return
        self._window.delivered(delivered, now_s=self._monotonic_s())
        self._progress(deleted)

    def _acknowledge(self, payload: bytes) -> None:
        try:
            ack = Ack.model_validate_json(payload)
        except ValidationError:
            ack = None
        if ack is None or ack.station != self._station:
            self._status = replace(self._status, bad_acknowledgements=self._status.bad_acknowledgements + 1)
            _LOG.warning("an acknowledgement that is none was ignored (%d bytes)", len(payload))
            return
        try:
            deleted = self._outbox.acknowledge(boot=ack.boot, sequence=ack.sequence)
        except StorageError as error:
            self._problem(str(error))
            self._status = replace(self._status, bad_acknowledgements=self._status.bad_acknowledgements + 1)
            return
        self._window.acknowledged(boot=ack.boot, sequence=ack.sequence, now_s=self._monotonic_s())
        self._progress(deleted)

    def _progress(self, deleted: int) -> None:
        if deleted:
            self._status = replace(self._status, acknowledged=self._status.acknowledged + deleted, problem="")

    def _obey(self, payload: bytes) -> None:
        try:
            judged = self._gate.judge(payload)
        except StorageError as error:
            judged = Refusal(reason="not_saved", detail=str(error))
        if isinstance(judged, Refusal):
            self._refuse(judged)
            return
        _LOG.info("command %s: %s", judged.id, judged.command)
        try:
            self._on_command(judged)
        except LeukoscopeError as error:
            self._refuse(Refusal(reason="not_done", detail=f"{judged.id}: {error}"))
            return
        self._status = replace(self._status, commands=self._status.commands + 1)

    def _refuse(self, refusal: Refusal, *, times: int = 1) -> None:
        # A flood is counted, but it does not flood the log as well.
        if refusal.reason != "too_many" or not self._refused["too_many"]:
            _LOG.warning("a command was refused (%s): %s", refusal.reason, refusal.detail)
        self._refused[refusal.reason] += times
        self._status = replace(self._status, refused_commands=dict(self._refused))

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
            self._problem(str(error))

    def _pause(self, seconds: float) -> None:
        """Wait, unless it is time to leave; records that are appended meanwhile do not shorten it."""
        self._enforce_limits()
        until_s = self._monotonic_s() + seconds
        while self._leave_by_s is None and (left_s := until_s - self._monotonic_s()) > 0:
            self._on_progress()
            self._mailbox.take(min(left_s, _IDLE_S))

    def _problem(self, problem: str) -> None:
        if problem != self._status.problem:
            _LOG.warning("%s", problem)
        self._status = replace(self._status, problem=problem)


def backoff_s(failures: int, *, settings: MqttSettings, chance: random.Random) -> float:
    """How long to wait after so many failures: anything up to a limit that doubles.

    Chance spreads the stations, so that they do not all return in the same moment after a broker's fall.
    """
    limit_s = min(settings.reconnect_max_s, settings.reconnect_min_s * 2.0 ** min(failures, 32))
    return chance.uniform(min(settings.reconnect_min_s, limit_s) / 2, limit_s)
