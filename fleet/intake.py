"""What a message from a station is: judged by its topic and its bytes alone. Pure.

A topic is what the broker's access rules hold a station to, so the names inside a message must be the
topic's. A record whose key can be read but whose content this collector does not know is kept as it came,
with the problem beside it: a station that runs newer software must not stand still, nor lose anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from edge.contract.message import MAX_RECORD_BYTES, TOPIC_ROOT
from edge.contract.records import DURABLE_RECORD, DiscardRecord, DurableRecord, ReviewRecord, UpdateRecord
from edge.contract.status import HealthRecord, StateRecord

RECORD_LEAVES: Final = ("field", "slide", "review", "update")
LEAVES: Final = (*RECORD_LEAVES, "state", "health")
DISCARD_SCHEMA: Final = "leukoscope/discard/1"
_NAME: Final = r"[a-z0-9][a-z0-9_\-]{0,62}"
_TOPIC: Final = re.compile(rf"{re.escape(TOPIC_ROOT)}/({_NAME})/({_NAME})/({'|'.join(LEAVES)})")
# Numbers that the database can hold; no station ever counts so far.
_TOO_LARGE: Final = 2**63
_Number = Annotated[int, Field(ge=1, lt=_TOO_LARGE)]


@dataclass(frozen=True, kw_only=True)
class RecordKey:
    """Names one durable record in the world."""

    station: str
    boot: int
    sequence: int


@dataclass(frozen=True, kw_only=True)
class IncomingRecord:
    """A durable record; ``problem`` is not empty where the collector cannot read all of it."""

    site: str
    key: RecordKey
    schema: str
    recorded_at: datetime
    body: bytes
    slide: str | None = None
    problem: str = ""

    @property
    def station(self) -> str:
        """Whose record it is."""
        return self.key.station

    @property
    def discarded(self) -> bool:
        """Whether it only stands where a record was."""
        return self.schema == DISCARD_SCHEMA


@dataclass(frozen=True, kw_only=True)
class IncomingState:
    """A station came or went."""

    site: str
    station: str
    record: StateRecord
    body: bytes


@dataclass(frozen=True, kw_only=True)
class IncomingHealth:
    """How a station fares."""

    site: str
    station: str
    record: HealthRecord
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A message that is kept nowhere but in the short list of rejected ones."""

    topic: str
    reason: str
    payload: bytes


FromStation = IncomingRecord | IncomingState | IncomingHealth
Incoming = FromStation | Rejected


class _Key(BaseModel):
    station: str
    boot: _Number
    sequence: _Number


class _Stamp(BaseModel):
    site: str
    key: _Key
    recorded_at: AwareDatetime


class _Envelope(BaseModel):
    """The least that must be readable of a record for it to be kept."""

    schema_id: Annotated[str, Field(alias="schema", max_length=100)]
    stamp: _Stamp


def read_message(topic: str, payload: bytes) -> Incoming:
    """Judge one message; never raises."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        return Rejected(topic=topic, reason="the topic is none of a station's", payload=payload)
    if len(payload) > MAX_RECORD_BYTES:
        return Rejected(topic=topic, reason=f"{len(payload)} bytes are too many", payload=payload)
    site, station, leaf = match.groups()
    try:
        incoming = _read(leaf, payload)
    except ValidationError as error:
        return Rejected(topic=topic, reason=_first_fault(error), payload=payload)
    if isinstance(incoming, IncomingState) and any(
        number >= _TOO_LARGE for pair in incoming.record.first_pending.items() for number in pair
    ):
        return Rejected(topic=topic, reason="first_pending: a number is too large", payload=payload)
    if (incoming.site, incoming.station) != (site, station):
        reason = f"it speaks for {incoming.site}/{incoming.station} on the topic of {site}/{station}"
        return Rejected(topic=topic, reason=reason, payload=payload)
    return incoming


def _read(leaf: str, payload: bytes) -> FromStation:
    if leaf == "state":
        state = StateRecord.model_validate_json(payload)
        return IncomingState(site=state.site, station=state.station, record=state, body=payload)
    if leaf == "health":
        health = HealthRecord.model_validate_json(payload)
        return IncomingHealth(site=health.site, station=health.station, record=health, body=payload)
    return _read_record(leaf, payload)


def _read_record(leaf: str, payload: bytes) -> IncomingRecord:
    envelope = _Envelope.model_validate_json(payload)
    key = envelope.stamp.key
    slide, problem = None, ""
    try:
        record = DURABLE_RECORD.validate_json(payload)
    except ValidationError as error:
        problem = _first_fault(error)
    else:
        slide = None if isinstance(record, UpdateRecord | DiscardRecord) else record.slide
        problem = _contradiction(leaf, record)
    return IncomingRecord(
        site=envelope.stamp.site,
        key=RecordKey(station=key.station, boot=key.boot, sequence=key.sequence),
        schema=envelope.schema_id,
        recorded_at=envelope.stamp.recorded_at,
        body=payload,
        slide=slide,
        problem=problem,
    )


def _contradiction(leaf: str, record: DurableRecord) -> str:
    if isinstance(record, ReviewRecord) and record.field_key.station != record.stamp.key.station:
        return f"a review of a field of station {record.field_key.station}"
    if not isinstance(record, DiscardRecord) and record.schema_id != f"leukoscope/{leaf}/1":
        return f"a {record.schema_id} came as {leaf}"
    return ""


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}"[:200]
