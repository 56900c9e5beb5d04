"""Which cell is which, with the boxes of a perfect detector and fields at known places."""

from __future__ import annotations

import pytest

from edge.analysis.cells import Cell
from edge.contract.taxonomy import ObjectKind
from edge.slide_map.census import Around, Census, Sorted, completed

SIZE_PX = (400, 300)
Box = tuple[float, float, float, float]


def white(*box: float) -> Cell:
    x0, y0, x1, y1 = box
    return Cell(box_px=(x0, y0, x1, y1), kind=ObjectKind.WBC, score=0.9)


def red(x_px: float, y_px: float) -> Cell:
    return Cell(box_px=(x_px - 25, y_px - 25, x_px + 25, y_px + 25), kind=ObjectKind.RBC, score=0.9)


class Bench:
    """A census with fields at known corners, all of which are around each other."""

    def __init__(self) -> None:
        self.census = Census()
        self.corners: dict[int, tuple[float, float]] = {}

    def around(self, field: int) -> list[Around]:
        x_px, y_px = self.corners[field]
        return [
            Around(field=other, dx_px=at[0] - x_px, dy_px=at[1] - y_px)
            for other, at in self.corners.items()
            if other != field
        ]

    def sort(self, corner: tuple[float, float], *cells: Cell, focus: float = 0.5) -> Sorted:
        field = len(self.corners) + 1
        self.corners[field] = corner
        return self.census.admit(field, cells, size_px=SIZE_PX, focus=focus, around=self.around(field))

    def show(self, corner: tuple[float, float], *cells: Cell, focus: float = 0.5) -> tuple[Cell, ...]:
        return self.sort(corner, *cells, focus=focus).reported


@pytest.fixture
def bench() -> Bench:
    return Bench()


def numbers(cells: tuple[Cell, ...]) -> list[int | None]:
    return [cell.number for cell in cells]


def test_a_cell_in_two_fields_is_one_cell(bench: Bench) -> None:
    assert numbers(bench.show((0, 0), white(100, 100, 200, 200))) == [1]
    again = bench.show((60, 20), white(43, 82, 143, 182), white(220, 100, 320, 200))
    assert numbers(again) == [2], "the first was counted, three pixels of error or not"
    assert bench.census.white_cells == 2


def test_what_is_not_reported_is_told_with_its_number_for_the_page(bench: Bench) -> None:
    bench.show((0, 0), white(100, 100, 200, 200), red(300, 100))
    found = bench.sort((0, 0), white(102, 100, 202, 200), red(300, 100), white(370, 200, 400, 290))
    assert found.reported == ()
    assert [(cell.kind, cell.number) for cell in found.seen_again] == [
        (ObjectKind.WBC, 1),
        (ObjectKind.RBC, None),
        (ObjectKind.WBC, None),
    ]


def test_two_cells_that_touch_are_two(bench: Bench) -> None:
    bench.show((0, 0), white(100, 100, 200, 200))
    assert numbers(bench.show((0, 0), white(200, 100, 300, 200))) == [2]


def test_a_clearly_sharper_view_is_reported_under_the_same_number_and_an_equal_one_is_not(
    bench: Bench,
) -> None:
    cell = white(100, 100, 200, 200)
    bench.show((0, 0), cell, focus=0.4)
    assert bench.show((0, 0), cell, focus=0.45) == ()
    assert numbers(bench.show((0, 0), cell, focus=0.5)) == [1]
    assert bench.show((0, 0), cell, focus=0.55) == ()


def test_a_cut_cell_counts_until_a_field_shows_it_whole(bench: Bench) -> None:
    (first,) = bench.show((0, 0), white(330, 100, 400, 200))
    assert (first.number, first.cut_off) == (1, True)
    (whole,) = bench.show((100, 0), white(230, 100, 330, 200), focus=0.3)
    assert (whole.number, whole.cut_off) == (1, False), "whole is better than cut, however sharp"
    assert bench.show((-20, 0), white(350, 100, 400, 200), focus=0.9) == (), "cut is not better than whole"


def test_less_than_half_a_cell_waits_for_a_field_that_shows_more(bench: Bench) -> None:
    assert bench.show((0, 0), white(370, 100, 400, 200)) == ()
    assert bench.census.white_cells == 0
    assert numbers(bench.show((100, 0), white(270, 100, 370, 200))) == [1]


def test_halves_in_fields_that_only_touch_are_one_cell(bench: Bench) -> None:
    assert numbers(bench.show((0, 0), white(345, 100, 400, 200))) == [1]
    assert bench.show((400, 0), white(0, 100, 52, 200)) == ()


def test_other_objects_count_once_by_their_place(bench: Bench) -> None:
    assert len(bench.show((0, 0), red(100, 100), red(160, 100))) == 2
    again = bench.show((50, 0), red(52, 101), red(110, 100), red(300, 200))
    assert [cell.centre_px for cell in again] == [(300, 200)]
    assert [cell.number for cell in again] == [None]


def test_a_red_cell_is_not_a_white_one_at_its_place(bench: Bench) -> None:
    bench.show((0, 0), red(100, 100))
    assert numbers(bench.show((0, 0), white(75, 75, 125, 125))) == [1]


def test_cells_of_ground_that_turns_out_to_be_one_are_withdrawn_the_worse_view_first(bench: Bench) -> None:
    bench.show((0, 0), white(100, 100, 200, 200), white(300, 100, 380, 180), focus=0.4)
    bench.corners[1] = (10_000, 0)  # on another island, as far as the map knows
    assert numbers(bench.show((50, 0), white(52, 100, 152, 200), focus=0.6)) == [3]
    bench.corners[1] = (0, 0)
    assert bench.census.same(1, bench.around(1)) == ((1, 3),)
    assert bench.census.same(2, bench.around(2)) == ()
    assert bench.census.white_cells == 2
    assert bench.show((20, 0), white(80, 100, 180, 200)) == (), "it is known under the number that stays"


def test_a_field_that_is_taken_back_leaves_its_cells_to_be_counted(bench: Bench) -> None:
    cell = white(100, 100, 200, 200)
    bench.show((0, 0), cell, focus=0.5)
    bench.show((0, 0), cell, focus=0.8)
    bench.census.remove(2)
    assert numbers(bench.show((0, 0), cell, focus=0.7)) == [1], "better than what is left of it"
    for field in (1, 3):
        bench.census.remove(field)
    assert bench.census.white_cells == 0
    assert numbers(bench.show((0, 0), cell)) == [2]


@pytest.mark.parametrize(
    ("box", "middle", "diameter", "is_cut"),
    [
        ((100, 100, 200, 180), (150, 140), 100, False),
        ((0, 100, 60, 200), (10, 150), 100, True),
        ((340, 100, 400, 200), (390, 150), 100, True),
        ((100, 250, 200, 300), (150, 300), 100, True),
        ((0, 0, 60, 50), (0, -10), 120, True),
        ((340, 100, 396, 200), (390, 150), 100, True),
        ((290, 100, 390, 200), (340, 150), 100, False),
    ],
)
def test_a_cut_object_is_completed_towards_the_edge(
    box: Box, middle: tuple[float, float], diameter: float, is_cut: bool
) -> None:
    found, size_px, cut = completed(box, SIZE_PX, 120)
    assert found == pytest.approx(middle)
    assert (size_px, cut) == (diameter, is_cut)
