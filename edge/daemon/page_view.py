"""What the operator's page sees of the station: a picture of it that nobody has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import cv2

from edge.analysis.focus_trend import FocusTrend
from edge.contract.records import SlideRecord
from edge.contract.status import HealthRecord
from edge.daemon.gallery import Gallery, GalleryCell
from edge.daemon.ground_view import GroundView
from edge.daemon.slide_desk import SlideDesk, SlideError
from edge.daemon.slide_journal import CountedCell, CountedField
from edge.frame import Frame, Pixels
from edge.slide_map.sketch import ShownGround
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

_JPEG_QUALITY: Final = 85


class PageView:
    """Collects what the page shows; fed by the observer, read by the page's threads."""

    def __init__(
        self,
        *,
        desk: SlideDesk,
        bundle: BundleView,
        software: str,
        engine: str,
        camera: str,
        live: bool,
        target_cells: int,
        health: Callable[[], HealthRecord],
        saved_records: Callable[[], int],
        acknowledged_records: Callable[[], int],
        update: Callable[[], str] = str,
        focus_trend: Callable[[], FocusTrend | None] = lambda: None,
        ground: Callable[[], ShownGround] = ShownGround,
    ) -> None:
        self._desk = desk
        self._bundle = bundle
        self._software = software
        self._engine = engine
        self._camera = camera
        self._live = live
        self._targets = tuple(dict.fromkeys((target_cells, *TARGET_CHOICES)))
        self._focus_trend = focus_trend
        self._health = health
        self._saved_records = saved_records
        self._acknowledged_records = acknowledged_records
        self._update = update
        self._changed = threading.Condition()
        self._version = 0
        self._frame: Frame | None = None
        self._refusal: str | None = None
        self._field: CountedField | None = None
        self._fields_seen = 0
        self._field_cells: tuple[PageCell, ...] = ()
        self._gallery = Gallery()
        self._ground = GroundView(
            shown=ground, blasts=lambda: desk.blasts, followed=lambda: desk.not_counting is None
        )

    def see_frame(self, frame: Frame, refusal: str | None) -> None:
        """The newest frame, and why it is no field (None where it is one)."""
        with self._changed:
            self._frame, self._refusal = frame, refusal
            self._step()

    def see_field(self, field: CountedField) -> None:
        """A field whose record is on the disk."""
        counted = [
            CountedCell(field_key=field.key, slide=field.slide, index=index, cell=cell)
            for index, cell in enumerate(field.cells)
        ]
        cells = tuple(
            PageCell(id=None if each.cell.naming is None else each.name, result=each.cell.result())
            for each in counted
        )
        with self._changed:
            if self._field is not None and self._field.slide != field.slide:
                self._forget_cells()
            # Boxes of all that the picture shows; only what this field counts can be looked at closely.
            again = tuple(PageCell(result=cell.result()) for cell in field.seen_again)
            self._field, self._field_cells = field, (*cells, *again)
            self._fields_seen += 1
            for number in field.withdrawn:
                self._gallery.withdraw(number)
            for shown, each in zip(cells, counted, strict=True):
                if shown.id is not None and each.cell.crop is not None:
                    self._gallery.add(GalleryCell(counted=each, shown=shown, crop=each.cell.crop))
            self._step()

    def snapshot(self) -> PageState:
        """The state now."""
        health, slide = self._health(), self._desk.latest
        with self._changed:
            return PageState(
                version=self._version,
                software=self._software,
                engine=self._engine,
                bundle=self._bundle,
                camera=CameraView(name=self._camera, live=self._live, refusal=self._refusal),
                slide=None if slide is None else self._slide_view(slide),
                saved_records=self._saved_records(),
                acknowledged_records=self._acknowledged_records(),
                health=health,
                update=self._update(),
                notice=self._desk.notice,
                targets=self._targets,
                hides_ids=self._desk.hides_ids,
                focus_trend=self._focus_trend(),
                ground_map=self._ground.sight(),
            )

    def field(self) -> FieldPicture | None:
        """The last counted field with its cells."""
        with self._changed:
            field, cells, sequence = self._field, self._field_cells, self._fields_seen
        if field is None:
            return None
        return FieldPicture(
            sequence=sequence,
            slide=self._shown_name(field.slide),
            field=field.number,
            width_px=field.frame.width_px,
            height_px=field.frame.height_px,
            cells=cells,
            jpeg=_jpeg(field.frame.pixels),
        )

    def frame_jpeg(self) -> LiveFrame | None:
        """The newest frame."""
        frame = self._frame
        if frame is None:
            return None
        return LiveFrame(
            sequence=frame.index,
            width_px=frame.width_px,
            height_px=frame.height_px,
            jpeg=_jpeg(frame.pixels),
        )

    def cell_jpeg(self, cell_id: str) -> bytes | None:
        """The crop of one cell that is still kept."""
        with self._changed:
            cell = self._gallery.find(cell_id)
        return None if cell is None else _jpeg(cell.crop)

    def gallery(self) -> tuple[GalleryGroup, ...]:
        """The latest cells by class, newest first."""
        with self._changed:
            return self._gallery.groups()

    def ground_map(self) -> GroundMap:
        """The covered ground as it is drawn now."""
        with self._changed:
            return self._ground.map()

    def open_slide(self, slide: str | None, target_cells: int | None) -> None:
        """Begin a slide session, or go on with the one that is open under this accession id."""
        before = self._desk.opened
        self._desk.open(slide, target_cells=target_cells)
        self._changed_slide(anew=self._desk.opened != before)

    def scan_slide(self, slide: str) -> ScanOutcome:
        """A barcode was read."""
        outcome = self._desk.scan(slide)
        self._changed_slide(anew=outcome == "opened")
        return outcome

    def pause_slide(self) -> None:
        """Count no more for now."""
        self._desk.pause()
        self._changed_slide()

    def resume_slide(self) -> None:
        """Count again."""
        self._desk.resume()
        self._changed_slide()

    def close_slide(self) -> None:
        """Close the open session."""
        self._desk.close()
        self._changed_slide()

    def judge_cell(self, cell_id: str, verdict: Verdict | None) -> None:
        """Note a person's verdict on a cell that is still shown."""
        with self._changed:
            cell = self._gallery.find(cell_id)
        if cell is None:
            raise SlideError("This cell is not kept here any longer.", remedy="Review it in the collector.")
        self._desk.judge(cell.counted, verdict)
        with self._changed:
            still = self._gallery.find(cell_id)
            if still is not None:
                self._gallery.judge(still, verdict)
            self._field_cells = tuple(
                each.model_copy(update={"verdict": verdict}) if each.id == cell_id else each
                for each in self._field_cells
            )
            self._step()

    def wait_for_change(self, version: int, timeout_s: float) -> int:
        """Wait until there is something new."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout=timeout_s)
            return self._version

    def _forget_cells(self) -> None:
        """The last slide's cells are no longer shown, nor is the field whose boxes would lead to them."""
        self._gallery.clear()
        self._field, self._field_cells = None, ()

    def _step(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _changed_slide(self, *, anew: bool = False) -> None:
        with self._changed:
            if anew:
                self._forget_cells()
                self._ground.begin_slide()
            self._step()

    def _shown_name(self, slide: str) -> str:
        """A slide's name for the person: the accession id, where it is the latest slide's and is known."""
        latest, accession = self._desk.latest, self._desk.accession
        return accession if accession and latest is not None and latest.slide == slide else slide

    def _slide_view(self, slide: SlideRecord) -> SlideView:
        return SlideView(
            name=self._shown_name(slide.slide),
            recorded_as=slide.slide,
            state=slide.state,
            opened_at=slide.opened_at,
            resumed=slide.resumed,
            fields=slide.fields,
            objects=slide.objects,
            named_cells=slide.named_cells,
            doubtful_cells=slide.doubtful_cells,
            out_of_distribution_cells=slide.out_of_distribution_cells,
            artefacts=slide.artefacts,
            unclassified=slide.unclassified,
            target_cells=slide.target_cells or self._targets[0],
            advice=slide.advice,
            differential=slide.differential,
            blasts=slide.blasts,
            ground=slide.ground,
        )


def _jpeg(pixels: Pixels) -> bytes:
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    )
    return encoded.tobytes()
