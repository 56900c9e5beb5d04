"""What a station is told: what the collector has committed, and orders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from edge.contract.message import Message, Name, SlideName

CommandId = Annotated[str, Field(min_length=1, max_length=64)]
CommandOutcome = Literal["done", "not_done", "expired", "malformed", "not_saved", "unknown"]


class Ack(Message):
    """The collector to a station: everything of ``boot`` up to and with ``sequence`` is committed."""

    schema_id: Annotated[Literal["leukoscope/ack/1"], Field(alias="schema")] = "leukoscope/ack/1"
    station: Name
    boot: Annotated[int, Field(ge=1)]
    sequence: Annotated[int, Field(ge=1)]


class Command(Message):
    """An order to a station. Carried out at most once by ``id``, and never after ``expires_at``.

    ``look_for_update`` asks for the newest bundle that the station's own repository offers: an order never
    brings one itself. ``cancel_update`` works until the candidate is activated. ``slide``, the accession id,
    and ``target_cells`` go with ``open_slide``; left out, the station names the slide and sets the target.
    """

    schema_id: Annotated[Literal["leukoscope/command/1"], Field(alias="schema")] = "leukoscope/command/1"
    id: CommandId
    command: Literal[
        "open_slide",
        "pause_slide",
        "resume_slide",
        "close_slide",
        "report_health",
        "look_for_update",
        "cancel_update",
    ]
    slide: SlideName | None = None
    target_cells: Annotated[int, Field(ge=1, le=10_000)] | None = None
    expires_at: AwareDatetime


class CommandAnswer(Message):
    """A station to whoever gave it an order: what came of the order ``id``.

    ``not_done``: it was an order for this station, but it does not fit the moment, or it failed. ``expired``
    and ``malformed`` orders were not begun. ``not_saved``: the order could not be noted, so it was not begun
    either, and may be given again. ``unknown``: it came a second time, and the station was stopped while it
    carried it out. With ``repeated`` it is the answer of the first time, and nothing was done now.
    """

    schema_id: Annotated[Literal["leukoscope/answer/1"], Field(alias="schema")] = "leukoscope/answer/1"
    site: Name
    station: Name
    id: CommandId
    outcome: CommandOutcome
    detail: str = ""
    repeated: bool = False
    answered_at: AwareDatetime
