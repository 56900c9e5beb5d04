"""Two bundles over the same fields: what a person would read otherwise."""

import pytest

from edge.analysis.cells import Cell, Naming
from edge.analysis.comparison import Disagreement, Sighting, TwoReadings, compare
from edge.contract.records import ReadingChange
from edge.contract.taxonomy import ObjectKind

WBC, RBC, PLATELET = ObjectKind.WBC, ObjectKind.RBC, ObjectKind.PLATELET


def sighting(reading, x=0.0, *, kind=WBC, side=20.0):
    return Sighting(box_px=(x, 0.0, x + side, side), kind=kind, reading=reading)


def named(cell_class, *, doubtful=False, out_of_distribution=False):
    return Cell(
        box_px=(0, 0, 20, 20),
        kind=WBC,
        score=0.9,
        naming=Naming(
            cell_class=cell_class,
            probability=0.7,
            probabilities={cell_class: 0.7},
            distance=1.0,
            doubtful=doubtful,
            out_of_distribution=out_of_distribution,
        ),
    )


@pytest.mark.parametrize(
    ("cell", "reading"),
    [
        (named("blast"), "blast"),
        (named("blast", doubtful=True), "doubtful"),
        (named("blast", doubtful=True, out_of_distribution=True), "out of distribution"),
        (Cell(box_px=(0, 0, 20, 20), kind=PLATELET, score=0.9), "platelet"),
    ],
)
def test_a_cell_is_read_under_its_class_only_where_the_bundle_commits_itself(cell, reading):
    assert Sighting.of(cell).reading == reading


def test_objects_are_paired_by_place_and_what_one_alone_shows_is_nothing_to_the_other():
    old = [sighting("blast"), sighting("neutrophil", 100), sighting("RBC", 200, kind=RBC)]
    new = [
        sighting("RBC", 203, kind=RBC),
        sighting("lymphocyte", 2),
        sighting("platelet", 300, kind=PLATELET),
    ]
    assert compare(old, new) == (
        TwoReadings(kind=WBC, old="blast", new="lymphocyte"),
        TwoReadings(kind=WBC, old="neutrophil", new="nothing"),
        TwoReadings(kind=RBC, old="RBC", new="RBC"),
        TwoReadings(kind=PLATELET, old="nothing", new="platelet"),
    )


def test_boxes_that_overlap_less_than_half_are_two_objects():
    assert [each.agree for each in compare([sighting("blast")], [sighting("blast", 6)])] == [True]
    assert [each.agree for each in compare([sighting("blast")], [sighting("blast", 8)])] == [False, False]


def test_one_object_of_the_new_bundle_answers_for_one_of_the_old():
    readings = compare([sighting("blast"), sighting("blast", 1)], [sighting("blast", 1)])
    assert sorted(each.new for each in readings) == ["blast", "nothing"]


def test_a_platelet_that_becomes_a_white_cell_is_one_object_read_otherwise():
    readings = compare([sighting("platelet", kind=PLATELET)], [sighting("blast")])
    assert readings == (TwoReadings(kind=PLATELET, old="platelet", new="blast"),)


def test_the_record_tells_what_was_missed_found_and_renamed():
    fields = [
        compare([sighting("blast"), sighting("blast", 50)], [sighting("blast"), sighting("doubtful", 50)]),
        compare([sighting("blast"), sighting("RBC", 50, kind=RBC)], [sighting("doubtful")]),
        compare([], [sighting("platelet", kind=PLATELET)]),
        [],
    ]
    found = Disagreement.over(fields)
    assert found.by_reading() == {"RBC": (1, 1), "blast": (3, 2), "nothing": (1, 1)}
    result = found.result(passed_over=7)
    assert (result.fields, result.fields_passed_over) == (4, 7)
    assert (result.objects, result.differing, result.share) == (5, 4, 0.8)
    assert (result.low, result.high) == pytest.approx((0.3755, 0.9638), abs=1e-3)
    assert (result.missed, result.found) == ({RBC: 1}, {PLATELET: 1})
    assert result.changes == (
        ReadingChange(active="blast", candidate="doubtful", objects=2),
        ReadingChange(active="RBC", candidate="nothing", objects=1),
        ReadingChange(active="nothing", candidate="platelet", objects=1),
    )


def test_of_no_objects_nothing_is_known():
    result = Disagreement.over([[], []]).result(passed_over=0)
    assert (result.fields, result.objects, result.share, result.low, result.high) == (2, 0, 0, 0, 1)
