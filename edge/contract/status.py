"""How a station fares, and that it is there: told again and again, kept by nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from edge.contract.message import ClockState, Count, Message, Name


class StageLatency(Message):
    """Latency of one stage over the last fields, in milliseconds."""

    p50_ms: float
    p99_ms: float


class OpticsHealth(Message):
    """How far the light has drifted since the objective was calibrated.

    ``calibration`` is its digest. ``vignetting_drift_percent`` is the share of light that the darkest part of
    a corrected picture lacks, ``colour_drift_percent`` how far red, green and blue of its background are off
    their mean, ``fields`` from how many fields; both are None until enough were seen. ``drifting_since`` is
    when one of them passed its limit; None while neither does. ``taken_otherwise`` says in words which
    exposure, gain or white balance frames now have instead of that of the calibration's pictures.
    """

    objective: str
    calibration: str
    vignetting_drift_percent: float | None = None
    colour_drift_percent: tuple[float, float, float] | None = None
    fields: Count = 0
    drifting_since: AwareDatetime | None = None
    taken_otherwise: tuple[str, ...] = ()


class HealthRecord(Message):
    """How the station fares. Not durable: the next one replaces it.

    ``restarts`` counts, by part, how often one was begun anew because it was stuck, ``degraded`` names those
    that the station goes on without. ``outbox_oldest_s`` is the age of the oldest record that nobody has
    taken yet, ``discarded_by_leaf`` how many were given up, by the last level of their topics. None is what
    the machine does not tell; ``optics`` is None where nothing was calibrated.
    """

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
    outbox_oldest_s: Annotated[float, Field(ge=0)] | None = None
    discarded_by_leaf: Mapping[str, Count] = {}
    temperature_c: float | None = None
    throttled: bool | None = None
    throttled_by: str = ""
    clock: ClockState = "unknown"
    open_files: Count | None = None
    threads: Count | None = None
    restarts: Mapping[str, Count] = {}
    degraded: tuple[str, ...] = ()
    optics: OpticsHealth | None = None


class StateRecord(Message):
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
