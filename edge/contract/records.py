"""The durable records: what a station saw, counted and changed, for the collector to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from edge.contract.message import BoxPx, Count, Key, Message, Share, SlideName, Stamp
from edge.contract.taxonomy import ObjectKind


class CellResult(Message):
    """One detected object; the fields from ``cell_class`` to ``number`` are for white cells alone.

    ``number`` names a white cell for the whole slide, from 1: in a later field's record it is the same cell
    in a better view, which takes the place of the earlier one. ``cut_off`` says that it reaches beyond the
    frame, and that no field has shown it whole yet. ``position_px`` is its middle on the field's island, in
    pixels of the frames.
    """

    box_px: BoxPx
    object: ObjectKind
    score: Share
    cell_class: Annotated[str | None, Field(alias="class")] = None
    probability: Share | None = None
    probabilities: Mapping[str, Share] | None = None
    distance: float | None = None
    out_of_distribution: bool | None = None
    doubtful: bool | None = None
    number: Annotated[int | None, Field(ge=1)] = None
    cut_off: bool | None = None
    position_px: tuple[float, float] | None = None


class FieldPlace(Message):
    """Where a field lies on the slide map.

    An island, from 1, is ground that is known to hang together; ``corner_px`` is the field's top left corner
    on it, in pixels of the frames. ``tracking_lost`` says that the field begins an island because nothing
    told where it lies. ``joined`` are islands that turned out to be parts of this one, and
    ``withdrawn_cells`` the numbers of white cells that turned out to have been counted under another number.
    """

    island: Annotated[int, Field(ge=1)]
    corner_px: tuple[float, float]
    tracking_lost: bool = False
    joined: tuple[int, ...] = ()
    withdrawn_cells: tuple[int, ...] = ()


class CameraState(Message):
    """What the camera said of a frame; None where it does not say. ``colour_gains`` are of red and blue.

    ``gain`` is in the camera's own measure: a factor, decibels or steps.
    """

    exposure_us: Annotated[float | None, Field(ge=0)] = None
    gain: float | None = None
    colour_gains: tuple[float, float] | None = None
    colour_temperature_k: Annotated[float | None, Field(gt=0)] = None


class FieldRecord(Message):
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
    camera: CameraState | None = None
    calibration: Annotated[
        str | None, Field(description="digest of the calibration that corrected the frame; null: none did")
    ] = None
    focus: float
    cells: tuple[CellResult, ...]
    analysis_ms: float
    place: FieldPlace | None = None


class ShareRow(Message):
    """One class of a differential: its count, its share and the share's 95% interval.

    The corrected figures allow for the classifier's validated confusion matrix; they are None where it cannot
    tell, or where nothing is counted.
    """

    cell_class: Annotated[str, Field(alias="class")]
    count: Count
    share: Share
    low: Share
    high: Share
    corrected: Share | None = None
    corrected_low: Share | None = None
    corrected_high: Share | None = None


class PassedThreshold(Message):
    """How probable it is that the true share of blasts among the slide's named cells is above a threshold."""

    threshold: Share
    probability: Share


class BlastShare(Message):
    """The blast share as counted, and corrected for the classifier's validated confusion matrix.

    The corrected figures are None, and there is no threshold, where the matrix cannot tell blasts from the
    rest.
    """

    share: Share
    low: Share
    high: Share
    corrected: Share | None = None
    corrected_low: Share | None = None
    corrected_high: Share | None = None
    passes: tuple[PassedThreshold, ...] = ()


class StopAdvice(Message):
    """Whether the count may end: advice to the person, who decides.

    ``narrow_enough``: at a planned look, after ``cells`` named cells, the intervals were as narrow as the
    laboratory asks, at a ``level`` that allows for all planned looks together. ``level`` is None where no
    looks are planned.
    """

    decision: Literal["count_on", "narrow_enough", "target_reached"]
    cells: Count
    level: Share | None = None


class CoveredGround(Message):
    """How much of the smear the fields of a slide have shown, each place once.

    In frames' worth, and in mm2 where the scale is known. ``islands`` are the pieces that are not known to
    hang together; ``tracking_losses`` says how often a new one had to be begun.
    """

    frames: Annotated[float, Field(ge=0)]
    mm2: Annotated[float | None, Field(ge=0)] = None
    islands: Count
    tracking_losses: Count


class SlideRecord(Message):
    """The state of a slide session: its differential so far, or at its close.

    ``slide`` is what ``identity`` says: the accession id's pseudonym, the id itself, or a name given by the
    station. ``resumed`` counts how often the session went on after the station had stopped. ``artefacts`` are
    objects that a person named so, ``unclassified`` those that a person could not name either; doubtful cells
    and those out of distribution are the network's own. None of the four stands under a class.
    """

    schema_id: Annotated[Literal["leukoscope/slide/1"], Field(alias="schema")] = "leukoscope/slide/1"
    stamp: Stamp
    slide: SlideName
    state: Literal["open", "paused", "closed"]
    opened_at: AwareDatetime
    fields: Count
    objects: Mapping[ObjectKind, Count]
    named_cells: Count
    doubtful_cells: Count
    out_of_distribution_cells: Count
    differential: tuple[ShareRow, ...]
    blasts: BlastShare | None = None
    identity: Literal["pseudonym", "plain", "given"] | None = None
    target_cells: Annotated[int, Field(ge=1)] | None = None
    advice: StopAdvice | None = None
    artefacts: Count = 0
    unclassified: Count = 0
    resumed: Count = 0
    closed_because: Literal["order", "next_slide", "bundle_changed", "damaged"] | None = None
    ground: CoveredGround | None = None


class ReviewRecord(Message):
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


class ReadingChange(Message):
    """A reading of the active bundle that is another one under the candidate, and how often.

    A reading is what a person would see of an object: the class of a white cell, ``doubtful``, ``out of
    distribution``, the kind of anything else; ``nothing`` where a bundle does not show the object.
    """

    active: str
    candidate: str
    objects: Annotated[int, Field(ge=1)]


class ShadowResult(Message):
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


class UpdateRecord(Message):
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


class DiscardRecord(Message):
    """Stands where a record was that the bounded outbox had to discard, so that the sequence has no gap."""

    schema_id: Annotated[Literal["leukoscope/discard/1"], Field(alias="schema")] = "leukoscope/discard/1"
    stamp: Stamp
    discarded_schema: str
    reason: Literal["outbox_bytes", "outbox_age", "unreadable"]


DurableRecord = Annotated[
    FieldRecord | SlideRecord | ReviewRecord | UpdateRecord | DiscardRecord, Field(discriminator="schema_id")
]
DURABLE_RECORD: Final[TypeAdapter[DurableRecord]] = TypeAdapter(DurableRecord)
