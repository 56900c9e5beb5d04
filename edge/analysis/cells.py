"""What the analysis finds in a field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.contract.records import CellResult
from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels


@dataclass(frozen=True, kw_only=True)
class Naming:
    """The classifier's answer for one white cell.

    A cell that is ``doubtful`` or ``out_of_distribution`` keeps its most probable class here, but is not
    counted under it.
    """

    cell_class: str
    probability: float
    probabilities: Mapping[str, float]
    distance: float
    out_of_distribution: bool
    doubtful: bool

    @property
    def counts(self) -> bool:
        """Whether the cell takes part in the differential under its class."""
        return not (self.doubtful or self.out_of_distribution)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """One detected object; white cells have a naming and the crop that was named.

    ``box_px`` is x0, y0, x1, y1 in pixels of the frame. ``number`` names a white cell for the whole slide
    and is given by the slide map, None before and elsewhere: the same number in a later field is the same
    cell in a better view. ``cut_off`` says that the cell reaches beyond the frame. ``position_px`` is its
    middle on its island of the map, in pixels of the frames.
    """

    box_px: tuple[float, float, float, float]
    kind: ObjectKind
    score: float
    naming: Naming | None = None
    crop: Pixels | None = None
    number: int | None = None
    cut_off: bool | None = None
    position_px: tuple[float, float] | None = None

    @property
    def centre_px(self) -> tuple[float, float]:
        """The middle of the box."""
        x0, y0, x1, y1 = self.box_px
        return (x0 + x1) / 2, (y0 + y1) / 2

    def result(self) -> CellResult:
        """The cell as it goes into a record, rounded to what the networks can mean."""
        left, top, right, bottom = (round(edge, 1) for edge in self.box_px)
        box_px, score = (left, top, right, bottom), round(self.score, 4)
        position_px = None
        if self.position_px is not None:
            position_px = (round(self.position_px[0], 1), round(self.position_px[1], 1))
        if self.naming is None:
            return CellResult(
                box_px=box_px,
                object=self.kind,
                score=score,
                number=self.number,
                cut_off=self.cut_off,
                position_px=position_px,
            )
        return CellResult(
            box_px=box_px,
            object=self.kind,
            score=score,
            number=self.number,
            cut_off=self.cut_off,
            position_px=position_px,
            cell_class=self.naming.cell_class,
            probability=round(self.naming.probability, 4),
            probabilities={name: round(value, 4) for name, value in self.naming.probabilities.items()},
            distance=round(self.naming.distance, 3),
            out_of_distribution=self.naming.out_of_distribution,
            doubtful=self.naming.doubtful,
        )
