"""The open slide as it is kept beside the records, so that another run can go on with it.

A value each for what the slide is, what is counted, and every white cell whose group must be known when it is
seen again or judged: a field writes what it changes, however large the slide has grown. All of them go when
the slide is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge.analysis.session import Step, Tally
from edge.contract.manifest import Confusion
from edge.contract.message import SlideName
from edge.contract.records import CoveredGround

PREFIX: Final = "slide/"
_HEAD: Final = f"{PREFIX}head"
_TALLY: Final = f"{PREFIX}tally"
_GROUND: Final = f"{PREFIX}ground"
_CELL: Final = f"{PREFIX}cell/"
_MAP: Final = f"{PREFIX}map/"
_TALLIES: Final = TypeAdapter(Tally)

Identity = Literal["pseudonym", "plain", "given"]


class SlideHead(BaseModel):
    """What a slide is from its opening on. ``slide`` is its name in the records.

    ``confusion`` and ``blasts`` are those of the ``bundle`` that counts it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slide: SlideName
    identity: Identity
    opened_at: AwareDatetime
    target_cells: Annotated[int, Field(ge=1)]
    bundle: str
    confusion: Confusion
    blasts: tuple[str, ...]
    paused: bool = False
    resumed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, kw_only=True)
class KeptSlide:
    """A slide that an earlier run left open. ``ground`` and ``slide_map`` are as the slide map gave them.

    ``whole`` says that nothing of its cells is missing, as it can be after the outbox was damaged.
    """

    head: SlideHead
    tally: Tally
    cells: Mapping[str, str]
    ground: CoveredGround | None = None
    slide_map: Mapping[str, bytes] = field(default_factory=dict)
    whole: bool = True


def values_of_head(head: SlideHead) -> dict[str, bytes | None]:
    """What to keep of a slide that is opened, paused or resumed."""
    return {_HEAD: head.model_dump_json().encode()}


def values_of_step(
    step: Step,
    *,
    ground: CoveredGround | None = None,
    slide_map: Mapping[str, bytes | None] | None = None,
) -> dict[str, bytes | None]:
    """What to keep of one step of its count."""
    values: dict[str, bytes | None] = {_TALLY: _TALLIES.dump_json(step.tally)}
    for name, group in step.cells.items():
        values[f"{_CELL}{name}"] = None if group is None else group.encode()
    if ground is not None:
        values[_GROUND] = ground.model_dump_json().encode()
    for name, value in (slide_map or {}).items():
        values[f"{_MAP}{name}"] = value
    return values


def read_kept(values: Mapping[str, bytes]) -> KeptSlide | None:
    """The slide that these values tell of; None where there is none, or too little of it to say anything."""
    try:
        head = SlideHead.model_validate_json(values[_HEAD])
        tally = _TALLIES.validate_json(values[_TALLY])
        ground = CoveredGround.model_validate_json(values[_GROUND]) if _GROUND in values else None
        cells = {name: value.decode() for name, value in _under(_CELL, values).items()}
    except (KeyError, ValidationError, UnicodeDecodeError):
        return None
    return KeptSlide(
        head=head,
        tally=tally,
        cells=cells,
        ground=ground,
        slide_map=_under(_MAP, values),
        whole=len(cells) == tally.remembered_cells,
    )


def _under(prefix: str, values: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}
