"""The station that is not there keeps the promises that the page relies on."""

from __future__ import annotations

import threading
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from edge.contract.taxonomy import ObjectKind
from edge.errors import LeukoscopeError
from edge.web.testing import FakeStation
from edge.web.view import PageState, StationView

NOON = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)


@pytest.fixture
def station():
    return FakeStation(now=lambda: NOON)


def test_it_fits_the_seam(station):
    view: StationView = station
    state = view.snapshot()
    assert PageState.model_validate_json(state.model_dump_json(by_alias=True)) == state


def test_the_same_calls_give_the_same_page(station):
    other = FakeStation(now=lambda: NOON)
    for each in (station, other):
        each.advance(3)
    assert station.snapshot() == other.snapshot()
    assert station.field() == other.field()
    assert station.gallery() == other.gallery()


def test_counts_agree_with_the_cells_of_the_fields(station):
    seen = []
    for _ in range(12):
        station.advance()
        seen += [cell.result for cell in station.field().cells]
    whites = [each for each in seen if each.object is ObjectKind.WBC]
    slide = station.snapshot().slide
    assert slide.objects[ObjectKind.WBC] == len(whites) == 36
    assert slide.named_cells + slide.doubtful_cells + slide.out_of_distribution_cells == 36
    assert sum(row.count for row in slide.differential) == slide.named_cells
    assert all(row.low <= row.share <= row.high for row in slide.differential)


def test_every_cell_of_the_gallery_has_its_crop(station):
    station.advance(20)
    for group in station.gallery():
        for cell in group.cells:
            crop = cv2.imdecode(np.frombuffer(station.cell_jpeg(cell.id), np.uint8), cv2.IMREAD_COLOR)
            assert min(crop.shape[:2]) > 60
    assert station.cell_jpeg("4-1-none") is None


def test_a_refused_frame_is_seen_but_is_no_field(station):
    station.advance()
    before = station.frame_jpeg().sequence
    station.refuse("out_of_focus")
    state = station.snapshot()
    assert station.frame_jpeg().sequence > before
    assert (state.health.fields, state.health.refusals) == (1, {"out_of_focus": 1})
    assert state.camera.refusal == "out_of_focus"


def test_waiting_ends_with_the_change(station):
    version = station.snapshot().version
    assert station.wait_for_change(version, 0) == version
    timer = threading.Timer(0.05, station.advance)
    timer.start()
    assert station.wait_for_change(version, 10) > version
    timer.join()


def test_slides_open_and_close(station):
    station.advance()
    station.close_slide()
    with pytest.raises(LeukoscopeError, match="No slide is open"):
        station.close_slide()
    station.open_slide("S-17", 200)
    slide = station.snapshot().slide
    assert (slide.name, slide.state, slide.fields, slide.named_cells) == ("S-17", "open", 0, 0)
    assert slide.target_cells == 200
    assert "S-17" not in slide.recorded_as


def test_a_paused_slide_stays_and_counts_no_more(station):
    station.advance()
    station.pause_slide()
    counted = station.snapshot().slide.named_cells
    station.advance()
    assert (station.snapshot().slide.state, station.snapshot().slide.named_cells) == ("paused", counted)
    with pytest.raises(LeukoscopeError, match="paused already"):
        station.pause_slide()
    station.resume_slide()
    assert station.snapshot().slide.state == "open"


def test_a_scan_opens_goes_on_or_asks(station):
    assert station.scan_slide("S-17") == "opened"
    station.advance()
    station.restart()
    assert station.snapshot().slide.name != "S-17"
    assert station.scan_slide("S-17") == "same"
    assert (station.snapshot().slide.name, station.snapshot().slide.resumed) == ("S-17", 1)
    assert station.scan_slide("S-18") == "ask"
    assert station.snapshot().slide.name == "S-17"


def test_a_verdict_moves_a_cell_out_of_its_class(station):
    station.advance(4)
    group = next(group for group in station.gallery() if group.name == "neutrophil")
    before = station.snapshot().slide
    station.judge_cell(group.cells[0].id, "artefact")
    after = station.snapshot().slide
    assert (after.artefacts, after.named_cells) == (1, before.named_cells - 1)
    assert station.gallery()[-1].cells[0].verdict == "artefact"
    station.judge_cell(group.cells[0].id, None)
    assert station.snapshot().slide == before
    with pytest.raises(LeukoscopeError, match="not kept"):
        station.judge_cell("4-0-0", "artefact")
