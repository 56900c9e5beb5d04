"""A station that is not there: fits ``StationView``, goes on when told to, and draws its own smear.

The same seed and the same calls give the same page, bytes and all, but for ``now``.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final, Literal

import cv2
import numpy as np

from edge.contract.records import BlastShare, ShareRow
from edge.contract.status import HealthRecord, StageLatency
from edge.contract.taxonomy import DIFFERENTIAL, ObjectKind
from edge.errors import LeukoscopeError
from edge.frame import Pixels
from edge.web.drawn_smear import CLASSES, HEIGHT_PX, WIDTH_PX, DrawnSmear
from edge.web.view import (
    DOUBTFUL,
    OUT_OF_DISTRIBUTION,
    BundleView,
    CameraView,
    FieldPicture,
    GalleryGroup,
    LiveFrame,
    PageCell,
    PageState,
    SlideView,
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
        self._slides = 0
        self._open: bool
        self._begin_slide(None)

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
                if self._open:
                    self._crops.update(drawn.crops)
                    self._count(drawn.cells)
                if self._broker != "connected":
                    self._unacknowledged += 1
                self._touch()

    def refuse(self, reason: str) -> None:
        """Have the gates refuse a frame, blurred so that it is seen to be another one."""
        with self._changed:
            self._frames += 1
            self._refusal = reason
            self._refusals[reason] += 1
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
                for name in (*CLASSES, DOUBTFUL, OUT_OF_DISTRIBUTION)
                if self._gallery.get(name)
            )

    def open_slide(self, slide: str | None) -> None:
        """As StationView; the name "full" is refused as a full disk would refuse it."""
        if slide == "full":
            raise LeukoscopeError("The disk is full: no slide can be opened.", remedy="Free some space.")
        with self._changed:
            self._begin_slide(slide)
            self._touch()

    def close_slide(self) -> None:
        """As StationView."""
        with self._changed:
            if not self._open:
                raise LeukoscopeError("No slide is open.", remedy="Open one first.")
            self._open = False
            self._touch()

    def wait_for_change(self, version: int, timeout_s: float) -> int:
        """As StationView."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout_s)
            return self._version

    def _touch(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _begin_slide(self, slide: str | None) -> None:
        self._slides += 1
        self._slide = slide or f"slide-{self._slides:04d}"
        self._open = True
        self._opened_at = _START + timedelta(minutes=11 * self._slides)
        self._slide_fields = 0
        self._named: Counter[str] = Counter()
        self._doubtful = self._unknown = 0
        self._objects: Counter[ObjectKind] = Counter()
        self._gallery: dict[str, deque[PageCell]] = {}

    def _count(self, cells: tuple[PageCell, ...]) -> None:
        for cell in cells:
            result = cell.result
            self._objects[result.object] += 1
            if result.cell_class is None:
                continue
            if result.out_of_distribution:
                self._unknown += 1
                group = OUT_OF_DISTRIBUTION
            elif result.doubtful:
                self._doubtful += 1
                group = DOUBTFUL
            else:
                self._named[result.cell_class] += 1
                group = result.cell_class
            self._gallery.setdefault(group, deque(maxlen=KEPT_PER_GROUP)).appendleft(cell)

    def _slide_view(self) -> SlideView:
        named = sum(self._named.values())
        rows = tuple(_row(name, self._named[name], named) for name in CLASSES)
        blasts = rows[CLASSES.index("blast")]
        return SlideView(
            name=self._slide,
            state="open" if self._open else "closed",
            opened_at=self._opened_at,
            fields=self._slide_fields,
            objects={kind: self._objects[kind] for kind in ObjectKind},
            named_cells=named,
            doubtful_cells=self._doubtful,
            out_of_distribution_cells=self._unknown,
            target_cells=100,
            differential=rows,
            blasts=BlastShare(
                share=blasts.share,
                low=blasts.low,
                high=blasts.high,
                corrected=max(0.0, blasts.share * 1.04 - 0.01),
                corrected_low=max(0.0, blasts.low * 0.9 - 0.01),
                corrected_high=min(1.0, blasts.high * 1.1),
            )
            if named
            else None,
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


def _row(name: str, count: int, named: int) -> ShareRow:
    """A share with Wilson's score interval at 95%; all of [0, 1] where nothing was counted."""
    if named == 0:
        return ShareRow(cell_class=name, count=0, share=0, low=0, high=1)
    z, share = 1.959964, count / named
    centre = (share + z * z / (2 * named)) / (1 + z * z / named)
    half = z / (1 + z * z / named) * math.sqrt(share * (1 - share) / named + z * z / (4 * named * named))
    return ShareRow(
        cell_class=name, count=count, share=share, low=max(0, centre - half), high=min(1, centre + half)
    )
