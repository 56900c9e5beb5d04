"""The slide map under a hand on the virtual slide: every cell once, whatever way the stage takes."""

from __future__ import annotations

import math

import pytest

from edge.bundle import open_bundle, starter_bundle
from edge.networks import open_networks
from tests.edge.slide_map.tour import Outcome, hand_slide, perfect, tour

ALLOWED = 0.005


def held(outcome: Outcome, *, fields: int) -> None:
    print(outcome.told())
    assert outcome.fields >= 0.85 * fields
    assert outcome.doubled <= ALLOWED * len(outcome.in_gated_view)
    assert len(outcome.missed) <= ALLOWED * len(outcome.in_gated_view)


def farthest_off_px(outcome: Outcome, um_per_px: float) -> float:
    """How far a field lies from where it should on the largest island, measured from the first there."""
    islands = [island for _, island, _ in outcome.places]
    largest = max(set(islands), key=islands.count)
    there = [(true, spot) for true, island, spot in outcome.places if island == largest]
    (true_x, true_y), (x_px, y_px) = there[0]
    return max(
        math.dist(
            ((true[0] - true_x) / um_per_px, (true[1] - true_y) / um_per_px),
            (spot[0] - x_px, spot[1] - y_px),
        )
        for true, spot in there
    )


@pytest.mark.parametrize("tells_stage", [False, True])
def test_under_a_hand_no_cell_is_counted_twice_and_none_is_missed(tells_stage: bool) -> None:
    camera = hand_slide(seed=3, width_px=320, height_px=240, fields=60, tells_stage=tells_stage)
    outcome = tour(camera, perfect(camera))
    held(outcome, fields=60)
    assert len(outcome.in_gated_view) > 60
    assert outcome.ground is not None
    assert outcome.ground.mm2 == pytest.approx(outcome.ground.frames * 51.2 * 38.4 / 1e6, rel=0.01)
    if tells_stage:
        assert outcome.ground.tracking_losses == 0
    # Half a cell's diameter is about forty of these pixels.
    assert farthest_off_px(outcome, 51.2 / 320) < 20


def test_leaps_begin_islands_and_known_ground_joins_them() -> None:
    camera = hand_slide(seed=1, width_px=320, height_px=240, fields=50)
    outcome = tour(camera, perfect(camera))
    held(outcome, fields=50)
    assert outcome.ground is not None
    assert outcome.ground.tracking_losses > 1
    assert outcome.ground.islands <= outcome.ground.tracking_losses, "some of them were joined"


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [11, 12])
def test_over_five_hundred_fields_no_more_than_one_in_two_hundred_is_wrong(seed: int) -> None:
    camera = hand_slide(seed=seed, width_px=400, height_px=300, fields=500)
    held(tour(camera, perfect(camera)), fields=500)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_with_the_starter_bundles_detector_the_map_adds_no_fault_of_its_own() -> None:
    camera = hand_slide(seed=21, width_px=640, height_px=480, fields=150)
    with open_networks(open_bundle(starter_bundle()), threads=1) as networks:
        outcome = tour(camera, lambda frame: networks.analyzer.find(frame.pixels, um_per_px=frame.um_per_px))
    print(outcome.told())
    in_view = len(outcome.in_gated_view)
    print(
        f"the detector never found {len(outcome.missed - outcome.found)} of them, took {len(outcome.split)} "
        f"for two and found {outcome.unknown} where none are; the map counted {outcome.doubled_by_the_map} "
        f"twice and lost {len(outcome.missed_by_the_map)}"
    )
    assert in_view > 100
    assert len(outcome.found) >= 0.9 * in_view
    assert outcome.doubled_by_the_map <= ALLOWED * in_view
    assert len(outcome.missed_by_the_map) <= ALLOWED * in_view
