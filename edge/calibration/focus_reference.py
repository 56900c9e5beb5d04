"""How sharp a picture this objective can give, from a sweep of the focus over a stained place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from edge.errors import CalibrationError
from edge.frame import Pixels
from edge.vision.focus import sharpness
from edge.vision.reduction import reduce_frame
from edge.vision.stain import stained_share

MIN_PICTURES: Final = 8
QUANTILE: Final = 0.9
"""Not the sharpest picture, which a speck of dust or a moment's noise may have made."""

_MIN_STAINED_SHARE: Final = 0.02
_MIN_RISE: Final = 1.3
_EDGE_SHARE: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class FocusReference:
    """The sharpness (``edge.vision.focus``) of a stained field in focus under this objective.

    ``blurred`` is that of the sweep's blurriest tenth, and ``pictures`` how many the sweep had.
    """

    sharpness: float
    blurred: float
    pictures: int


def measure_focus_reference(sweep: Iterable[Pixels]) -> FocusReference:
    """The 90th percentile of sharpness over pictures taken while the focus is turned through the sample.

    Raises CalibrationError where the pictures are few or unstained, or where the focus was not passed: then
    the sharpest picture stands at the sweep's beginning or end, or is hardly sharper than the others.
    """
    measures = []
    for picture in sweep:
        reduction = reduce_frame(picture)
        if stained_share(reduction.rgb) >= _MIN_STAINED_SHARE:
            measures.append(sharpness(reduction.fine_green))
    if len(measures) < MIN_PICTURES:
        raise CalibrationError(
            f"Only {len(measures)} pictures of the sweep show a stained place, of {MIN_PICTURES} needed.",
            remedy="Turn the fine focus slowly to and fro over a place full of cells.",
        )
    values = np.asarray(measures)
    best, blurred = float(np.quantile(values, QUANTILE)), float(np.quantile(values, 1 - QUANTILE))
    if best < _MIN_RISE * blurred:
        raise CalibrationError(
            f"The sharpness hardly changes over the sweep ({blurred:.2f} to {best:.2f}).",
            remedy="Begin out of focus, turn slowly through the focus, and end out of focus beyond it.",
        )
    margin = max(1, round(_EDGE_SHARE * values.size))
    if float(values[margin:-margin].max()) < best:
        raise CalibrationError(
            "The sharpest pictures are the first or the last of the sweep: the focus was not passed.",
            remedy="Begin out of focus, turn slowly through the focus, and end out of focus beyond it.",
        )
    return FocusReference(sharpness=best, blurred=blurred, pictures=values.size)
