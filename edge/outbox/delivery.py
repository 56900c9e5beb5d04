"""The records' way over one connection after the other: what is sent when, and when it is deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from pydantic import ValidationError

from edge.contract.message import topic
from edge.contract.orders import Ack
from edge.errors import StorageError
from edge.outbox.kinds import StoredRecord
from edge.outbox.link import Delivered, Publication
from edge.outbox.position import Position
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox
from edge.outbox.token_bucket import TokenBucket
from edge.outbox.window import Window

_LOG: Final = logging.getLogger(__name__)
_PAGE: Final = 32
_TOKENS_WAITED_FOR_S: Final = 0.05
"""A backlog is sent in small bursts; a round of the publisher for each record would be work for nothing."""
_AROUND_A_RECORD_BYTES: Final = 512
"""What a packet has beside the record: topic and properties, generously."""


class Sender(Protocol):
    """What records are sent by."""

    @property
    def receive_maximum(self) -> int:
        """How many messages the broker takes without having answered one."""
        ...

    @property
    def packet_bytes_max(self) -> int | None:
        """The largest packet that the broker takes; None where it does not say."""
        ...

    def publish(self, publication: Publication) -> int:
        """Send; its number comes back in ``Delivered``."""
        ...


@dataclass(frozen=True, kw_only=True)
class DeliveryCounts:
    """How the records fared, since the start."""

    sent: int = 0
    replayed: int = 0
    resends: int = 0
    acknowledged: int = 0
    bad_acknowledgements: int = 0


class Delivery:
    """Sends the outbox's records and deletes what has arrived. Used from one thread."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        settings: MqttSettings,
        site: str,
        station: str,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._site = site
        self._station = station
        self._monotonic_s = monotonic_s
        self._window = Window(
            size=settings.in_flight,
            timeout_s=settings.ack_timeout_s,
            timeout_max_s=settings.ack_timeout_max_s,
        )
        self._pace = TokenBucket(
            per_s=settings.backlog_per_s, capacity=max(1, settings.in_flight), now_s=monotonic_s()
        )
        self._unanswered: dict[int, Position] = {}
        self._answered_at_s = 0.0
        self._paced = False
        self.counts = DeliveryCounts()
        self.problem = ""
        """What keeps records from being sent or deleted; empty where all is well."""

    def connected(self) -> None:
        """Begin from the oldest record, over a new connection."""
        self._unanswered.clear()
        self._answered_at_s = self._monotonic_s()
        self._window.connected(newest=self._newest())

    def go_back_if_overdue(self) -> bool:
        """Begin from the oldest record where nobody acknowledged in time; whether it is so."""
        if not self._window.go_back_if_overdue(newest=self._newest(), now_s=self._monotonic_s()):
            return False
        self.counts = replace(self.counts, resends=self.counts.resends + 1)
        return True

    def send(self, link: Sender) -> None:
        """Send what may be sent now: what is new first, then what has waited. Raises StorageError."""
        self._paced = False
        while (room := min(self._window.room_ahead, self._free(link), _PAGE)) > 0:
            records = self._outbox.pending(after=self._window.ahead_cursor, limit=room)
            if not records or not self._publish_all(link, records, ahead=True):
                break
        while (room := min(self._window.room, self._free(link), _PAGE)) > 0:
            records = self._outbox.pending(after=self._window.cursor, limit=room)
            if not records or not self._publish_all(link, records, ahead=False):
                break

    @property
    def silent_s(self) -> float:
        """How long the broker has owed an answer and given none; 0 while it owes none."""
        return self._monotonic_s() - self._answered_at_s if self._unanswered else 0.0

    def wait_s(self) -> float | None:
        """After how long there is something to do, though nothing comes; None where there is nothing."""
        now_s = self._monotonic_s()
        waits = []
        if self._window.deadline_s is not None:
            waits.append(self._window.deadline_s - now_s)
        if self._unanswered:
            waits.append(self._answered_at_s + self._settings.answer_timeout_s - now_s)
        if self._paced:
            tokens = max(1.0, self._settings.backlog_per_s * _TOKENS_WAITED_FOR_S)
            waits.append(self._pace.full_enough_in_s(tokens, now_s=now_s))
        return max(0.0, min(waits)) if waits else None

    def answered(self, deliveries: Iterable[Delivered]) -> str:
        """The broker answered publications; the last problem it had with one, empty where it had none.

        Where its word is enough, what it took is deleted.
        """
        problem, taken = "", []
        for each in deliveries:
            self._answered_at_s = self._monotonic_s()
            position = self._unanswered.pop(each.message, None)
            if each.problem:
                problem = f"The broker does not take a message: {each.problem}."
            elif position is not None:
                taken.append(position)
        if taken and self._settings.ack == "broker":
            try:
                self._delete(taken)
            except StorageError as error:
                problem = str(error)
        return problem

    def acknowledged(self, payload: bytes) -> str:
        """The collector says what it has committed; what is wrong with that, empty where all is well."""
        self._answered_at_s = self._monotonic_s()
        try:
            ack = Ack.model_validate_json(payload)
        except ValidationError:
            ack = None
        if ack is None or ack.station != self._station:
            self._count_bad_acknowledgement()
            _LOG.warning("an acknowledgement that is none was ignored (%d bytes)", len(payload))
            return ""
        try:
            deleted = self._outbox.acknowledge(boot=ack.boot, sequence=ack.sequence)
        except StorageError as error:
            self._count_bad_acknowledgement()
            return str(error)
        self._window.acknowledged(boot=ack.boot, sequence=ack.sequence, now_s=self._monotonic_s())
        self._count_acknowledged(deleted)
        return ""

    def _publish_all(self, link: Sender, records: Iterable[StoredRecord], *, ahead: bool) -> bool:
        """Send them; whether all went."""
        for record in records:
            now_s = self._monotonic_s()
            if not ahead and self._window.was_sent_ahead(record.position):
                self._window.sent(record.position, now_s=now_s)
                continue
            if not self._fits(link, record):
                return False
            waited = self._window.is_backlog(record.position)
            if waited and not self._pace.take(now_s=now_s):
                self._paced = True
                return False
            number = link.publish(
                Publication(
                    topic=topic(self._site, self._station, record.leaf), payload=record.body, replayed=waited
                )
            )
            self._unanswered[number] = record.position
            if len(self._unanswered) == 1:
                self._answered_at_s = now_s
            if ahead:
                self._window.sent_ahead(record.position, now_s=now_s)
            else:
                self._window.sent(record.position, now_s=now_s)
            self.counts = replace(
                self.counts, sent=self.counts.sent + 1, replayed=self.counts.replayed + waited
            )
        return True

    def _fits(self, link: Sender, record: StoredRecord) -> bool:
        """A packet that is too large would cost the connection, again and again."""
        most_bytes, has_bytes = link.packet_bytes_max, len(record.body) + _AROUND_A_RECORD_BYTES
        if most_bytes is None or has_bytes <= most_bytes:
            return True
        self.problem = (
            f"Record {record.position.boot}/{record.position.sequence} needs a packet of {has_bytes} bytes, "
            f"and the broker takes {most_bytes}: raise max_packet_size there. It waits, and all behind it."
        )
        return False

    def _free(self, link: Sender) -> int:
        return min(self._settings.in_flight, link.receive_maximum) - len(self._unanswered)

    def _newest(self) -> Position:
        return Position(self._outbox.boot, self._outbox.last_sequence)

    def _delete(self, taken: list[Position]) -> None:
        deleted = self._outbox.delivered_to_broker(taken)
        self._window.delivered(taken, now_s=self._monotonic_s())
        self._count_acknowledged(deleted)

    def _count_acknowledged(self, deleted: int) -> None:
        if deleted:
            self.problem = ""
            self.counts = replace(self.counts, acknowledged=self.counts.acknowledged + deleted)

    def _count_bad_acknowledgement(self) -> None:
        self.counts = replace(self.counts, bad_acknowledgements=self.counts.bad_acknowledgements + 1)
