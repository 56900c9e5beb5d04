"""The ground around the camera, for a person to see where counted fields lie and where none do yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MARGIN: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Counted fields near the camera.

    ``fields`` are their corners in frame widths and heights from the camera's own; ``frame_shape`` is a
    frame's height in widths. While ``tracking`` is false, they are told from the last field instead.
    """

    island: int
    tracking: bool
    reach_frames: float
    frame_shape: float
    fields: tuple[tuple[float, float], ...]

    def to_svg(self) -> str:
        """A picture of it without size or colours of its own; one unit is a frame's width.

        A path of class ``counted``, and a frame of class ``camera`` while the camera is followed.
        """
        reach, shape = self.reach_frames, self.frame_shape
        counted = "".join(f"M{x:.2f} {y * shape:.2f}h1v{shape:.3f}h-1z" for x, y in self.fields)
        left, top = -reach + _MARGIN, (-reach + _MARGIN) * shape
        camera = f'<rect class="camera" width="1" height="{shape:.3f}"/>' if self.tracking else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.2f} {top:.2f} {2 * reach:.2f} '
            f'{2 * reach * shape:.2f}"><path class="counted" d="{counted}"/>{camera}</svg>'
        )
