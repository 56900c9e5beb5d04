"""What the fleet hands back to the workshop: reviewed cells, a line of JSON each, beside their crops.

An export is a folder with ``reviews.jsonl`` and the crop files that its lines name. Both labels are kept,
with who and when; the person's is the one that is trained on.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edge.contract.manifest import RelativePath
from edge.contract.message import Key, Name, Share, SlideName

REVIEWS_NAME: Final = "reviews.jsonl"


class ReviewedCell(BaseModel):
    """One review of one cell. A cell reviewed again has several lines, which ``reviewed_at`` orders."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_id: Annotated[Literal["leukoscope/reviewed-cell/1"], Field(alias="schema")] = (
        "leukoscope/reviewed-cell/1"
    )
    crop: Annotated[RelativePath, Field(description="the cell's picture, from the export's folder")]
    site: Name
    station: Name
    slide: SlideName
    field_key: Key
    cell: Annotated[int, Field(ge=0, description="index into the field record's cells")]
    machine_class: str | None
    machine_probability: Share | None = None
    bundle: str
    reviewed_class: Annotated[str, Field(min_length=1)]
    reviewer: Annotated[str, Field(min_length=1)]
    reviewed_at: AwareDatetime
