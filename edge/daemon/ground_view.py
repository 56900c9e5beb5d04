"""The covered ground as the page is shown it: the slide map's sketch, told anew only where it changed."""

from __future__ import annotations

from collections.abc import Callable

from edge.contract.message import BoxPx
from edge.slide_map.sketch import ShownGround, Sketch
from edge.web.view import GroundMap, GroundSight


class GroundView:
    """Gives what the map shows a version, and keeps it from a slide that it is not of.

    ``shown`` and ``blasts`` (the numbers of the cells that count as such now) are read and never wait.
    ``followed`` says whether frames are given to the map at all; else nobody knows where the camera
    looks, and the page does not claim it. Its methods are called under the page's lock.
    """

    def __init__(
        self,
        *,
        shown: Callable[[], ShownGround],
        blasts: Callable[[], tuple[int, ...]],
        followed: Callable[[], bool],
    ) -> None:
        self._shown = shown
        self._blasts = blasts
        self._followed = followed
        self._version = 0
        self._told: tuple[Sketch | None, tuple[int, ...]] = (None, ())
        self._of_before: Sketch | None = None

    def begin_slide(self) -> None:
        """Another slide was opened: until the map has heard of it, it shows the slide before."""
        self._of_before = self._shown().sketch

    def sight(self) -> GroundSight:
        """Where the camera looks, and the version of the map beside which that is to be drawn."""
        shown, sketch = self._now()
        if sketch is None or not self._followed():
            return GroundSight(version=self._version)
        frame: BoxPx | None = None
        if shown.frame is not None:
            left, top = round(shown.frame.x_px, 1), round(shown.frame.y_px, 1)
            frame = (left, top, left + sketch.lens.width_px, top + sketch.lens.height_px)
        return GroundSight(version=self._version, tracking=shown.tracking, frame_px=frame)

    def map(self) -> GroundMap:
        """The island that the page draws, of bounded size however many fields it has."""
        sight, (sketch, blasts) = self.sight(), self._told
        return GroundMap(sight=sight) if sketch is None else GroundMap.of(sketch, sight=sight, blasts=blasts)

    def _now(self) -> tuple[ShownGround, Sketch | None]:
        shown, blasts = self._shown(), self._blasts()
        sketch = None if shown.sketch is self._of_before else shown.sketch
        if sketch is not self._told[0] or blasts != self._told[1]:
            self._told = (sketch, blasts)
            self._version += 1
        return shown, sketch
