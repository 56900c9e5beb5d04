"""The stage's way: it follows from the seed, rests, moves, goes back, and sometimes forgets to focus."""

from __future__ import annotations

import math

import pytest

from edge.camera.virtual_slide.stage import Route

ROUTE = Route(seed=3, field_um=(51.2, 38.4))


def test_a_view_follows_from_seed_and_index_alone():
    backward = [ROUTE.view(index) for index in reversed(range(200))]
    again = Route(seed=3, field_um=(51.2, 38.4))
    assert [again.view(index) for index in range(200)] == backward[::-1]
    other = Route(seed=4, field_um=(51.2, 38.4))
    assert [other.view(index) for index in range(200)] != backward[::-1]


def test_it_rests_at_every_station_for_most_of_the_time():
    for number in range(50):
        views = [ROUTE.view(number * 8 + since) for since in range(8)]
        resting = [each for each in views if each.at_rest]
        assert len(resting) >= 5
        assert {each.corner_um for each in resting} == {ROUTE.station(number).corner_um}
        assert all(each.station == number for each in views)


def test_between_stations_it_moves_towards_the_next_without_a_jump():
    for number in range(1, 50):
        before, here = (ROUTE.station(each).corner_um for each in (number - 1, number))
        way_um = math.dist(before, here)
        moving = [view for view in map(ROUTE.view, range(number * 8, number * 8 + 8)) if not view.at_rest]
        left_um = [math.dist(view.corner_um, here) for view in moving]
        assert left_um == sorted(left_um, reverse=True)
        assert all(0 < math.hypot(*view.travel_um) < 0.4 * way_um for view in moving)


def test_it_goes_back_to_fields_it_has_shown():
    stations = [ROUTE.station(number) for number in range(300)]
    again = [number for number, each in enumerate(stations) if each.visit == "again"]
    assert 5 < len(again) < 40
    for number in again:
        earlier = [each.corner_um for each in stations[max(number - 12, 0) : number]]
        assert stations[number].corner_um in earlier
    new = [each.slot for each in stations if each.visit == "new"]
    assert len(set(new)) == len(new), "a new field is one not seen before"


def test_some_stations_are_far_out_of_focus_and_the_others_drift_slowly():
    stations = [ROUTE.station(number) for number in range(300)]
    blurred = [number for number, each in enumerate(stations) if each.visit == "out_of_focus"]
    assert 5 < len(blurred) < 40
    for number, each in enumerate(stations):
        defocus_um = ROUTE.view(number * 8 + 7).defocus_um
        if each.visit == "out_of_focus":
            assert defocus_um > 1.0
        else:
            assert defocus_um < 0.1
    sharp = [ROUTE.view(index).defocus_um for index in range(8)]
    assert max(sharp) - min(sharp) < 0.02


def test_new_fields_overlap_a_little_and_wind_row_by_row():
    stations = [ROUTE.station(number) for number in range(120)]
    slots = {each.slot: each.corner_um for each in stations if each.visit != "again"}
    steps = [
        (abs(slots[slot + 1][0] - x), abs(slots[slot + 1][1] - y))
        for slot, (x, y) in slots.items()
        if slot + 1 in slots
    ]
    along = [step for step in steps if step == pytest.approx((0.9 * 51.2, 0.0))]
    down = [step for step in steps if step == pytest.approx((0.0, 0.9 * 38.4))]
    assert len(along) + len(down) == len(steps)
    assert len(along) > 10 * len(down) > 0


def test_a_stage_that_never_rests_is_refused():
    with pytest.raises(ValueError, match="frames"):
        Route(seed=0, field_um=(51.2, 38.4), frames_per_station=3)
