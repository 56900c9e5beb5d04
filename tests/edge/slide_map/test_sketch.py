"""What a person is shown of the covered ground: true to a square, bounded, after every turn of the map."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.analysis.cells import Cell
from edge.contract.taxonomy import ObjectKind
from edge.slide_map.atlas import Lens, Spot
from edge.slide_map.sketch import MOST_POINTED_OUT, MOST_SQUARES, Drawing, Sketch
from edge.slide_map.slide_map import Admitted, SlideMap
from tests.edge.slide_map.conftest import HEIGHT_PX, WIDTH_PX, Ground
from tests.edge.slide_map.test_slide_map import Microscope

LENS = Lens(width_px=640, height_px=480)
CORNERS = [(0, 0), (120, 40), (800, 600), (900, 560), (240, 90)]


def squares(sketch: Sketch | None) -> NDArray[np.bool_]:
    assert sketch is not None
    bits = np.unpackbits(np.frombuffer(sketch.squares, np.uint8), count=sketch.rows * sketch.columns)
    return bits.reshape(sketch.rows, sketch.columns).astype(np.bool_)


def shows(sketch: Sketch | None, x_px: float, y_px: float) -> bool:
    """Whether a place of the island is drawn as covered."""
    assert sketch is not None
    column = int((x_px - sketch.corner_px[0]) // sketch.square_px)
    row = int((y_px - sketch.corner_px[1]) // sketch.square_px)
    return 0 <= column < sketch.columns and 0 <= row < sketch.rows and bool(squares(sketch)[row, column])


def drawn(drawing: Drawing) -> Sketch:
    return drawing.sketch(1, dots=(), other_islands=0)


def at(x_px: float, y_px: float) -> Spot:
    return Spot(island=1, x_px=x_px, y_px=y_px)


@pytest.fixture
def scope(ground: Ground) -> Microscope:
    return Microscope(ground, SlideMap())


def test_a_field_is_drawn_to_scale_where_it_lies() -> None:
    drawing = Drawing(LENS)
    drawing.lay(drawing.rectangle(at(-85, 1000)))
    sketch = drawn(drawing)
    assert (sketch.square_px, sketch.columns, sketch.rows) == (40, 16, 12)
    assert sketch.corner_px == pytest.approx((-85, 1000), abs=20)
    assert squares(sketch).all()


def test_ground_between_fields_is_not_drawn_as_covered() -> None:
    drawing = Drawing(LENS)
    for x_px, y_px in ((0, 0), (720, 0), (0, 560), (720, 560)):
        drawing.lay(drawing.rectangle(at(x_px, y_px)))
    sketch = drawn(drawing)
    assert not shows(sketch, 680, 200)
    assert not shows(sketch, 200, 520)
    assert all(shows(sketch, x_px, y_px) for x_px in (20, 620, 740, 1340) for y_px in (20, 460, 580, 1020))


@pytest.mark.parametrize("fields", [20, 300])
def test_every_field_is_on_the_drawing_and_no_edge_lies_more_than_a_square_outside(fields: int) -> None:
    chance, drawing = np.random.default_rng(3), Drawing(LENS)
    corners = np.cumsum(chance.normal(0, 400, (fields, 2)), axis=0)
    for x_px, y_px in corners:
        drawing.lay(drawing.rectangle(at(x_px, y_px)))
    sketch = drawn(drawing)
    shown, side_px = squares(sketch), sketch.square_px
    left, top = sketch.corner_px
    within = np.zeros_like(shown)
    reached = np.zeros_like(shown)
    across = left + np.arange(sketch.columns) * side_px
    down = top + np.arange(sketch.rows) * side_px
    # To the nearest finest square: half of one of 40 px at most.
    for x_px, y_px in corners:
        for touched, slack_px in ((within, -20), (reached, 20)):
            columns = (across < x_px + 640 + slack_px) & (across + side_px > x_px - slack_px)
            rows = (down < y_px + 480 + slack_px) & (down + side_px > y_px - slack_px)
            touched[rows[:, None] & columns[None, :]] = True
    assert (within <= shown).all()
    assert (shown <= reached).all()
    assert sketch.fields == fields


def test_the_drawing_stays_small_however_far_the_fields_lie() -> None:
    drawing = Drawing(LENS)
    for field in range(2000):
        drawing.lay(drawing.rectangle(at(field * 500.0, -field * 30.0)))
        if field in {5, 50, 500, 1999}:
            sketch = drawn(drawing)
            assert MOST_SQUARES / 2 <= max(sketch.columns, sketch.rows) <= MOST_SQUARES
            assert len(sketch.squares) <= MOST_SQUARES**2 / 8
            assert sketch.columns * sketch.square_px == pytest.approx(field * 500 + 640, rel=0.05)
    assert (squares(sketch).sum(axis=0) > 0).all(), "no field is lost between the squares"


def test_a_field_that_is_lifted_leaves_what_others_cover() -> None:
    chance, drawing, others = np.random.default_rng(5), Drawing(LENS), Drawing(LENS)
    corners = [tuple(corner) for corner in chance.uniform(-4000, 4000, (60, 2))]
    for x_px, y_px in corners:
        drawing.lay(drawing.rectangle(at(x_px, y_px)))
    for x_px, y_px in corners[::2]:
        others.lay(others.rectangle(at(x_px, y_px)))
    for x_px, y_px in corners[1::2]:
        drawing.lift(drawing.rectangle(at(x_px, y_px)))
    assert drawn(drawing).fields == 30
    assert drawn(drawing) == drawn(others)
    for x_px, y_px in corners[::2]:
        drawing.lift(drawing.rectangle(at(x_px, y_px)))
    assert (drawn(drawing).columns, drawn(drawing).squares) == (0, b"")


def test_an_empty_map_shows_nothing() -> None:
    for slide_map in (SlideMap(), SlideMap(followed=False)):
        assert (slide_map.shown.sketch, slide_map.shown.frame, slide_map.shown.tracking) == (
            None,
            None,
            "off",
        )


def test_the_frame_is_shown_where_the_camera_went_and_the_ground_where_it_was_counted(
    scope: Microscope,
) -> None:
    scope.count(0, 0)
    scope.move([(40, 20), (90, 50), (150, 90), (210, 120)])
    shown = scope.map.shown
    assert shown.tracking == "known"
    assert shown.frame is not None
    assert (shown.frame.x_px, shown.frame.y_px) == pytest.approx((210, 120), abs=4)
    assert shows(shown.sketch, WIDTH_PX / 2, HEIGHT_PX / 2)
    assert not shows(shown.sketch, 210 + WIDTH_PX / 2, 120 + HEIGHT_PX / 2)


def test_a_field_is_drawn_when_it_is_counted_and_not_before(scope: Microscope) -> None:
    place = scope.map.take(scope.look(scope.frame(0, 0)))
    taken = scope.map.shown.sketch
    assert taken is not None
    assert (taken.fields, taken.squares) == (0, b"")
    scope.map.admit(place, ())
    counted = scope.map.shown.sketch
    assert counted is not None
    assert counted.fields == 1
    assert squares(counted).all()


def test_what_has_not_changed_is_the_same_sketch(scope: Microscope) -> None:
    scope.count(0, 0)
    before = scope.map.shown.sketch
    scope.move([(10, 0), (30, 0)])
    assert scope.map.shown.sketch is before
    scope.count(200, 0)
    assert scope.map.shown.sketch is not before


def test_where_the_place_is_lost_the_ground_shown_last_stays_and_no_frame_is_claimed(
    scope: Microscope,
) -> None:
    scope.count(0, 0)
    before = scope.map.shown.sketch
    scope.move([(800, 600)])
    shown = scope.map.shown
    assert (shown.tracking, shown.frame) == ("lost", None)
    assert shown.sketch is before


def test_another_island_is_shown_when_the_camera_is_there_and_one_ground_when_they_are_joined(
    scope: Microscope,
) -> None:
    scope.count(0, 0)
    scope.move([(800, 600)])
    scope.count(800, 600)
    apart = scope.map.shown.sketch
    assert apart is not None
    assert (apart.island, apart.fields, apart.other_islands) == (2, 1, 1)
    scope.count(60, 30)
    back = scope.map.shown.sketch
    assert back is not None
    assert (back.island, back.fields, back.other_islands) == (1, 2, 1)
    scope.move([(60 + 90 * i, 30 + 70 * i) for i in range(1, 8)])
    joined = scope.count(730, 560).place
    assert joined is not None
    assert joined.joined
    one = scope.map.shown.sketch
    assert one is not None
    assert (one.fields, one.other_islands) == (4, 0)
    # From a field of the first island to that of the second, as far as they lie apart.
    frame = scope.map.shown.frame
    assert frame is not None
    for x_px, y_px in ((0, 0), (800, 600), (60, 30)):
        middle = (frame.x_px + x_px - 730 + WIDTH_PX / 2, frame.y_px + y_px - 560 + HEIGHT_PX / 2)
        assert shows(one, *middle)


def test_a_field_that_is_lost_after_all_is_shown_no_more(scope: Microscope) -> None:
    scope.count(0, 0)
    before = scope.map.shown.sketch
    place = scope.map.take(scope.look(scope.frame(250, 0)))
    scope.map.admit(place, ())
    assert scope.map.shown.sketch != before
    scope.map.take_back(place)
    assert scope.map.shown.sketch == before


def test_another_slide_begins_with_nothing_and_a_kept_one_as_it_was(
    ground: Ground, scope: Microscope
) -> None:
    for x_px, y_px in CORNERS:
        scope.count(x_px, y_px)
    before = scope.map.shown
    assert before.sketch is not None
    resumed = Microscope(ground, SlideMap())
    resumed.map.begin_slide(scope.kept)
    after = resumed.map.shown
    assert after.sketch == before.sketch
    assert (after.tracking, after.frame) == ("lost", None), "the camera may be anywhere by now"
    scope.map.begin_slide()
    assert scope.map.shown.sketch is None


def white(admitted: Admitted) -> list[Cell]:
    return [cell for cell in admitted.cells if cell.kind is ObjectKind.WBC and cell.number is not None]


def test_cells_are_pointed_out_where_they_lie_also_by_another_run(ground: Ground, scope: Microscope) -> None:
    corners = ((0, 0), (120, 40), (240, 90), (330, 200))
    cells = [cell for corner in corners for cell in white(scope.count(*corner)) if not cell.cut_off]
    numbers = [cell.number for cell in cells if cell.number is not None]
    assert len(numbers) > 3
    resumed = SlideMap()
    resumed.begin_slide(scope.kept)
    for slide_map in (scope.map, resumed):
        slide_map.point_out(numbers[1:])
        sketch = slide_map.shown.sketch
        assert sketch is not None
        assert [dot.number for dot in sketch.dots] == numbers[1:]
        for dot, cell in zip(sketch.dots, cells[1:], strict=True):
            assert dot.at_px == pytest.approx(cell.position_px, abs=3)
        slide_map.point_out([])
        assert slide_map.shown.sketch is not None
        assert slide_map.shown.sketch.dots == ()


def test_cells_of_another_island_and_numbers_that_nobody_has_are_not_pointed_out(scope: Microscope) -> None:
    first = white(scope.count(0, 0))
    scope.move([(800, 600)])
    second = white(scope.count(800, 600))
    numbers = [cell.number for cell in (*first, *second) if cell.number is not None]
    scope.map.point_out([*range(900, 900 + 2 * MOST_POINTED_OUT), *numbers])
    sketch = scope.map.shown.sketch
    assert sketch is not None
    assert [dot.number for dot in sketch.dots] == [cell.number for cell in second]


def test_pictures_that_nobody_follows_have_a_sketch_and_no_frame(ground: Ground) -> None:
    scope = Microscope(ground, SlideMap(followed=False))
    scope.count(0, 0)
    scope.count(120, 0)
    shown = scope.map.shown
    assert (shown.tracking, shown.frame) == ("off", None)
    assert shown.sketch is not None
    assert shown.sketch.fields + shown.sketch.other_islands == 2
