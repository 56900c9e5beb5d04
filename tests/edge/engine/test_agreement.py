"""Answers are compared by what they are about, not by the place they stand at."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.contract.manifest import Classifier
from edge.contract.taxonomy import ObjectKind
from edge.engine.agreement import (
    DOUBTFUL,
    NOTHING,
    OUT_OF_DISTRIBUTION,
    SCORE_FLOOR,
    Agreement,
    CellAnswer,
    Detections,
    Difference,
    compare_cell,
    compare_detections,
)
from tests.edge.bundles import manifest_content

KINDS = (ObjectKind.WBC, ObjectKind.RBC)
LIMITS = {ObjectKind.WBC: 0.3, ObjectKind.RBC: 0.4}
BOX = (10.0, 10.0, 50.0, 40.0)
FAR = (200.0, 200.0, 240.0, 240.0)


def found(*objects: tuple[int, float, tuple[float, float, float, float]]) -> Detections:
    return Detections(
        boxes_px=np.array([box for _, _, box in objects], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in objects], np.float32),
        kinds=np.array([kind for kind, _, _ in objects], np.int64),
    )


def compare(expected: Detections, other: Detections) -> tuple[Difference, ...]:
    return compare_detections(picture="p", expected=expected, found=other, kinds=KINDS, limits=LIMITS)


def test_the_same_answers_do_not_differ() -> None:
    answers = found((0, 0.9, BOX), (1, 0.5, FAR))
    assert [each.value for each in compare(answers, answers)] == [0, 0]


def test_two_objects_that_changed_places_do_not_differ() -> None:
    differences = compare(found((0, 0.5, BOX), (0, 0.5, FAR)), found((0, 0.5, FAR), (0, 0.5, BOX)))
    assert [each.value for each in differences] == [0, 0]


def test_a_score_counts_as_it_is() -> None:
    (difference,) = compare(found((0, 0.9, BOX)), found((0, 0.85, BOX)))
    assert difference.value == pytest.approx(0.05, abs=1e-6)
    assert difference.agreed


def test_an_edge_counts_as_a_share_of_the_longer_side() -> None:
    (difference,) = compare(found((0, 0.9, BOX)), found((0, 0.9, (10, 10, 54, 40))))
    assert difference.value == pytest.approx(4 / 40, abs=1e-6)


def test_a_lost_object_counts_with_its_whole_score() -> None:
    (difference,) = compare(found((0, 0.8, BOX)), found())
    assert (difference.expected, difference.found) == ("WBC", NOTHING)
    assert difference.value == pytest.approx(0.8)


def test_another_kind_is_a_lost_object_and_a_new_one() -> None:
    lost, new = compare(found((0, 0.8, BOX)), found((1, 0.8, BOX)))
    assert (lost.expected, lost.found, new.expected, new.found) == ("WBC", NOTHING, NOTHING, "RBC")
    assert new.value == pytest.approx(0.8 - SCORE_FLOOR)


def test_a_weak_object_that_is_new_changes_nothing_shown() -> None:
    (difference,) = compare(found(), found((1, 0.2, BOX)))
    assert difference.agreed
    assert difference.value == pytest.approx(0.1)


def test_an_object_below_the_floor_may_rise_just_above_it() -> None:
    assert max(each.value for each in compare(found(), found((0, SCORE_FLOOR + 1e-4, BOX)))) < 2e-4


def test_unused_places_are_not_objects() -> None:
    assert compare(found(), found((0, 0.0, (0, 0, 0, 0)), (0, 0.0, (0, 0, 0, 0)))) == ()


def test_each_partner_is_taken_once() -> None:
    twice = found((0, 0.9, BOX), (0, 0.8, BOX))
    assert [each.value for each in compare(twice, found((0, 0.9, BOX)))] == pytest.approx([0, 0.8])


@pytest.fixture
def classifier() -> Classifier:
    limits = {
        "doubtful_below": {"value": 0.6, "operating_point": "probe"},
        "distance_limit": {"value": 10.0, "operating_point": "probe"},
    }
    return Classifier.model_validate({**manifest_content()["classifier"], **limits})


@pytest.mark.parametrize(
    ("probabilities", "distance", "named"),
    [
        ((0.9, 0.1), 1.0, "neutrophil"),
        ((0.1, 0.9), 1.0, "blast"),
        ((0.55, 0.45), 1.0, DOUBTFUL),
        ((0.1, 0.9), 10.5, OUT_OF_DISTRIBUTION),
    ],
)
def test_a_cell_is_read_as_a_station_reads_it(
    classifier: Classifier, probabilities: tuple[float, float], distance: float, named: str
) -> None:
    sure = CellAnswer(probabilities=(0.9, 0.1), distance=1.0)
    other = CellAnswer(probabilities=probabilities, distance=distance)
    difference = compare_cell(picture="c", expected=sure, found=other, classifier=classifier)
    assert (difference.expected, difference.found) == ("neutrophil", named)
    assert difference.value == pytest.approx(max(0.9 - probabilities[0], abs(distance - 1) / 10))


@pytest.mark.parametrize(
    "broken", [((math.nan, 1.0), 1.0), ((0.9, math.nan), 1.0), ((0.9, 0.1), math.nan), ((0.9, 0.1), math.inf)]
)
def test_answers_that_are_no_numbers_are_never_close(
    classifier: Classifier, broken: tuple[tuple[float, float], float]
) -> None:
    sure = CellAnswer(probabilities=(0.9, 0.1), distance=1.0)
    other = CellAnswer(probabilities=broken[0], distance=broken[1])
    difference = compare_cell(picture="c", expected=sure, found=other, classifier=classifier)
    assert difference.value == math.inf


def test_a_box_or_score_that_is_no_number_is_a_lost_object() -> None:
    for broken in (found((0, math.nan, BOX)), found((0, 0.9, (math.nan, 10, 50, 40)))):
        assert max(each.value for each in compare(found((0, 0.9, BOX)), broken)) >= 0.8


def test_an_agreement_sums_up() -> None:
    agreement = Agreement(
        differences=(
            Difference(picture="a", expected="WBC", found="WBC", value=0.1),
            Difference(picture="b", expected="WBC", found=NOTHING, value=0.4),
            Difference(picture="c", expected="RBC", found="RBC", value=0.0),
            Difference(picture="d", expected="RBC", found="RBC", value=0.1),
        )
    )
    assert agreement.largest is agreement.differences[1]
    assert agreement.mean_difference == pytest.approx(0.15)
    assert agreement.agreed_share == 0.75
    assert agreement.by_answer()["WBC"].agreed_share == 0.5
    assert agreement.by_answer()["RBC"].largest_difference == 0.1


def test_nothing_compared_is_no_difference() -> None:
    nothing = Agreement(differences=())
    assert (nothing.largest_difference, nothing.mean_difference, nothing.agreed_share) == (0, 0, 1)
