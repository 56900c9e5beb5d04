"""A station that is not there: fits ``StationView``, goes on when told to, and draws its own smear.

The same seed and the same calls give the same page, bytes and all, but for ``now``.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final, Literal

import cv2
import numpy as np

from edge.analysis.differential import Differentials
from edge.analysis.focus_trend import FocusTrend
from edge.contract.records import StopAdvice
from edge.contract.status import HealthRecord, StageLatency
from edge.contract.taxonomy import (
    ARTEFACT,
    DIFFERENTIAL,
    DOUBTFUL,
    OUT_OF_DISTRIBUTION,
    UNCLASSIFIED,
    ObjectKind,
)
from edge.errors import LeukoscopeError
from edge.frame import Pixels
from edge.web.drawn_ground import DrawnGround
from edge.web.drawn_smear import CLASSES, HEIGHT_PX, WIDTH_PX, DrawnSmear, confusion
from edge.web.view import (
    TARGET_CHOICES,
    BundleView,
    CameraView,
    FieldPicture,
    GalleryGroup,
    GroundMap,
    LiveFrame,
    PageCell,
    PageState,
    ScanOutcome,
    SlideView,
    Verdict,
)

KEPT_PER_GROUP: Final = 12
_START: Final = datetime(2026, 3, 2, 9, 30, tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class _Field:
    sequence: int
    slide: str
    number: int
    pixels: Pixels
    cells: tuple[PageCell, ...]


class FakeStation:
    """A station in memory with an open slide. ``advance`` captures fields, ``refuse`` has a frame refused."""

    def __init__(
        self, *, seed: int = 7, cells_per_field: int = 3, now: Callable[[], datetime] | None = None
    ) -> None:
        self._smear = DrawnSmear(seed=seed, cells_per_field=cells_per_field)
        self._now = now or (lambda: datetime.now(timezone.utc))
        self._changed = threading.Condition()
        self._version = 1
        self._frames = 0
        self._fields = 0
        self._refusals: Counter[str] = Counter()
        self._refusal: str | None = None
        self._frame: Pixels | None = None
        self._field: _Field | None = None
        self._crops: dict[str, Pixels] = {}
        self._problems: tuple[str, ...] = ()
        self._camera: Literal["streaming", "lost", "finished", "starting"] = "streaming"
        self._broker: Literal["connected", "disconnected", "off"] = "connected"
        self._unacknowledged = 0
        self._update = ""
        self._notice = ""
        self._focus_trend: FocusTrend | None = None
        self.ground = DrawnGround()
        self._differentials = Differentials(confusion=confusion(), blasts=("blast",))
        self._slides = 0
        self._state: Literal["open", "paused", "closed"]
        self._recorded_as: str
        self._resumed: int
        self._begin_slide(None, None)

    def advance(self, fields: int = 1) -> None:
        """Take ``fields`` fields, each with new cells."""
        for _ in range(fields):
            with self._changed:
                self._frames += 1
                self._fields += 1
                self._slide_fields += 1
                self._refusal = None
                drawn = self._smear.draw(f"4-{self._fields}")
                self._frame = drawn.pixels
                self._field = _Field(
                    sequence=self._fields,
                    slide=self._slide,
                    number=self._slide_fields,
                    pixels=drawn.pixels,
                    cells=drawn.cells,
                )
                if self._state == "open":
                    self.ground.count(drawn.cells)
                    self._crops.update(drawn.crops)
                    self._count(drawn.cells)
                if self._broker != "connected":
                    self._unacknowledged += 1
                self._touch()

    def refuse(self, reason: str, *, frames: int = 1) -> None:
        """Have the gates refuse frames, the last one blurred so that it is seen to be another one."""
        with self._changed:
            self._frames += frames
            self._refusal = reason
            self._refusals[reason] += frames
            drawn = self._smear.draw("refused")
            self._frame = cv2.GaussianBlur(drawn.pixels, (0, 0), 6).astype(np.uint8)
            self._touch()

    def suffer(
        self,
        *problems: str,
        camera: Literal["streaming", "lost", "finished", "starting"] = "streaming",
        broker: Literal["connected", "disconnected", "off"] = "connected",
    ) -> None:
        """Have these problems, and no others."""
        with self._changed:
            self._problems = problems
            self._camera = camera
            self._broker = broker
            if broker == "connected":
                self._unacknowledged = 0
            self._touch()

    def bring(self, update: str) -> None:
        """Have a new bundle stand as ``update`` says; empty for none."""
        with self._changed:
            self._update = update
            self._touch()

    def tell(self, notice: str) -> None:
        """Have this to say of a slide that an earlier run left open."""
        with self._changed:
            self._notice = notice
            self._touch()

    def turn_focus(self, trend: FocusTrend | None) -> None:
        """Have somebody turn the fine focus."""
        with self._changed:
            self._focus_trend = trend
            self._touch()

    def restart(self) -> None:
        """End and begin another run, which goes on with the slide and no longer knows its accession id."""
        with self._changed:
            self._resumed += 1
            self._slide = self._recorded_as
            self._touch()

    def snapshot(self) -> PageState:
        """As StationView."""
        with self._changed:
            return PageState(
                version=self._version,
                software="leukoscope 0.1.0",
                engine="drawn, not inferred",
                bundle=BundleView(
                    name="starter",
                    id="3f9c2b7a10de",
                    release=1,
                    title=DIFFERENTIAL.title,
                    classes=CLASSES,
                    blasts=("blast",),
                ),
                camera=CameraView(name="drawn smear", live=True, refusal=self._refusal),
                slide=self._slide_view(),
                saved_records=self._fields,
                acknowledged_records=self._fields - self._unacknowledged,
                health=self._health(),
                update=self._update,
                notice=self._notice,
                focus_trend=self._focus_trend,
                ground_map=self.ground.sight,
            )

    def field(self) -> FieldPicture | None:
        """As StationView."""
        with self._changed:
            field = self._field
        if field is None:
            return None
        return FieldPicture(
            sequence=field.sequence,
            slide=field.slide,
            field=field.number,
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
            cells=field.cells,
            jpeg=_encode(field.pixels),
        )

    def frame_jpeg(self) -> LiveFrame | None:
        """As StationView."""
        with self._changed:
            frame, sequence = self._frame, self._frames
        if frame is None:
            return None
        return LiveFrame(sequence=sequence, width_px=WIDTH_PX, height_px=HEIGHT_PX, jpeg=_encode(frame))

    def cell_jpeg(self, cell_id: str) -> bytes | None:
        """As StationView."""
        with self._changed:
            crop = self._crops.get(cell_id)
        return None if crop is None else _encode(crop)

    def gallery(self) -> tuple[GalleryGroup, ...]:
        """As StationView."""
        with self._changed:
            return tuple(
                GalleryGroup(name=name, cells=tuple(self._gallery[name]))
                for name in (*CLASSES, DOUBTFUL, OUT_OF_DISTRIBUTION, ARTEFACT, UNCLASSIFIED)
                if self._gallery.get(name)
            )

    def ground_map(self) -> GroundMap:
        """As StationView."""
        with self._changed:
            return self.ground.map

    def open_slide(self, slide: str | None, target_cells: int | None) -> None:
        """As StationView; the name "full" is refused as a full disk would refuse it."""
        if slide == "full":
            raise LeukoscopeError("The disk is full: no slide can be opened.", remedy="Free some space.")
        with self._changed:
            if slide is not None and self._state != "closed" and self._recorded_as == _hidden(slide):
                self._slide, self._state = slide, "open"
            else:
                self._begin_slide(slide, target_cells)
            self._touch()

    def scan_slide(self, slide: str) -> ScanOutcome:
        """As StationView."""
        same = self._state != "closed" and self._recorded_as == _hidden(slide)
        if self._state != "closed" and not same and self._slide_fields:
            return "ask"
        self.open_slide(slide, None)
        return "same" if same else "opened"

    def pause_slide(self) -> None:
        """As StationView."""
        self._change_state("open", "paused")

    def resume_slide(self) -> None:
        """As StationView."""
        self._change_state("paused", "open")

    def close_slide(self) -> None:
        """As StationView."""
        self._change_state(self._state, "closed")

    def judge_cell(self, cell_id: str, verdict: Verdict | None) -> None:
        """As StationView."""
        with self._changed:
            for name, cells in self._gallery.items():
                for cell in [each for each in cells if each.id == cell_id]:
                    cells.remove(cell)
                    self._tally[name] -= 1
                    judged = cell.model_copy(update={"verdict": verdict})
                    self._tally[_group(judged)] += 1
                    self._gallery.setdefault(_group(judged), deque(maxlen=KEPT_PER_GROUP)).appendleft(judged)
                    self._touch()
                    return
        raise LeukoscopeError("This cell is not kept here any longer.", remedy="Review it in the collector.")

    def wait_for_change(self, version: int, timeout_s: float) -> int:
        """As StationView."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout_s)
            return self._version

    def _touch(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _change_state(
        self, before: Literal["open", "paused", "closed"], after: Literal["open", "paused", "closed"]
    ) -> None:
        with self._changed:
            if self._state == "closed":
                raise LeukoscopeError("No slide is open.", remedy="Open one first.")
            if self._state != before:
                raise LeukoscopeError(f"The slide is {self._state} already.")
            self._state = after
            self._touch()

    def _begin_slide(self, slide: str | None, target_cells: int | None) -> None:
        self._slides += 1
        self._slide = slide or f"slide-{self._slides:04d}"
        self._recorded_as = _hidden(slide) if slide else self._slide
        self._state = "open"
        self._resumed = 0
        self._notice = ""
        self._target_cells = target_cells or TARGET_CHOICES[0]
        self._opened_at = _START + timedelta(minutes=11 * self._slides)
        self._slide_fields = 0
        self.ground.begin()
        self._tally: Counter[str] = Counter()
        self._objects: Counter[ObjectKind] = Counter()
        self._gallery: dict[str, deque[PageCell]] = {}

    def _count(self, cells: tuple[PageCell, ...]) -> None:
        for cell in cells:
            self._objects[cell.result.object] += 1
            if cell.result.cell_class is not None:
                self._tally[_group(cell)] += 1
                self._gallery.setdefault(_group(cell), deque(maxlen=KEPT_PER_GROUP)).appendleft(cell)

    def _slide_view(self) -> SlideView:
        differential = self._differentials.of(self._tally)
        reached = differential.named_cells >= self._target_cells
        return SlideView(
            name=self._slide,
            recorded_as=self._recorded_as,
            state=self._state,
            opened_at=self._opened_at,
            resumed=self._resumed,
            fields=self._slide_fields,
            objects={kind: self._objects[kind] for kind in ObjectKind},
            named_cells=differential.named_cells,
            doubtful_cells=self._tally[DOUBTFUL],
            out_of_distribution_cells=self._tally[OUT_OF_DISTRIBUTION],
            artefacts=self._tally[ARTEFACT],
            unclassified=self._tally[UNCLASSIFIED],
            target_cells=self._target_cells,
            advice=StopAdvice(
                decision="target_reached" if reached else "count_on", cells=differential.named_cells
            ),
            differential=differential.rows,
            blasts=differential.blasts,
            ground=self.ground.covered(self._slide_fields),
        )

    def _health(self) -> HealthRecord:
        return HealthRecord(
            site="haematology",
            station="bench-2",
            boot=4,
            recorded_at=self._now(),
            uptime_s=61.0 + self._frames,
            camera=self._camera,
            frames=self._frames,
            frames_dropped=self._frames // 9,
            fields=self._fields,
            refusals=dict(self._refusals),
            latencies={
                "analysis": StageLatency(p50_ms=54.0, p99_ms=80.3),
                "saving": StageLatency(p50_ms=1.9, p99_ms=6.3),
                "frame_to_record": StageLatency(p50_ms=57.8, p99_ms=91.2),
            },
            queues={"frames": 0, "fields": min(2, self._fields)},
            outbox_records=self._unacknowledged,
            outbox_bytes=self._unacknowledged * 2_310,
            discarded=0,
            disk_free_bytes=41_800_000_000,
            memory_bytes=231_000_000,
            broker=self._broker,
            problems=self._problems,
        )


def _encode(pixels: Pixels) -> bytes:
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return jpeg.tobytes()


def _hidden(accession: str) -> str:
    """What the drawn station's records call a slide; as good as a pseudonym for who has no key."""
    return f"drwn-{accession.strip().encode().hex()[::-1][:16]}"


def _group(cell: PageCell) -> str:
    if cell.verdict is not None:
        return cell.verdict
    if cell.result.out_of_distribution:
        return OUT_OF_DISTRIBUTION
    if cell.result.doubtful or cell.result.cell_class is None:
        return DOUBTFUL
    return cell.result.cell_class
