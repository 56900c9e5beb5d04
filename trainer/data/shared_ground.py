"""Frames of two lists that show the same place of one smear: a leak that no file name tells of."""

from __future__ import annotations

from collections.abc import Sequence

from edge.vision.reduction import reduce_frame
from edge.vision.registration import Plate, plate_of, register
from trainer.data.frames import LabelledFrame


def sharing_ground(
    frames: Sequence[LabelledFrame], *, others: Sequence[LabelledFrame]
) -> tuple[LabelledFrame, ...]:
    """Those of ``frames`` that show ground which one of ``others`` shows too, in their own order.

    Found by registration of every pair; overlaps of less than a tenth of a frame are not seen.
    """
    known = [_plate(other) for other in others]
    return tuple(frame for frame in frames if _shows_any(_plate(frame), known))


def _plate(frame: LabelledFrame) -> Plate:
    return plate_of(reduce_frame(frame.pixels).fine_green)


def _shows_any(plate: Plate, known: Sequence[Plate]) -> bool:
    return any((found := register(each, plate)) is not None and found.trusted for each in known)
