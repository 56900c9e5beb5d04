"""The way of a stage over the smear. Pure: where it is at any frame follows from the seed alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from edge.camera.virtual_slide.streams import stream

Visit = Literal["new", "again", "out_of_focus"]

_COLUMNS: Final = 24
_STEP: Final = 0.9
"""Fields overlap a little, so that a cell on a border is seen whole once and must not be counted twice."""
_AGAIN: Final = 0.06
_OUT_OF_FOCUS: Final = 0.06
_FARTHEST_BACK: Final = 3
_EXPOSURE: Final = 0.25
"""The share of a frame's time in which the camera gathers light."""
_DRIFT_UM: Final = 0.09
_DRIFT_FRAMES: Final = 600


@dataclass(frozen=True, kw_only=True)
class Station:
    """A place where the stage rests: the number of its slot on the way, and why it is there."""

    slot: int
    corner_um: tuple[float, float]
    visit: Visit
    defocus_um: float


@dataclass(frozen=True, kw_only=True)
class StageView:
    """The stage during one frame.

    ``corner_um`` is the plane position of the picture's top left corner, ``travel_um`` how far the stage
    moves while the shutter is open (0, 0 at rest).
    """

    station: int
    corner_um: tuple[float, float]
    travel_um: tuple[float, float]
    defocus_um: float

    @property
    def at_rest(self) -> bool:
        """Whether the picture is free of motion."""
        return self.travel_um == (0.0, 0.0)


class Stage(Protocol):
    """What moves the slide under the objective."""

    def view(self, index: int) -> StageView:
        """The stage during the frame with this index, from 0."""
        ...

    def frames(self, fields: int) -> int:
        """How many frames it takes to rest at so many places."""
        ...


@dataclass(frozen=True, kw_only=True)
class Route:
    """A meander over the smear, field after field.

    Each station takes ``frames_per_station`` frames: a few to get there, the rest at rest. Now and then the
    stage goes back to a field that it has shown, or forgets to focus.
    """

    seed: int
    field_um: tuple[float, float]
    frames_per_station: int = 8

    def __post_init__(self) -> None:
        """Refuse a stage that never rests."""
        if self.frames_per_station < _SLOWEST_MOVE + 1:
            raise ValueError(f"a station takes at least {_SLOWEST_MOVE + 1} frames")

    def station(self, number: int) -> Station:
        """The station with this number, from 0."""
        rng = stream(self.seed, _STATION, number)
        chance = rng.random()
        back = int(rng.integers(1, _FARTHEST_BACK + 1))
        blur_um = float(rng.uniform(1.2, 2.5))
        if chance < _AGAIN and number >= _FARTHEST_BACK:
            earlier = self.station(number - back)
            return Station(slot=earlier.slot, corner_um=earlier.corner_um, visit="again", defocus_um=0.0)
        blurred = chance > 1 - _OUT_OF_FOCUS
        return Station(
            slot=number,
            corner_um=self._slot_um(number),
            visit="out_of_focus" if blurred else "new",
            defocus_um=blur_um if blurred else 0.0,
        )

    def view(self, index: int) -> StageView:
        """The stage during the frame with this index, from 0."""
        number, since = divmod(index, self.frames_per_station)
        here = self.station(number)
        phase = 2 * math.pi * index / _DRIFT_FRAMES
        drift_um = _DRIFT_UM * abs(math.sin(phase + self.seed % 7))
        defocus_um = math.hypot(here.defocus_um, drift_um)
        moving = int(stream(self.seed, _MOVE, number).integers(2, _SLOWEST_MOVE + 1)) if number else 0
        if since >= moving:
            return StageView(
                station=number, corner_um=here.corner_um, travel_um=(0.0, 0.0), defocus_um=defocus_um
            )
        before = self.station(number - 1).corner_um
        way_um = (here.corner_um[0] - before[0], here.corner_um[1] - before[1])
        opened, middle, closed = (
            _eased((since + 0.5 + share) / moving) for share in (-_EXPOSURE / 2, 0.0, _EXPOSURE / 2)
        )
        return StageView(
            station=number,
            corner_um=(before[0] + middle * way_um[0], before[1] + middle * way_um[1]),
            travel_um=((closed - opened) * way_um[0], (closed - opened) * way_um[1]),
            defocus_um=defocus_um,
        )

    def frames(self, fields: int) -> int:
        """How many frames so many stations take."""
        return fields * self.frames_per_station

    def _slot_um(self, slot: int) -> tuple[float, float]:
        row, column = divmod(slot, _COLUMNS)
        if row % 2:
            column = _COLUMNS - 1 - column
        return column * _STEP * self.field_um[0], row * _STEP * self.field_um[1]


_SLOWEST_MOVE: Final = 3
_STATION, _MOVE = range(2)


def _eased(share: float) -> float:
    """How much of the way is done at a share of the time, starting and stopping gently."""
    return share * share * (3 - 2 * share)
