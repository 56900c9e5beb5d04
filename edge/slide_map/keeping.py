"""A slide map as small named values of bytes, so that it survives the process; little-endian, versioned.

``field/<n>`` is written once, when the field is counted: some 10 KB, most of it the thumbnail. ``spot/<n>``
follows whenever the field moves on the map; ``island/<n>`` when island n turns out to be part of another;
``same/<n>`` when cell n turns out to be another; ``state`` is what is left.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from typing_extensions import Self

from edge.errors import LeukoscopeError
from edge.slide_map.atlas import Lens, Link, Point, Spot
from edge.slide_map.census import MARK, Marks
from edge.vision.landmarks import WORDS, Landmarks
from edge.vision.reduction import Grey

_VERSION: Final = 1
_MOST_CELLS_A_FIELD: Final = 1000
_HEAD: Final = struct.Struct("<BIIdddd16sHHHHI")
_LINK: Final = struct.Struct("<Ifff")
_SPOT: Final = struct.Struct("<Idd")
_NUMBER: Final = struct.Struct("<I")
_POINT: Final = np.dtype("<f2")
_WORD: Final = np.dtype("<i4")
_STATE: Final = struct.Struct("<BIIII")


class MapDamagedError(LeukoscopeError):
    """Kept values that are no slide map."""

    exit_code = 74  # EX_IOERR


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptField:
    """A counted field as it was found; where it lies is told apart from it."""

    lens: Lens
    focus: float
    stage_px: Point | None
    digest: bytes
    thumbnail: Grey
    landmarks: Landmarks
    links: tuple[Link, ...]
    marks: Marks

    def to_bytes(self) -> bytes:
        """As it is kept."""
        x_px, y_px = self.stage_px if self.stage_px is not None else (math.nan, math.nan)
        head = _HEAD.pack(
            _VERSION,
            self.lens.width_px,
            self.lens.height_px,
            math.nan if self.lens.um_per_px is None else self.lens.um_per_px,
            self.focus,
            x_px,
            y_px,
            self.digest,
            self.thumbnail.shape[1],
            self.thumbnail.shape[0],
            len(self.landmarks.points),
            len(self.links),
            len(self.marks),
        )
        parts = (
            head,
            *(_LINK.pack(each.other, each.dx_px, each.dy_px, each.weight) for each in self.links),
            self.marks.astype(MARK).tobytes(),
            self.landmarks.points.astype(_POINT).tobytes(),
            self.landmarks.words.astype(_WORD).tobytes(),
            self.thumbnail.tobytes(),
        )
        return b"".join(parts)

    @classmethod
    def of_bytes(cls, value: bytes) -> Self:
        """As it was. Raises MapDamagedError."""
        head = _unpack(_HEAD, value[: _HEAD.size])
        version, width_px, height_px, um_per_px, focus, x_px, y_px, digest, columns, rows = head[:10]
        points, links, marks = head[10:]
        sizes = (
            _HEAD.size,
            links * _LINK.size,
            marks * MARK.itemsize,
            points * 2 * _POINT.itemsize,
            points * WORDS * _WORD.itemsize,
            columns * rows,
        )
        if version != _VERSION or len(value) != sum(sizes):
            raise _damaged("a field is cut short or of another version")
        ends = np.cumsum(sizes).tolist()
        parts = [value[start:end] for start, end in pairwise(ends)]
        return cls(
            lens=Lens(
                width_px=width_px,
                height_px=height_px,
                um_per_px=None if math.isnan(um_per_px) else um_per_px,
            ),
            focus=focus,
            stage_px=None if math.isnan(x_px) else (x_px, y_px),
            digest=digest,
            links=tuple(
                Link(other=other, dx_px=dx_px, dy_px=dy_px, weight=weight)
                for other, dx_px, dy_px, weight in _LINK.iter_unpack(parts[0])
            ),
            marks=np.frombuffer(parts[1], dtype=MARK).copy(),
            landmarks=Landmarks(
                points=np.frombuffer(parts[2], dtype=_POINT).reshape(-1, 2).astype(np.float32),
                words=np.frombuffer(parts[3], dtype=_WORD).reshape(-1, WORDS).astype(np.int32),
            ),
            thumbnail=np.frombuffer(parts[4], dtype=np.uint8).reshape(rows, columns).copy(),
        )


@dataclass(frozen=True, kw_only=True)
class KeptState:
    """What the map must not give twice, and what it tells of its past."""

    next_field: int
    next_island: int
    next_number: int
    tracking_losses: int

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return _STATE.pack(
            _VERSION, self.next_field, self.next_island, self.next_number, self.tracking_losses
        )

    @classmethod
    def of_bytes(cls, value: bytes) -> Self:
        """As it was. Raises MapDamagedError."""
        version, next_field, next_island, next_number, losses = _unpack(_STATE, value)
        if version != _VERSION:
            raise _damaged("its state is of another version")
        return cls(
            next_field=next_field, next_island=next_island, next_number=next_number, tracking_losses=losses
        )


def spot_to_bytes(spot: Spot) -> bytes:
    """Where a field lies, or how far the ground of a joined island was moved onto another one."""
    return _SPOT.pack(spot.island, spot.x_px, spot.y_px)


def spot_of_bytes(value: bytes) -> Spot:
    """As it was. Raises MapDamagedError."""
    island, x_px, y_px = _unpack(_SPOT, value)
    return Spot(island=island, x_px=x_px, y_px=y_px)


def number_to_bytes(number: int) -> bytes:
    """The number under which a cell is known."""
    return _NUMBER.pack(number)


def number_of_bytes(value: bytes) -> int:
    """As it was. Raises MapDamagedError."""
    return int(_unpack(_NUMBER, value)[0])


Fields = dict[int, tuple[KeptField, Spot]]


def kept_fields(values: Mapping[str, bytes]) -> tuple[Fields, dict[int, Spot], dict[int, int], KeptState]:
    """All that was kept: fields and where they lie, joined islands, cells that are others, the rest.

    Fields come in their order, and on the islands that are left. Raises MapDamagedError.
    """
    gone = {number: spot_of_bytes(value) for number, value in _numbered(values, "island")}
    spots = {
        number: _on_what_is_left(spot_of_bytes(value), gone) for number, value in _numbered(values, "spot")
    }
    fields = {}
    for number, value in _numbered(values, "field"):
        if number not in spots:
            raise _damaged(f"nothing tells where field {number} lies")
        fields[number] = (KeptField.of_bytes(value), spots[number])
    same = {number: number_of_bytes(value) for number, value in _numbered(values, "same")}
    if "state" not in values:
        raise _damaged("its state is missing")
    return fields, gone, same, KeptState.of_bytes(values["state"])


def beyond_all_numbers(values: Mapping[str, bytes]) -> int:
    """A number that no cell of a map has, be its values ever so damaged: by the names of its fields."""
    fields = [name.partition("/")[2] for name in values if name.startswith("field/")]
    return 1 + _MOST_CELLS_A_FIELD * max((int(each) for each in fields if each.isdecimal()), default=0)


def _on_what_is_left(spot: Spot, gone: Mapping[int, Spot]) -> Spot:
    """A spot on an island that was joined to another since, as it lies there."""
    for _ in range(len(gone) + 1):
        if spot.island not in gone:
            return spot
        onto = gone[spot.island]
        spot = Spot(island=onto.island, x_px=spot.x_px + onto.x_px, y_px=spot.y_px + onto.y_px)
    raise _damaged("islands are joined in a circle")


def _numbered(values: Mapping[str, bytes], kind: str) -> list[tuple[int, bytes]]:
    found = []
    for name, value in values.items():
        before, _, number = name.partition("/")
        if before == kind:
            if not number.isdecimal():
                raise _damaged(f"{name!r} names none of its values")
            found.append((int(number), value))
    return sorted(found)


def _unpack(shape: struct.Struct, value: bytes) -> tuple[Any, ...]:
    try:
        return shape.unpack(value)
    except struct.error as error:
        raise _damaged(str(error)) from error


def _damaged(why: str) -> MapDamagedError:
    return MapDamagedError(
        f"The kept slide map cannot be read: {why}.",
        remedy="Go on with a new map, or begin the slide anew: cells seen before may be counted again.",
    )
