"""The ground of the page's fake station: a way in lines to and fro over a smear."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edge.contract.records import CoveredGround
from edge.slide_map.atlas import Lens, Spot
from edge.slide_map.sketch import Dot, Drawing
from edge.web.drawn_smear import HEIGHT_PX, WIDTH_PX
from edge.web.view import GroundMap, GroundSight, PageCell

_LENS: Final = Lens(width_px=WIDTH_PX, height_px=HEIGHT_PX, um_per_px=0.1)
_FIELDS_A_LINE: Final = 6
_STEP_PX: Final = (540.0, 400.0)


class DrawnGround:
    """Where the fields of a drawn smear lie, and where its camera looks."""

    def __init__(self) -> None:
        self._version = 0
        self.begin()

    def begin(self) -> None:
        """Begin a slide."""
        self._islands = 0
        self._begin_island()
        self._frame: Spot | None = None

    def count(self, cells: Iterable[PageCell]) -> None:
        """The next field of the way is counted; after the place was lost, the first one of other ground."""
        if self._frame is None:
            self._begin_island()
            self._islands += 1
        line, place = divmod(self._drawing.fields, _FIELDS_A_LINE)
        column = place if line % 2 == 0 else _FIELDS_A_LINE - 1 - place
        self._frame = Spot(island=self._islands, x_px=column * _STEP_PX[0], y_px=line * _STEP_PX[1])
        self._drawing.lay(self._drawing.rectangle(self._frame))
        for each in cells:
            if each.result.cell_class == "blast" and not (
                each.result.doubtful or each.result.out_of_distribution
            ):
                left, top, right, bottom = each.result.box_px
                middle = self._frame.moved((left + right) / 2, (top + bottom) / 2)
                self._blasts.append(Dot(number=len(self._blasts) + 1, at_px=(middle.x_px, middle.y_px)))
        self._version += 1

    def move(self, dx_px: float, dy_px: float) -> None:
        """Have the stage moved by that."""
        if self._frame is not None:
            self._frame = self._frame.moved(dx_px, dy_px)

    def lose(self) -> None:
        """Have the stage moved so far at once that nobody knows where it is."""
        self._frame = None

    @property
    def sight(self) -> GroundSight:
        """Where the camera looks."""
        if not self._islands:
            return GroundSight(version=self._version)
        if self._frame is None:
            return GroundSight(version=self._version, tracking="lost")
        left, top = self._frame.x_px, self._frame.y_px
        frame_px = (left, top, left + WIDTH_PX, top + HEIGHT_PX)
        return GroundSight(version=self._version, tracking="known", frame_px=frame_px)

    @property
    def map(self) -> GroundMap:
        """What is covered."""
        if not self._islands:
            return GroundMap(sight=self.sight)
        sketch = self._drawing.sketch(
            self._islands, dots=tuple(self._blasts), other_islands=self._islands - 1
        )
        return GroundMap.of(sketch, sight=self.sight, blasts=range(len(self._blasts) + 1))

    def covered(self, fields: int) -> CoveredGround:
        """The same in figures."""
        return CoveredGround(
            frames=0.9 * fields,
            mm2=0.0018 * fields,
            islands=max(1, self._islands),
            tracking_losses=max(0, self._islands - 1),
        )

    def _begin_island(self) -> None:
        self._drawing = Drawing(_LENS)
        self._blasts: list[Dot] = []
        self._version += 1
