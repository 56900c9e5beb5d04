"""What every message over MQTT has in common: names, topics, the key of a record and where it comes from.

Every durable record carries the key (station, boot, sequence): a persisted boot counter, and a sequence
that starts at 1 in each boot and has no gaps. The collector acknowledges, for a boot, the highest sequence
up to which it has committed everything.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

TOPIC_ROOT: Final = "leukoscope/v1"
MAX_COMMAND_BYTES: Final = 16 * 1024
# Below the megabyte that brokers are commonly told to refuse; a field of a thousand cells is a third of it.
MAX_RECORD_BYTES: Final = 1_000_000

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_\-]{0,62}$")]
"""A site or station: what may stand in an MQTT topic and in a file name."""

SlideName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]
"""What a person calls a smear. It stands in records, never in a topic or a file name."""

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
BoxPx = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the frame."""


class Message(BaseModel):
    """What is said over MQTT; a key that nobody knows is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


ClockState = Literal["synchronised", "unsynchronised", "unknown"]
"""Whether a time server held the wall clock that a time was taken from."""


class Key(Message):
    """Names one durable record in the world, for ever."""

    station: Name
    boot: Annotated[int, Field(ge=1)]
    sequence: Annotated[int, Field(ge=1)]


class Stamp(Message):
    """What every durable record tells of itself.

    ``recorded_at`` is wall-clock UTC, and ``clock`` says what that clock was worth then; the order of records
    is that of their keys, never of their times.
    """

    site: Name
    key: Key
    recorded_at: AwareDatetime
    software: str
    bundle: str
    clock: ClockState | None = None


def topic(site: str, station: str, leaf: str) -> str:
    """The MQTT topic of one kind of message of one station."""
    return f"{TOPIC_ROOT}/{site}/{station}/{leaf}"
