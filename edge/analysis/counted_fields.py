"""Which part of a frame earlier fields of the slide have shown already."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from edge.contract.message import BoxPx
from edge.frame import Frame
from edge.vision.reduction import Reduction
from edge.vision.registration import Plate, plate_of, register

_BoxUm = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """What tells a frame's place on the smear: the stage, where the camera knows it, else the picture."""

    width_px: int
    height_px: int
    um_per_px: float | None
    box_um: _BoxUm | None
    plate: Plate | None
    digest: bytes


def place_of(frame: Frame, reduction: Reduction) -> Place:
    """The place of ``frame``. Its picture is prepared for comparison only where the stage is not known."""
    box_um = None
    if frame.stage_um is not None and frame.um_per_px is not None:
        x_um, y_um = frame.stage_um
        box_um = (
            x_um,
            y_um,
            x_um + frame.width_px * frame.um_per_px,
            y_um + frame.height_px * frame.um_per_px,
        )
    return Place(
        width_px=frame.width_px,
        height_px=frame.height_px,
        um_per_px=frame.um_per_px,
        box_um=box_um,
        plate=plate_of(reduction.fine_green) if box_um is None else None,
        digest=hashlib.blake2b(reduction.rgb.tobytes(), digest_size=16).digest(),
    )


class CountedFields:
    """The fields of one slide.

    Places that the stage tells are kept for the whole slide, a few numbers each. Pictures are compared with
    the ``remembered`` latest alone; a picture that comes again exactly is known for the whole slide.
    """

    def __init__(self, *, remembered: int) -> None:
        self._boxes_um: list[_BoxUm] = []
        self._plates: deque[Plate] = deque(maxlen=remembered)
        self._digests: set[bytes] = set()

    def add(self, place: Place) -> None:
        """Count ``place``."""
        if place.box_um is not None:
            self._boxes_um.append(place.box_um)
        if place.plate is not None:
            self._plates.append(place.plate)
        self._digests.add(place.digest)

    def take_back(self, place: Place) -> None:
        """Undo the ``add`` of ``place``."""
        if place.box_um in self._boxes_um:
            self._boxes_um.remove(place.box_um)
        # Plates are told apart by identity: an older one may have made way for newer ones since.
        kept = [plate for plate in self._plates if plate is not place.plate]
        self._plates = deque(kept, maxlen=self._plates.maxlen)
        self._digests.discard(place.digest)

    def covered_px(self, place: Place, *, enough: float = 1.0) -> tuple[BoxPx, ...]:
        """The parts of ``place``, in its frame's pixels, that counted fields have shown; latest first.

        Stops at a part of more than ``enough`` of the frame: a stage at rest costs one comparison.
        """
        if place.box_um is None and place.digest in self._digests:
            return ((0.0, 0.0, float(place.width_px), float(place.height_px)),)
        found = []
        for box in self._parts(place):
            found.append(box)
            if share_of(box, place) > enough:
                break
        return tuple(found)

    def _parts(self, place: Place) -> Iterator[BoxPx]:
        if place.box_um is not None and place.um_per_px is not None:
            left_um, top_um = place.box_um[:2]
            for box_um in reversed(self._boxes_um):
                across = _common(place.box_um[0], place.box_um[2], box_um[0], box_um[2])
                down = _common(place.box_um[1], place.box_um[3], box_um[1], box_um[3])
                if across and down:
                    yield (
                        (across[0] - left_um) / place.um_per_px,
                        (down[0] - top_um) / place.um_per_px,
                        (across[1] - left_um) / place.um_per_px,
                        (down[1] - top_um) / place.um_per_px,
                    )
        if place.plate is None:
            return
        for plate in reversed(self._plates):
            found = register(plate, place.plate)
            if found is not None and found.trusted:
                across_share, down_share = found.shift
                yield (
                    max(0.0, -across_share) * place.width_px,
                    max(0.0, -down_share) * place.height_px,
                    min(1.0, 1.0 - across_share) * place.width_px,
                    min(1.0, 1.0 - down_share) * place.height_px,
                )


def share_of(box: BoxPx, place: Place) -> float:
    """The share of the frame, 0 to 1, that ``box`` takes up."""
    return (box[2] - box[0]) * (box[3] - box[1]) / (place.width_px * place.height_px)


def _common(low: float, high: float, other_low: float, other_high: float) -> tuple[float, float] | None:
    start, end = max(low, other_low), min(high, other_high)
    return (start, end) if start < end else None
