"""A hand's way over the virtual slide, judged by the gates, and the truth about what it showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge.analysis.cells import Cell
from edge.analysis.gates import Accepted, Gates, GateSettings, Reason
from edge.camera.virtual_slide import Conditions, Population, VirtualSlide
from edge.camera.virtual_slide.hand import Hand
from edge.camera.virtual_slide.objects import PlacedObject
from edge.contract.records import CoveredGround, FieldPlace
from edge.contract.taxonomy import ObjectKind
from edge.frame import Frame

Detect = Callable[[Frame], Sequence[Cell]]
BARELY = 0.15
"""A perfect detector need not find what shows less of itself."""


@dataclass
class Outcome:
    """What a tour showed and what was counted; white cells by the identity of the virtual slide's truth."""

    fields: int = 0
    frames: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    in_gated_view: set[int] = field(default_factory=set)
    counted: dict[int, int] = field(default_factory=dict)
    """Number on the map -> identity."""
    unknown: int = 0
    """Reported cells that lie where no white cell is: the detector's fault."""
    found: set[int] = field(default_factory=set)
    """Cells that the detector has found in some field that shows them whole."""
    split: set[int] = field(default_factory=set)
    """Cells that the detector has taken for two in some field."""
    withdrawn: int = 0
    ground: CoveredGround | None = None
    places: list[tuple[tuple[float, float], int, tuple[float, float]]] = field(default_factory=list)
    """True corner in um, island, corner on it in px."""

    @property
    def doubled(self) -> int:
        """How often a cell is counted beyond once."""
        return len(self.counted) - len(set(self.counted.values()))

    @property
    def doubled_by_the_map(self) -> int:
        """The same, but for cells that the detector itself takes for two."""
        counts = Counter(self.counted.values())
        return sum(count - 1 for identity, count in counts.items() if identity not in self.split)

    @property
    def missed_by_the_map(self) -> set[int]:
        """Cells that the detector has found whole, and that are not counted."""
        return self.found - set(self.counted.values())

    @property
    def missed(self) -> set[int]:
        """The cells that lay whole in a frame that passed the gates, and are not counted."""
        return self.in_gated_view - set(self.counted.values())

    def told(self) -> str:
        """The counts in a line."""
        return (
            f"{self.fields} fields of {self.frames} frames, {len(self.in_gated_view)} white cells in gated "
            f"view: {self.doubled} counted twice, {len(self.missed)} missed, {self.withdrawn} withdrawn, "
            f"{self.ground}"
        )


def hand_slide(
    *, seed: int, width_px: int, height_px: int, fields: int, tells_stage: bool = False
) -> VirtualSlide:
    """A camera over a slide that is moved by hand; the field is 51 x 38 um whatever its pixels."""
    um_per_px = 51.2 / width_px
    conditions = Conditions(population=Population(bare=0.0, white_cells_per_field=6.0))
    return VirtualSlide(
        seed=seed,
        width_px=width_px,
        height_px=height_px,
        um_per_px=um_per_px,
        fields=fields,
        live=False,
        conditions=conditions,
        stage=Hand(seed=seed, field_um=(width_px * um_per_px, height_px * um_per_px)),
        tells_stage=tells_stage,
    )


def perfect(camera: VirtualSlide) -> Detect:
    """A detector that knows the truth."""

    def detect(frame: Frame) -> Sequence[Cell]:
        return [
            Cell(box_px=each.box_px, kind=each.object.kind, score=1.0)
            for each in camera.truth(frame)
            if each.visible >= BARELY
        ]

    return detect


def tour(camera: VirtualSlide, detect: Detect, settings: GateSettings | None = None) -> Outcome:
    """Drive over the slide and count."""
    gates = Gates(settings or GateSettings())
    outcome = Outcome()
    with camera:
        while (frame := camera.read()) is not None:
            outcome.frames += 1
            verdict = gates.judge(frame)
            if isinstance(verdict, Accepted):
                truth = [each for each in camera.truth(frame) if each.object.kind is ObjectKind.WBC]
                place = _count(outcome, gates, verdict, detect(frame), truth)
                corner_um = camera.stage.view(frame.index).corner_um
                outcome.places.append((corner_um, place.island, place.corner_px))
            else:
                outcome.refusals[verdict.reason.value] += 1
            if isinstance(verdict, Accepted) or verdict.reason is Reason.ALREADY_COUNTED:
                outcome.in_gated_view |= {
                    each.object.identity
                    for each in camera.truth(frame)
                    if each.object.kind is ObjectKind.WBC and each.visible == 1
                }
    outcome.ground = gates.slide_map.ground
    return outcome


def _count(
    outcome: Outcome, gates: Gates, accepted: Accepted, cells: Sequence[Cell], truth: Sequence[PlacedObject]
) -> FieldPlace:
    outcome.fields += 1
    whole = {each.object.identity for each in truth if each.visible == 1}
    boxes = Counter(_identity(cell, truth) for cell in cells if cell.kind is ObjectKind.WBC)
    outcome.found |= whole & {identity for identity in boxes if identity is not None}
    outcome.split |= {identity for identity, count in boxes.items() if identity is not None and count > 1}
    admitted = gates.slide_map.admit(accepted.place, cells)
    assert admitted.place is not None
    for number in admitted.place.withdrawn_cells:
        outcome.withdrawn += 1
        outcome.counted.pop(number, None)
    for cell in admitted.cells:
        if cell.kind is not ObjectKind.WBC:
            continue
        assert cell.number is not None
        identity = _identity(cell, truth)
        if identity is None:
            outcome.unknown += 1
        else:
            outcome.counted[cell.number] = identity
    return admitted.place


def _identity(cell: Cell, truth: Sequence[PlacedObject]) -> int | None:
    """The true white cell that a box lies on."""
    x_px, y_px = cell.centre_px
    inside = [
        each
        for each in truth
        if each.box_px[0] <= x_px <= each.box_px[2] and each.box_px[1] <= y_px <= each.box_px[3]
    ]
    if not inside:
        return None
    nearest = min(
        inside,
        key=lambda each: (
            abs((each.box_px[0] + each.box_px[2]) / 2 - x_px)
            + abs((each.box_px[1] + each.box_px[3]) / 2 - y_px)
        ),
    )
    return nearest.object.identity
