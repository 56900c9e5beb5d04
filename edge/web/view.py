"""The seam between the station and its page: what the page may see, and the few things it may do.

The models are the page's JSON. The station fits ``StationView``; ``edge.web.testing.FakeStation`` fits it
for tests. Every method may be called from any thread, several at once, and must answer in milliseconds:
it looks at what the station holds already and waits for nothing but a short lock.
"""

from __future__ import annotations

import base64
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from typing_extensions import Self

from edge.analysis.focus_trend import FocusTrend
from edge.contract.manifest import Manifest
from edge.contract.message import BoxPx, Count
from edge.contract.records import BlastShare, CellResult, CoveredGround, ShareRow, StopAdvice
from edge.contract.status import HealthRecord
from edge.contract.taxonomy import ObjectKind
from edge.slide_map.sketch import Sketch

TARGET_CHOICES: Final = (100, 200, 400)
"""The counts that a person is offered at the opening, beside the station's own target."""

ScanOutcome = Literal["opened", "same", "ask"]
Verdict = Literal["artefact", "unclassified"]

CellId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]
"""Names one cell, and never another one, not after a restart either: ``{boot}-{field}-{index}`` does."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class BundleView(_Part):
    """Which networks give the answers."""

    name: str
    id: str
    release: int
    title: str
    classes: tuple[str, ...]
    blasts: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """What the page tells of a bundle; the id shortened to twelve digits."""
        classifier = manifest.classifier
        return cls(
            name=manifest.name,
            id=manifest.id[:12],
            release=manifest.release,
            title=classifier.vocabulary.title,
            classes=classifier.classes,
            blasts=tuple(name for name in classifier.classes if name in classifier.vocabulary.blasts),
        )


class CameraView(_Part):
    """The source of frames. ``refusal`` is why the newest frame is not a field; None where it is one."""

    name: str
    live: bool
    refusal: str | None = None


class SlideView(_Part):
    """A slide session so far: the one that is open, or the last one after it was closed.

    ``name`` is for the person at the microscope: the accession id, where this run was told it.
    ``recorded_as`` is what the records have. ``target_cells`` is how many named cells the differential is
    meant to reach.
    """

    name: str
    recorded_as: str
    state: Literal["open", "paused", "closed"]
    opened_at: AwareDatetime
    resumed: Count = 0
    fields: Count
    objects: Mapping[ObjectKind, Count]
    named_cells: Count
    doubtful_cells: Count
    out_of_distribution_cells: Count
    artefacts: Count = 0
    unclassified: Count = 0
    target_cells: Annotated[int, Field(gt=0)] = 100
    advice: StopAdvice | None = None
    differential: tuple[ShareRow, ...]
    blasts: BlastShare | None = None
    ground: CoveredGround | None = None


class GroundSight(_Part):
    """Where the camera looks on the map that has this ``version``; its picture's frame on the island.

    ``tracking`` is lost where nothing tells that, and off where nobody follows the camera.
    """

    version: Count = 0
    tracking: Literal["known", "lost", "off"] = "off"
    frame_px: BoxPx | None = None


class GroundMap(_Part):
    """The island where the camera looks, or was last known to, with the ground that its fields cover.

    ``squares`` has one bit a square (base64, row by row without padding, the first in the highest bit), set
    where there is covered ground; the first square's upper left corner lies at ``corner_px`` on the island.
    ``blasts_px`` are the middles of the newest cells that count as blasts. ``other_islands`` are parts of
    the slide of which it is not known where they lie. All in pixels of the frames. ``sight`` is of the same
    moment, until a state tells where the camera looks on this very version.
    """

    sight: GroundSight = GroundSight()
    fields: Count = 0
    frame_size_px: tuple[int, int] | None = None
    um_per_px: float | None = None
    corner_px: tuple[float, float] = (0.0, 0.0)
    square_px: float = 1.0
    columns: Count = 0
    rows: Count = 0
    squares: str = ""
    blasts_px: tuple[tuple[int, int], ...] = ()
    other_islands: Count = 0

    @classmethod
    def of(cls, sketch: Sketch, *, sight: GroundSight, blasts: Container[int]) -> Self:
        """What the page is told of a sketch, some 2 KB; of its dots those whose numbers are in ``blasts``."""
        return cls(
            sight=sight,
            fields=sketch.fields,
            frame_size_px=(sketch.lens.width_px, sketch.lens.height_px),
            um_per_px=sketch.lens.um_per_px,
            corner_px=sketch.corner_px,
            square_px=sketch.square_px,
            columns=sketch.columns,
            rows=sketch.rows,
            squares=base64.b64encode(sketch.squares).decode(),
            blasts_px=tuple(
                (round(dot.at_px[0]), round(dot.at_px[1])) for dot in sketch.dots if dot.number in blasts
            ),
            other_islands=sketch.other_islands,
        )


class PageState(_Part):
    """Everything on the page but the pictures. ``version`` is that of ``wait_for_change``.

    ``saved_records`` are on this station's disk or were; ``acknowledged_records`` are also where they are
    sent. Both count since the station's start. ``update`` says how a new bundle stands; empty without one.
    ``notice`` is what became of a slide that an earlier run left open; empty where there is nothing to say.
    ``targets`` are those offered at the opening, the station's own first; ``hides_ids`` says that records
    have a pseudonym in the place of an accession id. ``ground_map`` names the version of the map of the
    covered ground, which is asked for when that changes.
    """

    version: int
    software: str
    engine: str
    bundle: BundleView
    camera: CameraView
    slide: SlideView | None = None
    saved_records: Count
    acknowledged_records: Count
    health: HealthRecord
    update: str = ""
    notice: str = ""
    targets: Annotated[tuple[int, ...], Field(min_length=1)] = TARGET_CHOICES
    hides_ids: bool = True
    focus_trend: FocusTrend | None = None
    ground_map: GroundSight = GroundSight()


class PageCell(_Part):
    """A detected object as the page draws it; ``id`` is None where no crop of it is kept (red cells).

    ``verdict`` is what a person at the station called it, over the network's answer.
    """

    id: CellId | None = None
    result: CellResult
    verdict: Verdict | None = None


class GalleryGroup(_Part):
    """The latest cells of one class, newest first.

    ``name`` is a class or an answer that is none (``edge.contract.taxonomy``); a cell stands in one group
    alone.
    """

    name: str
    cells: tuple[PageCell, ...]


@dataclass(frozen=True, kw_only=True)
class LiveFrame:
    """What the camera sees now. ``sequence`` differs between different frames."""

    sequence: int
    width_px: int
    height_px: int
    jpeg: bytes


@dataclass(frozen=True, kw_only=True)
class FieldPicture:
    """The last field with what was found in it: picture and boxes of the same moment.

    ``sequence`` rises with every field since the station's start; ``field`` is its number on the slide.
    """

    sequence: int
    slide: str
    field: int
    width_px: int
    height_px: int
    cells: tuple[PageCell, ...]
    jpeg: bytes


class StationView(Protocol):
    """What the page asks of a station."""

    def snapshot(self) -> PageState:
        """The state now, consistent in itself."""
        ...

    def field(self) -> FieldPicture | None:
        """The last field; None before the first. Encodes when asked, so nobody watching costs nothing."""
        ...

    def frame_jpeg(self) -> LiveFrame | None:
        """The newest frame, whether the gates took it or not; None before the first."""
        ...

    def cell_jpeg(self, cell_id: str) -> bytes | None:
        """The crop of one cell; None where it is not, or no longer, kept.

        Those of the newest twelve of each group are, and some of the older ones.
        """
        ...

    def gallery(self) -> tuple[GalleryGroup, ...]:
        """The latest cells of the slide session by class; groups without a cell may be left out."""
        ...

    def ground_map(self) -> GroundMap:
        """The covered ground as it is drawn now."""
        ...

    def open_slide(self, slide: str | None, target_cells: int | None) -> None:
        """Begin a slide session, named by the station where ``slide`` is None; an open one is closed first.

        The slide that is open under this accession id goes on instead. ``target_cells`` None is the station's
        own target. Raises LeukoscopeError when it cannot be opened.
        """
        ...

    def scan_slide(self, slide: str) -> ScanOutcome:
        """A barcode was read: ``opened`` its slide, or went on with the ``same``; or ``ask``, and do nothing.

        It asks where another slide is open that has fields. Raises LeukoscopeError.
        """
        ...

    def pause_slide(self) -> None:
        """Count no more for now. Raises LeukoscopeError when none is open, or it is paused."""
        ...

    def resume_slide(self) -> None:
        """Count again. Raises LeukoscopeError when none is open, or it is not paused."""
        ...

    def close_slide(self) -> None:
        """Close the open session. Raises LeukoscopeError when none is open or it cannot be recorded."""
        ...

    def judge_cell(self, cell_id: str, verdict: Verdict | None) -> None:
        """Note a person's verdict on a cell of the open slide; None lets the network's answer stand again.

        Raises LeukoscopeError where the cell is not kept any longer, or the verdict cannot be recorded.
        """
        ...

    def wait_for_change(self, version: int, timeout_s: float) -> int:
        """Wait until the state's version is not ``version``, at most ``timeout_s``; the version then."""
        ...
