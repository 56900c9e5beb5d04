"""Reviewed cells as the workshop is given them: the label, who gave it when, and the cell's picture.

A collector holds words, not pictures. They come from a folder beside it, either of crops that are named by
the cell's key, ``STATION/BOOT/SEQUENCE-CELL.png``, or of whole frames under the names that the station
recorded as their source; from a frame the cell is cut out.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from edge.camera.image_file import read_image
from edge.contract.records import CellResult, FieldRecord
from edge.contract.review_export import REVIEWS_NAME, ReviewedCell
from edge.errors import ImageError
from edge.frame import Pixels
from edge.vision.crop import crop_square
from fleet.errors import ExportError, ReviewError
from fleet.queries import ReviewRow

LEFT_OUT_NAME: Final = "left_out.csv"
CROPS: Final = "crops"
MARGIN: Final = 1.2
"""A crop's side in parts of its box's longer side: what the house's classifier is shown."""
_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_LEFT_OUT_COLUMNS: Final = ("station", "boot", "sequence", "field_boot", "field_sequence", "cell", "why")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A review that could not be exported, and why."""

    row: ReviewRow
    why: str

    def __str__(self) -> str:
        return f"{self.row.name}: {self.why}"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export holds, and what it lacks. ``cells`` were reviewed once or more."""

    reviews: int
    cells: int
    left_out: tuple[LeftOut, ...]


class PictureFolder:
    """The pictures that somebody kept, crops by key or frames by source."""

    def __init__(self, *, folder: Path, margin: float = MARGIN) -> None:
        self._folder = folder
        self._margin = margin

    def save_crop(self, record: FieldRecord, index: int, *, crops: Path) -> str:
        """Put a cell's picture below ``crops``, kept as it is or cut out of its frame. Gives its name there.

        Raises ReviewError, saying where it was looked for, where there is no picture of it; ImageError where
        that is broken.
        """
        key, cell = record.stamp.key, record.cells[index]
        stem = Path(key.station) / str(key.boot) / f"{key.sequence}-{index}"
        kept = [file for suffix in _SUFFIXES if (file := self._folder / f"{stem}{suffix}").is_file()]
        if len(kept) > 1:
            raise ReviewError(f"It has two pictures, {kept[0].name} and {kept[1].name}.")
        name = f"{stem}{kept[0].suffix if kept else '.png'}"
        place = crops / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if kept:
            read_image(kept[0])
            shutil.copyfile(kept[0], place)
        else:
            pixels = self._cut_out(record, cell, looked_for=f"{stem}.*")
            _, content = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
            place.write_bytes(content.tobytes())
        return name

    def _cut_out(self, record: FieldRecord, cell: CellResult, *, looked_for: str) -> Pixels:
        frame = self._frame(record)
        if frame is None:
            raise ReviewError(
                f"It has no picture: neither {looked_for} nor a frame {record.source!r} is there."
            )
        pixels = read_image(frame)
        height, width = pixels.shape[:2]
        if (width, height) != (record.width_px, record.height_px):
            raise ReviewError(
                f"{frame.name} is {width}x{height}, and its field was {record.width_px}x{record.height_px}: "
                "it is another picture."
            )
        x0, y0, x1, y1 = cell.box_px
        side = max(1, round(self._margin * max(x1 - x0, y1 - y0)))
        try:
            return crop_square(pixels, cell.box_px, margin=self._margin, size_px=side)
        except ValueError as error:
            raise ReviewError(f"Nothing can be cut out of {frame.name}: {error}.") from error

    def _frame(self, record: FieldRecord) -> Path | None:
        """The frame's file. A source is a station's word: what it names outside the folder is no frame."""
        try:
            file = (self._folder / record.source).resolve()
            whole = file.is_file() and file.suffix.lower() in _SUFFIXES
        except (OSError, ValueError):  # a name that no file can have
            return None
        return file if whole and file.is_relative_to(self._folder.resolve()) else None


def export_reviews(rows: Iterable[ReviewRow], *, pictures: PictureFolder, out: Path) -> Exported:
    """Write ``reviews.jsonl``, the crops that it names, and ``left_out.csv`` to the folder ``out``.

    ``out`` is there whole or not at all. Raises ExportError where it exists already, cannot be written, or
    no review has a picture.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is there already.", remedy="Name a folder that is not, with --out.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as made:
            found = _write(rows, pictures, Path(made) / "export")
            if out.is_dir():
                out.rmdir()
            (Path(made) / "export").rename(out)
    except OSError as error:
        raise ExportError(
            f"{out} cannot be written: {error.strerror}.", remedy="Check the disk and the permissions."
        ) from error
    return found


def _write(rows: Iterable[ReviewRow], pictures: PictureFolder, folder: Path) -> Exported:
    (folder / CROPS).mkdir(parents=True)
    left_out: list[LeftOut] = []
    cells: set[str] = set()
    reviews = 0
    with (folder / REVIEWS_NAME).open("w", encoding="utf-8") as stream:
        for row in rows:
            try:
                line = _reviewed(row, pictures, folder)
            except ReviewError as error:
                left_out.append(LeftOut(row=row, why=error.fault))
                continue
            stream.write(line.model_dump_json(by_alias=True) + "\n")
            cells.add(line.crop)
            reviews += 1
    if not reviews:
        raise ExportError(
            f"None of {len(left_out)} reviews can be exported; the first is {left_out[0]}"
            if left_out
            else "No cell was reviewed.",
            remedy="Give the folder of the crops, or of the frames that the stations analysed: --pictures."
            if left_out
            else "Let a person review cells on a station's page first.",
        )
    with (folder / LEFT_OUT_NAME).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_LEFT_OUT_COLUMNS)
        writer.writerows(_columns(left_out))
    return Exported(reviews=reviews, cells=len(cells), left_out=tuple(left_out))


def _reviewed(row: ReviewRow, pictures: PictureFolder, folder: Path) -> ReviewedCell:
    """One line, its crop written. Raises ReviewError."""
    review, record = row.review, row.record
    if review is None:
        raise ReviewError(f"The collector does not understand it: {row.problem}.")
    if record is None:
        raise ReviewError(
            "Its field's record is not here, so neither the cell's place nor its bundle is known."
        )
    if review.cell >= len(record.cells):
        raise ReviewError(f"Its field has {len(record.cells)} cells.")
    if review.slide != record.slide:
        raise ReviewError(f"It speaks of slide {review.slide!r}, and its field is of {record.slide!r}.")
    if not review.reviewed_class or not review.reviewer:
        raise ReviewError("It names no class, or nobody who gave it.")
    try:
        crop = pictures.save_crop(record, review.cell, crops=folder / CROPS)
    except ImageError as error:
        raise ReviewError(error.fault) from error
    cell = record.cells[review.cell]
    return ReviewedCell(
        crop=f"{CROPS}/{crop}",
        site=review.stamp.site,
        station=review.stamp.key.station,
        slide=review.slide,
        field_key=review.field_key,
        cell=review.cell,
        machine_class=review.machine_class,
        # A probability of another class than the reviewer saw would be a false witness.
        machine_probability=cell.probability if cell.cell_class == review.machine_class else None,
        bundle=record.stamp.bundle,
        reviewed_class=review.reviewed_class,
        reviewer=review.reviewer,
        reviewed_at=review.reviewed_at,
    )


def _columns(left_out: Iterable[LeftOut]) -> Iterator[tuple[object, ...]]:
    for each in left_out:
        key, review = each.row.key, each.row.review
        where = (
            (None, None, None)
            if review is None
            else (review.field_key.boot, review.field_key.sequence, review.cell)
        )
        yield (key.station, key.boot, key.sequence, *where, each.why)
