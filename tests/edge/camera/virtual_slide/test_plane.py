"""The plane: the same smear whatever the order of visits, and a truth that fits the pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge.camera.virtual_slide import Population, SmearPlane, Stain
from edge.camera.virtual_slide.objects import Box
from edge.contract.taxonomy import DIFFERENTIAL, ObjectKind

UM_PER_PX = 0.16
BUSY = Population(white_cells_per_field=2.5, platelets_per_field=4.0)


def window(plane: SmearPlane, x_px: int, y_px: int, size_px: int = 200):
    return plane.transmittance(x_px=x_px, y_px=y_px, width_px=size_px, height_px=size_px, um_per_px=UM_PER_PX)


def test_the_order_of_visits_changes_nothing():
    places = [(0, 0), (-700, 300), (250, -90), (1000, 1000)]
    first = SmearPlane(seed=3)
    forward = [window(first, *place) for place in places]
    second = SmearPlane(seed=3)
    backward = [window(second, *place) for place in reversed(places)]
    for one, other in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(one, other)


def test_a_small_cache_draws_the_same_again():
    places = [(0, 0), (900, 0), (0, 900), (0, 0)]
    roomy, tight = SmearPlane(seed=5), SmearPlane(seed=5, cache_bytes=1)
    for place in places:
        assert np.array_equal(window(roomy, *place), window(tight, *place))


def test_kept_tiles_and_fresh_drawing_are_one_picture():
    plane = SmearPlane(seed=11, population=BUSY)
    area = {"x_px": -130, "y_px": 75, "width_px": 500, "height_px": 400, "um_per_px": UM_PER_PX}
    assert np.array_equal(plane.transmittance(**area), plane.draw(**area))


def test_overlapping_windows_agree_where_they_overlap():
    plane = SmearPlane(seed=4)
    one, other = window(plane, 0, 0), window(plane, 60, 35)
    assert np.array_equal(one[35:, 60:], other[:-35, :-60])


def test_another_seed_is_another_smear():
    assert not np.array_equal(window(SmearPlane(seed=1), 0, 0), window(SmearPlane(seed=2), 0, 0))
    assert not np.array_equal(window(SmearPlane(seed=1), 0, 0), window(SmearPlane(seed=-1), 0, 0))


def test_objects_do_not_depend_on_the_window_asked_for():
    plane = SmearPlane(seed=8, population=BUSY)
    whole = plane.objects_in((0, 0, 200, 150))
    parts: set[int] = set()
    for x, y in itertools.product((0, 100), (0, 75)):
        parts |= {each.identity for each in plane.objects_in((x, y, x + 100, y + 75))}
    assert parts == {each.identity for each in whole}
    assert len(parts) == len(whole), "an identity is one object's own"


def test_densities_are_those_asked_for():
    side_um = 640.0
    population = Population(
        crowding=0.4, white_cells_per_field=1.0, platelets_per_field=2.0, rouleaux=0.0, bare=0.0
    )
    plane = SmearPlane(seed=21, population=population)
    inside = [
        each
        for each in plane.objects_in((0, 0, side_um, side_um))
        if 0 <= each.center_um[0] < side_um and 0 <= each.center_um[1] < side_um
    ]
    fields = side_um**2 / (51.2 * 38.4)
    per_field = {kind: sum(each.kind is kind for each in inside) / fields for kind in ObjectKind}
    assert per_field[ObjectKind.WBC] == pytest.approx(1.0, abs=0.2)
    assert per_field[ObjectKind.PLATELET] == pytest.approx(2.0, abs=0.5)
    assert per_field[ObjectKind.RBC] == pytest.approx(0.4 * 41, rel=0.15)


def test_white_cells_are_apart_and_push_red_cells_aside():
    plane = SmearPlane(seed=31, population=Population(white_cells_per_field=2.5, crowding=0.9, bare=0.0))
    objects = plane.objects_in((0, 0, 400, 300))
    whites = [each for each in objects if each.kind is ObjectKind.WBC]
    reds = [each for each in objects if each.kind is ObjectKind.RBC]
    assert len(whites) > 40
    for one, other in itertools.combinations(whites, 2):
        assert overlap_share(one.box_um, other.box_um) < 0.1
    buried = [overlap_share(red.box_um, white.box_um) > 0.6 for white in whites for red in reds]
    assert np.mean(buried) < 0.001


def overlap_share(one: Box, other: Box) -> float:
    """The share of the smaller box that lies in the other."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)


def test_some_regions_are_bare_glass():
    plane = SmearPlane(seed=2, population=Population(bare=1.0))
    # With a hole in every region, the middle of each is bare and its corners are not.
    assert plane.objects_in((45, 45, 85, 85)) == ()
    assert plane.objects_in((-20, -20, 20, 20)) != ()


def test_placed_objects_are_clipped_and_tell_what_is_left_of_them():
    plane = SmearPlane(seed=6)
    origin_um = (10.0, 20.0)
    placed = plane.placed_in(origin_um=origin_um, width_px=300, height_px=200, um_per_px=UM_PER_PX)
    assert any(each.visible == 1 for each in placed)
    assert any(each.visible < 1 for each in placed)
    for each in placed:
        x0, y0, x1, y1 = each.box_px
        assert 0 <= x0 < x1 <= 300
        assert 0 <= y0 < y1 <= 200
        full = each.object.box_um
        area_px2 = (full[2] - full[0]) * (full[3] - full[1]) / UM_PER_PX**2
        assert each.visible == pytest.approx((x1 - x0) * (y1 - y0) / area_px2)
        if each.visible == 1:
            assert x0 * UM_PER_PX + origin_um[0] == pytest.approx(full[0])
            assert y1 * UM_PER_PX + origin_um[1] == pytest.approx(full[3])


def test_pixels_in_a_white_cells_box_are_purple_and_others_are_not():
    plane = SmearPlane(seed=17, population=Population(white_cells_per_field=2.0, platelets_per_field=0.0))
    area = {"width_px": 900, "height_px": 700, "um_per_px": UM_PER_PX}
    light = plane.draw(x_px=0, y_px=0, **area).astype(np.float32)
    # Nuclei take green light and let blue pass; red cells take both.
    purple = light[..., 2] - light[..., 1]
    covered = np.zeros(purple.shape, dtype=bool)
    whites = [
        each for each in plane.placed_in(origin_um=(0.0, 0.0), **area) if each.object.kind is ObjectKind.WBC
    ]
    assert len(whites) >= 10
    for each in whites:
        x0, y0, x1, y1 = (round(value) for value in each.box_px)
        covered[y0:y1, x0:x1] = True
    outside = purple[~covered]
    assert np.mean(outside > 60) < 0.001
    for each in whites:
        if each.visible == 1:
            x0, y0, x1, y1 = (round(value) for value in each.box_px)
            assert np.mean(purple[y0:y1, x0:x1] > 60) > 0.15, each.object.cell_class


def test_the_mix_is_what_was_asked_for():
    only = Population(mix={"eosinophil": 3.0, "blast": 1.0}, white_cells_per_field=1.5, bare=0.0)
    found = [
        each.cell_class
        for each in SmearPlane(seed=9, population=only).objects_in((0, 0, 700, 700))
        if each.kind is ObjectKind.WBC
    ]
    assert set(found) == {"eosinophil", "blast"}
    assert found.count("blast") / len(found) == pytest.approx(0.25, abs=0.08)


def test_a_blast_share_is_kept_beside_the_mix():
    population = Population().with_blast_share(0.5)
    assert population.mix["blast"] / sum(population.mix.values()) == pytest.approx(0.5)
    before = Population().mix
    assert population.mix["monocyte"] / population.mix["lymphocyte"] == pytest.approx(
        before["monocyte"] / before["lymphocyte"]
    )
    assert set(Population().with_blast_share(0.0).mix) == set(DIFFERENTIAL.classes)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Population().with_blast_share(1.5)


@pytest.mark.parametrize(
    ("mix", "fault"), [({"platypus": 1.0}, "platypus"), ({"blast": 0.0}, "mix"), ({}, "mix")]
)
def test_a_mix_that_cannot_be_is_refused(mix, fault):
    with pytest.raises(ValueError, match=fault):
        Population(mix=mix)


def test_a_stronger_stain_lets_less_light_pass():
    weak, strong = (window(SmearPlane(seed=1, stain=Stain(eosin=eosin)), 0, 0).mean() for eosin in (0.7, 1.4))
    assert strong < weak
