"""What a station says over MQTT, and what it is told.

Every durable record carries the key (station, boot, sequence): a persisted boot counter, and a sequence
that starts at 1 in each boot and has no gaps. The collector acknowledges, for a boot, the highest sequence
up to which it has committed everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from edge.contract.taxonomy import ObjectKind

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


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Key(_Message):
    """Names one durable record in the world, for ever."""

    station: Name
    boot: Annotated[int, Field(ge=1)]
    sequence: Annotated[int, Field(ge=1)]


class Stamp(_Message):
    """What every durable record tells of itself.

    ``recorded_at`` is wall-clock UTC; the order of records is that of their keys, never of their times.
    """

    site: Name
    key: Key
    recorded_at: AwareDatetime
    software: str
    bundle: str


class CellResult(_Message):
    """One detected object; the fields from ``cell_class`` on are for white cells alone."""

    box_px: BoxPx
    object: ObjectKind
    score: Share
    cell_class: Annotated[str | None, Field(alias="class")] = None
    probability: Share | None = None
    probabilities: Mapping[str, Share] | None = None
    distance: float | None = None
    out_of_distribution: bool | None = None
    doubtful: bool | None = None


class FieldRecord(_Message):
    """One field: a frame that passed the gates, and everything found in it."""

    schema_id: Annotated[Literal["leukoscope/field/1"], Field(alias="schema")] = "leukoscope/field/1"
    stamp: Stamp
    slide: SlideName
    field: Annotated[int, Field(ge=1)]
    source: str
    captured_at: AwareDatetime
    width_px: Annotated[int, Field(gt=0)]
    height_px: Annotated[int, Field(gt=0)]
    um_per_px: float | None = None
    stage_um: tuple[float, float] | None = None
    focus: float
    cells: tuple[CellResult, ...]
    analysis_ms: float


class ShareRow(_Message):
    """One class of a differential: its count, its share and the share's 95% interval."""

    cell_class: Annotated[str, Field(alias="class")]
    count: Count
    share: Share
    low: Share
    high: Share


class BlastShare(_Message):
    """The blast share as counted, and corrected for the classifier's validated confusion matrix.

    The corrected figures are None where the matrix cannot tell blasts from the rest.
    """

    share: Share
    low: Share
    high: Share
    corrected: Share | None = None
    corrected_low: Share | None = None
    corrected_high: Share | None = None


class SlideRecord(_Message):
    """The state of a slide session: its differential so far, or at its close."""

    schema_id: Annotated[Literal["leukoscope/slide/1"], Field(alias="schema")] = "leukoscope/slide/1"
    stamp: Stamp
    slide: SlideName
    state: Literal["open", "closed"]
    opened_at: AwareDatetime
    fields: Count
    objects: Mapping[ObjectKind, Count]
    named_cells: Count
    doubtful_cells: Count
    out_of_distribution_cells: Count
    differential: tuple[ShareRow, ...]
    blasts: BlastShare | None = None


class ReviewRecord(_Message):
    """A person's label over the machine's; both are kept, with who and when."""

    schema_id: Annotated[Literal["leukoscope/review/1"], Field(alias="schema")] = "leukoscope/review/1"
    stamp: Stamp
    slide: SlideName
    field_key: Key
    cell: Annotated[int, Field(ge=0, description="index into the field record's cells")]
    machine_class: str | None
    reviewed_class: str
    reviewer: str
    reviewed_at: AwareDatetime


class ReadingChange(_Message):
    """A reading of the active bundle that is another one under the candidate, and how often.

    A reading is what a person would see of an object: the class of a white cell, ``doubtful``, ``out of
    distribution``, the kind of anything else; ``nothing`` where a bundle does not show the object.
    """

    active: str
    candidate: str
    objects: Annotated[int, Field(ge=1)]


class ShadowResult(_Message):
    """What a candidate said of live fields beside the active bundle. Nothing of it was counted on a slide.

    ``objects`` are all that either bundle shows on the ``fields`` that were compared, ``differing`` those
    read otherwise, ``share`` their share with Wilson's 95% interval. ``missed`` are objects that the active
    bundle alone shows, ``found`` those of the candidate alone, by kind. ``fields_passed_over`` came while
    the candidate was still busy with one before.
    """

    fields: Count
    fields_passed_over: Count
    objects: Count
    differing: Count
    share: Share
    low: Share
    high: Share
    missed: Mapping[ObjectKind, Count]
    found: Mapping[ObjectKind, Count]
    changes: tuple[ReadingChange, ...]


class UpdateRecord(_Message):
    """A step of a bundle update on this station.

    ``candidate`` is the bundle's id and ``attempt`` counts the tries to bring it here. ``stamp.bundle``
    is the one that ran when the step was recorded. ``shadow`` is there where the candidate has run beside
    the active bundle: that is told by a record of its own, in the state ``self_testing``.
    """

    schema_id: Annotated[Literal["leukoscope/update/1"], Field(alias="schema")] = "leukoscope/update/1"
    stamp: Stamp
    state: Literal[
        "idle",
        "downloading",
        "verified",
        "preparing",
        "self_testing",
        "trial",
        "committed",
        "rolled_back",
    ]
    candidate: str
    release: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)] = 1
    detail: str = ""
    shadow: ShadowResult | None = None


class DiscardRecord(_Message):
    """Stands where a record was that the bounded outbox had to discard, so that the sequence has no gap."""

    schema_id: Annotated[Literal["leukoscope/discard/1"], Field(alias="schema")] = "leukoscope/discard/1"
    stamp: Stamp
    discarded_schema: str
    reason: Literal["outbox_bytes", "outbox_age", "unreadable"]


DurableRecord = Annotated[
    FieldRecord | SlideRecord | ReviewRecord | UpdateRecord | DiscardRecord, Field(discriminator="schema_id")
]
DURABLE_RECORD: Final[TypeAdapter[DurableRecord]] = TypeAdapter(DurableRecord)


class StageLatency(_Message):
    """Latency of one stage over the last fields, in milliseconds."""

    p50_ms: float
    p99_ms: float


class HealthRecord(_Message):
    """How the station fares. Not durable: the next one replaces it."""

    schema_id: Annotated[Literal["leukoscope/health/1"], Field(alias="schema")] = "leukoscope/health/1"
    site: Name
    station: Name
    boot: Annotated[int, Field(ge=1)]
    recorded_at: AwareDatetime
    uptime_s: float
    camera: Literal["streaming", "lost", "finished", "starting"]
    frames: Count
    frames_dropped: Count
    fields: Count
    refusals: Mapping[str, Count]
    latencies: Mapping[str, StageLatency]
    queues: Mapping[str, Count]
    outbox_records: Count
    outbox_bytes: Count
    discarded: Count
    disk_free_bytes: Count
    memory_bytes: Count
    broker: Literal["connected", "disconnected", "off"]
    problems: tuple[str, ...] = ()


class StateRecord(_Message):
    """Retained: the birth of a station's connection, or, left behind as its Will, its absence.

    ``engine`` is the runtime and precision that serve, ``engine_choice`` why these serve on this machine.
    ``first_pending`` names, by boot, the first sequence that the station still holds: what lies before it
    was acknowledged, or given up, and will not come again. So a collector that begins with an empty
    database does not wait for ever for records that an earlier one took.
    """

    schema_id: Annotated[Literal["leukoscope/state/1"], Field(alias="schema")] = "leukoscope/state/1"
    site: Name
    station: Name
    boot: Annotated[int, Field(ge=1)]
    state: Literal["online", "offline"]
    software: str
    bundle: str
    engine: str
    engine_choice: str = ""
    first_pending: Mapping[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = {}


class Ack(_Message):
    """The collector to a station: everything of ``boot`` up to and with ``sequence`` is committed."""

    schema_id: Annotated[Literal["leukoscope/ack/1"], Field(alias="schema")] = "leukoscope/ack/1"
    station: Name
    boot: Annotated[int, Field(ge=1)]
    sequence: Annotated[int, Field(ge=1)]


class Command(_Message):
    """An order to a station. Carried out at most once by ``id``, and never after ``expires_at``.

    ``look_for_update`` asks for the newest bundle that the station's own repository offers: an order never
    brings one itself. ``cancel_update`` works until the candidate is activated.
    """

    schema_id: Annotated[Literal["leukoscope/command/1"], Field(alias="schema")] = "leukoscope/command/1"
    id: Annotated[str, Field(min_length=1, max_length=64)]
    command: Literal["open_slide", "close_slide", "report_health", "look_for_update", "cancel_update"]
    slide: SlideName | None = None
    expires_at: AwareDatetime


def topic(site: str, station: str, leaf: str) -> str:
    """The MQTT topic of one kind of message of one station."""
    return f"{TOPIC_ROOT}/{site}/{station}/{leaf}"
