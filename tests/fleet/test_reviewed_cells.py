from __future__ import annotations

import csv
import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.camera.image_file import read_image
from edge.contract.review_export import REVIEWS_NAME, ReviewedCell
from fleet.cli import app
from fleet.errors import ExportError
from fleet.intake import read_message
from fleet.store import FleetStore
from trainer.cli import app as trainer
from trainer.data.collection import open_collection

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
FRAMES = ("BloodImage_00001.jpg", "BloodImage_00002.jpg", "BloodImage_00003.jpg")
BOX = (200.0, 150.0, 300.0, 230.0)


class Collected:
    """A collector's database that messages can be put into."""

    def __init__(self, *, path: Path, records: Any) -> None:
        self.path = path
        self.records = records

    def put(self, *records: Any) -> None:
        messages = [
            read_message(f"leukoscope/v1/ward/s1/{each.schema_id.split('/')[1]}", self.records.body(each))
            for each in records
        ]
        self.put_messages(messages)

    def put_messages(self, messages: list[Any]) -> None:
        with FleetStore(self.path) as store:
            store.commit(messages, received_at=NOW)

    def field(self, sequence: int, *, source: str, cells: int = 2) -> Any:
        found = self.records.field(sequence, cells=cells)
        moved = [
            each.model_copy(update={"box_px": tuple(v + 40 * n for v in BOX)})
            for n, each in enumerate(found.cells)
        ]
        return found.model_copy(update={"source": source, "cells": tuple(moved)})


@pytest.fixture
def collected(tmp_path: Path, records: Any) -> Collected:
    """Two reviewed fields of real frames; of the second cell two reviewers, one of whom thought again."""
    found = Collected(path=tmp_path / "fleet.sqlite3", records=records)
    later = {"reviewed_at": NOW + timedelta(minutes=5)}
    found.put(
        found.field(1, source=FRAMES[0]),
        found.field(2, source=FRAMES[1]),
        records.review(3, field=1, cell=0, label="monocyte"),
        records.review(4, field=1, cell=1, label="blast"),
        records.review(5, field=1, cell=1, label="monocyte").model_copy(update=later),
        records.review(6, field=2, cell=0, label="blast"),
    )
    return found


@pytest.fixture
def frames(data_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in FRAMES:
        shutil.copyfile(data_dir / "bccd" / "JPEGImages" / name, folder / name)
    return folder


def export(collected: Collected, pictures: Path, out: Path) -> Any:
    words = ["export-reviews", "--database", str(collected.path), "--out", str(out)]
    return CliRunner().invoke(app, [*words, "--pictures", str(pictures)], catch_exceptions=False)


def lines(out: Path) -> list[ReviewedCell]:
    text = (out / REVIEWS_NAME).read_text("utf-8")
    return [ReviewedCell.model_validate_json(each) for each in text.splitlines()]


def left_out(out: Path) -> list[tuple[str, str]]:
    with (out / "left_out.csv").open(encoding="utf-8", newline="") as stream:
        return [(row["sequence"], row["why"]) for row in csv.DictReader(stream)]


@pytest.mark.data
def test_what_people_said_of_cells_becomes_a_collection_that_the_trainer_reads(
    collected: Collected, frames: Path, tmp_path: Path
) -> None:
    out = tmp_path / "export"
    told = export(collected, frames, out)
    assert told.exit_code == 0, told.output
    assert "4 reviews of 3 cells" in told.output
    assert left_out(out) == []

    found = open_collection(out)
    assert found.format == "review-export"
    assert [(each.label, each.slide) for each in found.samples] == [
        ("monocyte", "ward/s1/A-17"),
        ("monocyte", "ward/s1/A-17"),  # the reviewer's second thought
        ("blast", "ward/s1/A-17"),
    ]
    assert {each.laboratory for each in found.samples} == {"ward"}
    checked = CliRunner().invoke(trainer, ["data", "check", str(out)], catch_exceptions=False)
    assert checked.exit_code == 0, checked.output
    assert "3 samples in 3 pictures, read as review-export" in checked.output

    first = lines(out)[0]
    assert (first.machine_class, first.machine_probability, first.bundle) == ("blast", 0.8, "b7")
    assert (first.reviewer, first.reviewed_at) == ("dr. who", NOW)


@pytest.mark.data
def test_a_cell_is_cut_out_of_its_frame_as_the_classifier_is_shown_it(
    collected: Collected, frames: Path, tmp_path: Path
) -> None:
    export(collected, frames, tmp_path / "export")
    crop = read_image(tmp_path / "export" / lines(tmp_path / "export")[0].crop)
    frame = read_image(frames / FRAMES[0])
    assert crop.shape == (120, 120, 3), "1.2 times the longer side of 100 px"
    assert np.array_equal(crop, frame[130:250, 190:310])


@pytest.mark.data
def test_a_crop_that_was_kept_goes_before_the_frame(
    collected: Collected, frames: Path, tmp_path: Path
) -> None:
    kept = frames / "s1" / "1" / "1-0.jpg"
    kept.parent.mkdir(parents=True)
    assert cv2.imwrite(str(kept), np.full((40, 40, 3), 90, np.uint8))
    export(collected, frames, tmp_path / "export")
    first, *others = lines(tmp_path / "export")
    assert first.crop == "crops/s1/1/1-0.jpg"
    assert (tmp_path / "export" / first.crop).read_bytes() == kept.read_bytes()
    assert {each.crop for each in others} == {"crops/s1/1/1-1.png", "crops/s1/1/2-0.png"}


@pytest.mark.data
def test_every_review_that_cannot_be_exported_is_named_with_its_reason(
    collected: Collected, frames: Path, tmp_path: Path, records: Any
) -> None:
    (frames / FRAMES[1]).unlink()
    (frames / "small.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    shutil.copyfile(frames / FRAMES[0], tmp_path / "secret.jpg")
    (frames / "torn.jpg").write_bytes((frames / FRAMES[0]).read_bytes()[:2000])
    strange = json.loads(records.body(records.review(14, field=1, cell=0, label="blast")))
    collected.put(
        collected.field(7, source="small.jpg"),
        collected.field(8, source="../secret.jpg"),
        collected.field(9, source="torn.jpg"),
        records.review(10, field=7, cell=0, label="blast"),
        records.review(11, field=8, cell=0, label="blast"),
        records.review(12, field=9, cell=0, label="blast"),
        records.review(13, field=1, cell=9, label="blast"),
        records.review(15, field=99, cell=0, label="blast"),
        records.review(16, field=1, cell=0, label="blast").model_copy(update={"slide": "B-2"}),
        records.review(17, field=1, cell=0, label=""),
    )
    strange["mood"] = "sure"
    collected.put_messages([read_message("leukoscope/v1/ward/s1/review", json.dumps(strange).encode())])
    out = tmp_path / "export"
    told = export(collected, frames, out)
    assert told.exit_code == 0, told.output
    why = dict(left_out(out))
    assert why["6"] == f"It has no picture: neither s1/1/2-0.* nor a frame '{FRAMES[1]}' is there."
    assert "small.jpg is 9x9, and its field was 640x480" in why["10"]
    assert "neither s1/1/8-0.* nor a frame '../secret.jpg'" in why["11"], "nothing outside the folder is read"
    assert "torn.jpg: the file is cut off" in why["12"]
    assert why["13"] == "Its field has 2 cells."
    assert why["14"].startswith("The collector does not understand it: ")
    assert why["15"].startswith("Its field's record is not here")
    assert why["16"] == "It speaks of slide 'B-2', and its field is of 'A-17'."
    assert why["17"].startswith("It names no class")
    assert "9 reviews were left out" in told.output
    assert "review s1/1/6 of cell 0 in field 1/2: It has no picture" in told.output
    assert len(open_collection(out).samples) == 2


def test_an_export_without_any_picture_is_an_error_and_leaves_nothing(
    collected: Collected, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ExportError, match="None of 4 reviews can be exported; the first is review s1/1/3"):
        export(collected, tmp_path / "none", tmp_path / "export")
    assert [each.name for each in tmp_path.iterdir() if "fleet.sqlite3" not in each.name] == ["none"]


def test_a_database_without_reviews_says_so(tmp_path: Path, records: Any) -> None:
    empty = Collected(path=tmp_path / "fleet.sqlite3", records=records)
    empty.put(records.field(1))
    with pytest.raises(ExportError, match="No cell was reviewed"):
        export(empty, tmp_path, tmp_path / "export")


def test_an_export_never_writes_into_what_is_there(collected: Collected, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine.txt").write_text("keep")
    with pytest.raises(ExportError, match="is there already"):
        export(collected, tmp_path, tmp_path / "export")
    assert (tmp_path / "export" / "mine.txt").read_text() == "keep"
