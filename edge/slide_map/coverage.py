"""How much of a field other fields have shown: their union, on a raster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.slide_map.atlas import Lens

_COLUMNS: Final = 64
_ROWS: Final = 48
_MARGIN: Final = 0.6
"""In diameters of a large cell: where its middle lies nearer to the edge, the frame may cut it."""

_LARGEST_MARGIN: Final = 0.25


def covered_share(
    corners_px: Iterable[tuple[float, float]], *, width_px: float, height_px: float, margin_px: float = 0.0
) -> float:
    """The share of a field, 0 to 1, that fields with these corners show; the corners as seen from its own.

    With ``margin_px`` every field, this one too, counts without a border of that width: what remains is
    where the middle of a cell of twice that size lies when the field shows it whole.
    """
    across = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * (width_px - 2 * margin_px)
    down = (np.arange(_ROWS) + 0.5) / _ROWS * (height_px - 2 * margin_px)
    shown: NDArray[np.bool_] = np.zeros((_ROWS, _COLUMNS), dtype=np.bool_)
    for left, top in corners_px:
        columns = (across >= left) & (across < left + width_px - 2 * margin_px)
        rows = (down >= top) & (down < top + height_px - 2 * margin_px)
        shown |= rows[:, None] & columns[None, :]
    return float(shown.mean())


def whole_cell_margin_px(large_px: float | None, lens: Lens) -> float:
    """The border of a field where the middle of a large cell may lie and the field cut it.

    0 while it is not known how large cells are, and never more than a quarter of the field's height.
    """
    if large_px is None:
        return 0.0
    return min(_MARGIN * large_px, _LARGEST_MARGIN * min(lens.width_px, lens.height_px))
