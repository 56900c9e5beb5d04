"""What the page is shown of a counted slide: names for the person, cells in one place, verdicts."""

import dataclasses
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.analysis.cells import Cell, Naming
from edge.analysis.gates import Accepted
from edge.contract.orders import Command
from edge.contract.records import FieldPlace
from edge.contract.taxonomy import ARTEFACT, DOUBTFUL, UNCLASSIFIED, ObjectKind
from edge.daemon.gallery import CELLS_PER_GROUP
from edge.daemon.orders import Orders
from edge.daemon.page_view import PageView
from edge.daemon.slide_desk import SlideDesk, SlideError
from edge.daemon.slide_journal import OnMap, Origin
from edge.frame import Frame
from edge.outbox.store import Outbox
from edge.slide_identity import Pseudonyms
from edge.slide_map.atlas import Lens, Spot
from edge.slide_map.sketch import Dot, Drawing, ShownGround
from edge.web.testing import FakeStation
from edge.web.view import StationView
from tests.edge.facts import classifier_facts

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
ACCESSION = "H-2026-00417"


@pytest.fixture
def desk(tmp_path):
    with Outbox(path=tmp_path / "outbox.sqlite", site="lab", station="s", software="test") as outbox:
        yield SlideDesk(
            journal=outbox,
            origin=Origin(site="lab", software="test", bundle="0" * 64),
            classifier=classifier_facts(),
            record_every_fields=100,
            now=lambda: NOW,
            names=Pseudonyms(key_file=tmp_path / "key", own=True),
        )


def page_view(desk, **options):
    drawn = FakeStation(now=lambda: NOW).snapshot()
    fits: StationView = PageView(
        desk=desk,
        bundle=drawn.bundle,
        software="test",
        engine="none",
        camera="drawn",
        live=True,
        target_cells=150,
        health=lambda: drawn.health,
        saved_records=lambda: 0,
        acknowledged_records=lambda: 0,
        **options,
    )
    return fits


@pytest.fixture
def view(desk):
    return page_view(desk)


def white(cell_class="blast", *, number=None, doubtful=False, grey=0):
    naming = Naming(
        cell_class=cell_class,
        probability=0.9,
        probabilities={"blast": 0.9},
        distance=1.0,
        out_of_distribution=False,
        doubtful=doubtful,
    )
    crop = np.full((16, 16, 3), grey, np.uint8)
    return Cell(box_px=(1, 2, 9, 9), kind=ObjectKind.WBC, score=0.8, naming=naming, number=number, crop=crop)


def see(desk, view, *cells, seen_again=(), withdrawn=()):
    frame = Frame(
        pixels=np.zeros((48, 64, 3), np.uint8), index=0, source="f", captured_at=NOW, monotonic_s=0.0
    )
    accepted = Accepted(focus=0.5, stained_share=0.2, place=None)
    place = FieldPlace(island=1, corner_px=(0, 0), withdrawn_cells=withdrawn)
    on_map = OnMap(place=place, seen_again=seen_again)
    field = desk.count(frame, accepted, cells, slide_number=desk.opened, analysis_ms=1.0, on_map=on_map)
    view.see_field(field)
    return field


def shown(view):
    return {group.name: [cell.id for cell in group.cells] for group in view.gallery()}


def test_the_person_sees_the_id_and_the_records_have_the_pseudonym(desk, view):
    view.open_slide(ACCESSION, 200)
    field = see(desk, view, white())
    slide = view.snapshot().slide
    assert (slide.name, slide.recorded_as, slide.target_cells) == (ACCESSION, field.slide, 200)
    assert ACCESSION not in field.slide
    assert view.field().slide == ACCESSION
    assert view.snapshot().targets == (150, 100, 200, 400)
    view.close_slide()
    assert view.snapshot().slide.name == ACCESSION
    view.open_slide(None, None)
    assert view.snapshot().slide.name == view.snapshot().slide.recorded_as


def test_going_on_with_a_slide_keeps_its_cells_in_sight_and_another_slide_does_not(desk, view):
    view.open_slide(ACCESSION, None)
    see(desk, view, white())
    view.pause_slide()
    assert view.scan_slide(ACCESSION) == "same"
    assert (view.snapshot().slide.state, list(shown(view))) == ("open", ["blast"])
    assert view.scan_slide("H-2026-00418") == "ask"
    assert list(shown(view)) == ["blast"]
    view.open_slide("H-2026-00418", None)
    assert shown(view) == {}
    assert view.field() is None


def test_a_better_view_of_a_cell_takes_the_place_of_the_earlier_one(desk, view):
    view.open_slide(ACCESSION, None)
    see(desk, view, white("lymphocyte", number=4, grey=10), white("blast"))
    see(desk, view, white("blast", number=4, grey=200))
    assert {name: len(cells) for name, cells in shown(view).items()} == {"blast": 2}


def test_a_cell_that_was_counted_before_has_its_box_but_stands_in_no_group_again(desk, view):
    view.open_slide(ACCESSION, None)
    see(desk, view, white(number=1))
    field = see(desk, view, white(number=2), seen_again=(white(number=1),))
    assert [cell.number for cell in field.cells] == [2]
    assert [(cell.id is None, cell.result.number) for cell in view.field().cells] == [(False, 2), (True, 1)]
    assert {name: len(cells) for name, cells in shown(view).items()} == {"blast": 2}


def test_a_cell_that_was_counted_twice_is_shown_once(desk, view):
    view.open_slide(ACCESSION, None)
    see(desk, view, white(number=4), white(number=5))
    see(desk, view, white("neutrophil"), withdrawn=(5, 9))
    assert {name: len(cells) for name, cells in shown(view).items()} == {
        "blast": 1,
        "neutrophil": 1,
    }
    assert view.snapshot().slide.named_cells == 2


def test_each_group_keeps_its_newest_cells_and_their_crops(desk, view):
    view.open_slide(ACCESSION, None)
    for _ in range(CELLS_PER_GROUP + 5):
        see(desk, view, white(), white("neutrophil", doubtful=True))
    groups = shown(view)
    assert {name: len(cells) for name, cells in groups.items()} == {
        "blast": CELLS_PER_GROUP,
        DOUBTFUL: CELLS_PER_GROUP,
    }
    assert view.cell_jpeg(groups["blast"][0]) is not None
    assert view.cell_jpeg("1-2-0") is None


def test_a_verdict_moves_the_cell_and_a_better_view_does_not_move_it_back(desk, view):
    view.open_slide(ACCESSION, None)
    see(desk, view, white(number=4))
    (cell,) = shown(view)["blast"]
    view.judge_cell(cell, ARTEFACT)
    assert shown(view) == {ARTEFACT: [cell]}
    assert view.field().cells[0].verdict == ARTEFACT
    see(desk, view, white("neutrophil", number=4))
    (later,) = shown(view)[ARTEFACT]
    assert (view.snapshot().slide.artefacts, view.snapshot().slide.named_cells) == (1, 0)
    view.judge_cell(later, UNCLASSIFIED)
    view.judge_cell(later, None)
    assert list(shown(view)) == ["neutrophil"]
    assert (view.snapshot().slide.artefacts, view.snapshot().slide.unclassified) == (0, 0)
    with pytest.raises(SlideError, match="not kept here any longer"):
        view.judge_cell(cell, ARTEFACT)


def test_every_change_wakes_the_pages_that_watch(desk, view):
    version = view.wait_for_change(-1, 0)
    for change in (
        lambda: view.open_slide(ACCESSION, None),
        view.pause_slide,
        view.resume_slide,
        lambda: view.scan_slide(ACCESSION),
        view.close_slide,
    ):
        change()
        after = view.wait_for_change(version, 0)
        assert after > version
        version = after


def command(what, **options):
    return Command(id="1", command=what, expires_at=NOW, **options)


def test_the_fleets_commands_reach_the_slide(desk, view):
    orders = Orders(view=view, updates=lambda: None, publish_health=lambda: None)
    orders.obey(command("open_slide", slide=ACCESSION, target_cells=400))
    assert (view.snapshot().slide.name, view.snapshot().slide.target_cells) == (ACCESSION, 400)
    for what, state in (("pause_slide", "paused"), ("resume_slide", "open"), ("close_slide", "closed")):
        orders.obey(command(what))
        assert view.snapshot().slide.state == state
    with pytest.raises(SlideError, match="No slide is open") as caught:
        orders.obey(command("pause_slide"))
    assert ACCESSION not in str(caught.value)


def test_the_map_of_the_ground_is_that_of_the_open_slide_and_no_frame_is_claimed_in_a_pause(desk):
    drawing = Drawing(Lens(width_px=64, height_px=48))
    drawing.lay(drawing.rectangle(Spot(island=1, x_px=0, y_px=0)))
    ground = ShownGround(
        sketch=drawing.sketch(1, dots=(Dot(number=4, at_px=(5, 6)),), other_islands=0),
        frame=Spot(island=1, x_px=8, y_px=0),
        tracking="known",
    )
    view = page_view(desk, ground=lambda: ground)
    view.open_slide(ACCESSION, None)
    ground = dataclasses.replace(ground, sketch=dataclasses.replace(ground.sketch, fields=2))
    see(desk, view, white(number=4))
    sight = view.snapshot().ground_map
    assert (sight.tracking, sight.frame_px) == ("known", (8, 0, 72, 48))
    assert (view.ground_map().sight, view.ground_map().blasts_px) == (sight, ((5, 6),))
    view.judge_cell(shown(view)["blast"][0], ARTEFACT)
    assert view.snapshot().ground_map.version > sight.version
    assert view.ground_map().blasts_px == ()
    view.pause_slide()
    assert (view.snapshot().ground_map.tracking, view.ground_map().fields) == ("off", 2)
    view.open_slide("H-2026-00418", None)
    assert view.ground_map().fields == 0
