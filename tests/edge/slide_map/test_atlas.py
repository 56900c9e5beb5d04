"""Islands, corners and links: pure geometry."""

from __future__ import annotations

import math

import pytest

from edge.slide_map.atlas import Atlas, Lens, Link, Spot

LENS = Lens(width_px=100, height_px=80)


def link(other: int, dx_px: float, dy_px: float, weight: float = 0.5) -> Link:
    return Link(other=other, dx_px=dx_px, dy_px=dy_px, weight=weight)


@pytest.fixture
def atlas() -> Atlas:
    return Atlas()


def settled(atlas: Atlas) -> None:
    for _ in range(10_000):
        if not atlas.settle(budget=16):
            return
    raise AssertionError("the corners never come to rest")


def test_neighbours_are_those_whose_ground_meets_largest_overlap_first(atlas: Atlas) -> None:
    island = atlas.begin_island(LENS)
    for field, (x, y) in enumerate([(0, 0), (50, 0), (-90, 70), (101, 0), (0, -81), (10, 10)]):
        atlas.add(field, Spot(island=island, x_px=x, y_px=y))
    around = atlas.near(Spot(island=island, x_px=0, y_px=0))
    assert [each.field for each in around] == [0, 5, 1, 2]
    assert around[1].overlap_share == pytest.approx(0.9 * 70 / 80)
    within_reach = atlas.near(Spot(island=island, x_px=0, y_px=0), reach_px=2.0)
    assert {each.field for each in within_reach} == {0, 1, 2, 3, 4, 5}


def test_a_neighbour_is_found_wherever_the_grids_lines_run(atlas: Atlas) -> None:
    island = atlas.begin_island(LENS)
    atlas.add(1, Spot(island=island, x_px=99, y_px=79))
    for dx in (-99, -50, 50, 99):
        for dy in (-79, 40, 79):
            near = atlas.near(Spot(island=island, x_px=99 + dx, y_px=79 + dy))
            assert [each.field for each in near] == [1]


def test_joining_moves_the_smaller_island_and_keeps_what_lies_between_its_fields(atlas: Atlas) -> None:
    large, small = atlas.begin_island(LENS), atlas.begin_island(LENS)
    for field in (1, 2, 3):
        atlas.add(field, Spot(island=large, x_px=60.0 * field, y_px=0))
    atlas.add(4, Spot(island=small, x_px=5, y_px=5))
    atlas.add(5, Spot(island=small, x_px=45, y_px=25))
    stays, gone, moved_px, fields = atlas.join(
        Spot(island=small, x_px=5, y_px=5), Spot(island=large, x_px=200, y_px=10)
    )
    assert (stays, gone, moved_px, fields) == (large, small, (195, 5), (4, 5))
    assert atlas.spot(5) == Spot(island=large, x_px=240, y_px=30)
    assert atlas.islands == 1
    assert [each.field for each in atlas.near(atlas.spot(5))] == [5, 4, 3]


def test_a_long_way_around_that_does_not_close_is_spread_over_the_links(atlas: Atlas) -> None:
    # Twelve fields on a circle; each link is one pixel too long to the right, so the last lies 12 px off.
    island = atlas.begin_island(LENS)
    true = [(200 * math.cos(math.tau * i / 12), 200 * math.sin(math.tau * i / 12)) for i in range(12)]
    steps = [(true[i][0] - true[i - 1][0] + 1, true[i][1] - true[i - 1][1]) for i in range(12)]
    at = (0.0, 0.0)
    atlas.add(0, Spot(island=island, x_px=0, y_px=0))
    for field in range(1, 12):
        at = (at[0] + steps[field][0], at[1] + steps[field][1])
        atlas.add(field, Spot(island=island, x_px=at[0], y_px=at[1]), [link(field - 1, *steps[field])])
    atlas.link(0, link(11, *steps[0]))
    settled(atlas)
    # The least squares put a twelfth of the gap into each of the twelve links, which the corners then show.
    for field in range(12):
        one, before = atlas.spot(field), atlas.spot((field - 1) % 12)
        assert one.x_px - before.x_px == pytest.approx(steps[field][0] - 1, abs=1.5)


def test_settling_touches_no_more_than_its_budget(atlas: Atlas) -> None:
    island = atlas.begin_island(LENS)
    atlas.add(0, Spot(island=island, x_px=0, y_px=0))
    for field in range(1, 200):
        atlas.add(field, Spot(island=island, x_px=60.0 * field, y_px=0), [link(field - 1, 50, 0)])
    assert len(atlas.settle(budget=20)) <= 20


def test_what_is_removed_leaves_nothing_behind(atlas: Atlas) -> None:
    island = atlas.begin_island(LENS)
    atlas.add(1, Spot(island=island, x_px=0, y_px=0))
    atlas.add(2, Spot(island=island, x_px=50, y_px=0), [link(1, 50, 0)])
    atlas.remove(1)
    assert 1 not in atlas
    assert atlas.links_of(2) == ()
    assert [each.field for each in atlas.near(atlas.spot(2))] == [2]
    atlas.remove(2)
    assert atlas.islands == 0
