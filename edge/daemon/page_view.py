"""What the operator's page sees of the station: a picture of it that nobody has to wait for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import cv2

from edge.contract.records import SlideRecord
from edge.contract.status import HealthRecord
from edge.daemon.slide_desk import SlideDesk
from edge.daemon.slide_journal import CountedField
from edge.frame import Frame, Pixels
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

GALLERY_CELLS_PER_GROUP: Final = 24
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
    ) -> None:
        self._desk = desk
        self._bundle = bundle
        self._software = software
        self._engine = engine
        self._camera = camera
        self._live = live
        self._target_cells = target_cells
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
        self._groups: dict[str, deque[PageCell]] = {}
        self._crops: dict[str, Pixels] = {}

    def see_frame(self, frame: Frame, refusal: str | None) -> None:
        """The newest frame, and why it is no field (None where it is one)."""
        with self._changed:
            self._frame, self._refusal = frame, refusal
            self._step()

    def see_field(self, field: CountedField) -> None:
        """A field whose record is on the disk."""
        cells = tuple(
            PageCell(
                id=None if cell.naming is None else f"{field.key.boot}-{field.key.sequence}-{index}",
                result=cell.result(),
            )
            for index, cell in enumerate(field.cells)
        )
        with self._changed:
            if self._field is not None and self._field.slide != field.slide:
                self._forget_cells()
            self._field, self._field_cells = field, cells
            self._fields_seen += 1
            for page_cell, cell in zip(cells, field.cells, strict=True):
                if page_cell.id is not None and cell.crop is not None:
                    self._keep(page_cell, page_cell.id, cell.crop)
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
            )

    def field(self) -> FieldPicture | None:
        """The last counted field with its cells."""
        with self._changed:
            field, cells, sequence = self._field, self._field_cells, self._fields_seen
        if field is None:
            return None
        return FieldPicture(
            sequence=sequence,
            slide=field.slide,
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
            crop = self._crops.get(cell_id)
        return None if crop is None else _jpeg(crop)

    def gallery(self) -> tuple[GalleryGroup, ...]:
        """The latest cells by class, newest first."""
        with self._changed:
            return tuple(
                GalleryGroup(name=name, cells=tuple(reversed(cells))) for name, cells in self._groups.items()
            )

    def open_slide(self, slide: str | None) -> None:
        """Begin a slide session."""
        self._desk.open(slide)
        with self._changed:
            self._forget_cells()
            self._step()

    def close_slide(self) -> None:
        """Close the open session."""
        self._desk.close()
        with self._changed:
            self._step()

    def wait_for_change(self, version: int, timeout_s: float) -> int:
        """Wait until there is something new."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != version, timeout=timeout_s)
            return self._version

    def _forget_cells(self) -> None:
        """The last slide's cells are no longer shown, nor is the field whose boxes would lead to them."""
        self._groups.clear()
        self._crops.clear()
        self._field, self._field_cells = None, ()

    def _step(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _keep(self, cell: PageCell, cell_id: str, crop: Pixels) -> None:
        group = self._groups.setdefault(_group(cell), deque())
        group.append(cell)
        self._crops[cell_id] = crop
        if len(group) > GALLERY_CELLS_PER_GROUP:
            oldest = group.popleft().id
            if oldest is not None:
                self._crops.pop(oldest, None)

    def _slide_view(self, slide: SlideRecord) -> SlideView:
        return SlideView(
            name=slide.slide,
            state=slide.state,
            opened_at=slide.opened_at,
            fields=slide.fields,
            objects=slide.objects,
            named_cells=slide.named_cells,
            doubtful_cells=slide.doubtful_cells,
            out_of_distribution_cells=slide.out_of_distribution_cells,
            target_cells=self._target_cells,
            differential=slide.differential,
            blasts=slide.blasts,
        )


def _group(cell: PageCell) -> str:
    if cell.result.out_of_distribution:
        return OUT_OF_DISTRIBUTION
    if cell.result.doubtful or cell.result.cell_class is None:
        return DOUBTFUL
    return cell.result.cell_class


def _jpeg(pixels: Pixels) -> bytes:
    _, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    )
    return encoded.tobytes()
