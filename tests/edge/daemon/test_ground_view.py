"""The map as the page is told it: versions that change when it does, and no slide's ground under another."""

from __future__ import annotations

import base64

import pytest

from edge.daemon.ground_view import GroundView
from edge.slide_map.atlas import Lens, Spot
from edge.slide_map.sketch import MOST_POINTED_OUT, MOST_SQUARES, Dot, Drawing, ShownGround, Sketch, Tracking

LENS = Lens(width_px=640, height_px=480, um_per_px=0.1)


class Microscope:
    """What the map shows, and what the slide desk knows."""

    def __init__(self) -> None:
        self.shown = ShownGround()
        self.blasts: tuple[int, ...] = ()
        self.counting = True
        self.view = GroundView(
            shown=lambda: self.shown, blasts=lambda: self.blasts, followed=lambda: self.counting
        )

    def show(self, sketch: Sketch | None, at: Spot | None = None, tracking: Tracking = "known") -> None:
        self.shown = ShownGround(sketch=sketch, frame=at, tracking=tracking)


@pytest.fixture
def scope() -> Microscope:
    return Microscope()


def sketch(*corners: tuple[float, float], dots: tuple[Dot, ...] = (), others: int = 0) -> Sketch:
    drawing = Drawing(LENS)
    for x_px, y_px in corners:
        drawing.lay(drawing.rectangle(Spot(island=1, x_px=x_px, y_px=y_px)))
    return drawing.sketch(1, dots=dots, other_islands=others)


def test_nothing_is_told_of_a_map_without_fields(scope: Microscope) -> None:
    sight, told = scope.view.sight(), scope.view.map()
    assert (sight.tracking, sight.frame_px) == ("off", None)
    assert (told.sight.version, told.fields, told.columns, told.frame_size_px) == (sight.version, 0, 0, None)


def test_the_version_changes_with_the_ground_and_the_blasts_but_not_with_the_frame(scope: Microscope) -> None:
    versions = [scope.view.sight().version]
    first = sketch((0, 0))
    scope.show(first, Spot(island=1, x_px=0, y_px=0))
    versions.append(scope.view.sight().version)
    scope.show(first, Spot(island=1, x_px=12.34, y_px=-5))
    sight = scope.view.sight()
    assert sight.frame_px == (12.3, -5, 652.3, 475)
    versions.append(sight.version)
    scope.blasts = (1,)
    versions.append(scope.view.sight().version)
    scope.show(sketch((0, 0), (500, 0)), Spot(island=1, x_px=0, y_px=0))
    versions.append(scope.view.map().sight.version)
    versions.append(scope.view.sight().version)
    assert versions == [0, 1, 1, 2, 3, 3]


def test_the_map_tells_its_squares_in_the_order_in_which_they_lie(scope: Microscope) -> None:
    scope.show(sketch((0, 0), (640, 480), others=2))
    told = scope.view.map()
    bits = "".join(f"{byte:08b}" for byte in base64.b64decode(told.squares))
    rows = [bits[row * told.columns : (row + 1) * told.columns] for row in range(told.rows)]
    assert rows == 12 * ["1" * 16 + "0" * 16] + 12 * ["0" * 16 + "1" * 16]
    assert (told.corner_px, told.square_px, told.um_per_px) == ((0, 0), 40, 0.1)
    assert (told.frame_size_px, told.fields, told.other_islands) == ((640, 480), 2, 2)


def test_a_verdict_takes_a_blast_off_at_once(scope: Microscope) -> None:
    scope.show(sketch((0, 0), dots=(Dot(number=7, at_px=(10.4, 20.6)), Dot(number=8, at_px=(30, 40)))))
    scope.blasts = (7, 8)
    assert scope.view.map().blasts_px == ((10, 21), (30, 40))
    scope.blasts = (8,)
    assert scope.view.map().blasts_px == ((30, 40),)


def test_a_lost_place_is_told_and_one_that_nobody_follows_is_not_called_lost(scope: Microscope) -> None:
    scope.show(sketch((0, 0)), tracking="lost")
    assert (scope.view.sight().tracking, scope.view.sight().frame_px) == ("lost", None)
    scope.show(sketch((0, 0)), Spot(island=1, x_px=0, y_px=0))
    scope.counting = False
    assert (scope.view.sight().tracking, scope.view.sight().frame_px) == ("off", None)
    assert scope.view.map().fields == 1, "what a paused or closed slide covers stays in sight"


def test_a_new_slide_is_not_shown_the_ground_of_the_one_before(scope: Microscope) -> None:
    before = sketch((0, 0))
    scope.show(before, Spot(island=1, x_px=0, y_px=0))
    version = scope.view.sight().version
    scope.view.begin_slide()
    sight = scope.view.sight()
    assert sight.version != version
    assert (sight.tracking, sight.frame_px, scope.view.map().fields) == ("off", None, 0)
    scope.show(None)
    assert scope.view.map().fields == 0
    scope.show(sketch((9, 9)), Spot(island=1, x_px=0, y_px=0))
    assert (scope.view.sight().tracking, scope.view.map().fields) == ("known", 1)


def test_what_is_told_stays_small_with_five_thousand_fields_and_every_dot(scope: Microscope) -> None:
    dots = tuple(
        Dot(number=number, at_px=(-99_999.0 - number, 99_999.0 + number))
        for number in range(MOST_POINTED_OUT)
    )
    corners = [(700.0 * (field % 70), 500.0 * (field // 70)) for field in range(5000)]
    scope.show(sketch(*corners, dots=dots))
    scope.blasts = tuple(range(MOST_POINTED_OUT))
    told = scope.view.map()
    assert told.fields == 5000
    assert max(told.columns, told.rows) <= MOST_SQUARES
    assert len(told.model_dump_json()) < 6_000
    assert len(scope.view.sight().model_dump_json()) < 150
