import numpy as np
import pytest

from trainer.evaluation.halves import balanced_halves
from trainer.evaluation.intervals import redrawn
from trainer.evaluation.operating import curve, operating_point, threshold_for


def point(scores, positive, groups, *, half=None, target=0.95):
    scores, positive, groups = np.asarray(scores, np.float32), np.asarray(positive, bool), np.asarray(groups)
    labels = positive.astype(np.int64)
    half = balanced_halves(labels, groups) if half is None else np.asarray(half)
    drawn = redrawn(labels, groups, word="patient", draws=100, seed=0)
    return operating_point(scores, positive, half, drawn, name="blast", target_sensitivity=target)


@pytest.mark.parametrize(
    ("target", "threshold"),
    [(1.0, 0.1), (0.95, 0.1), (0.8, 0.3), (0.61, 0.3), (0.5, 0.3), (0.4, 0.7), (0.01, 0.9)],
)
def test_the_threshold_is_the_highest_that_reaches_the_target(target: float, threshold: float):
    scores = np.array([0.9, 0.7, 0.3, 0.3, 0.1, 0.99])
    positive = np.array([True, True, True, True, True, False])
    assert threshold_for(scores, positive, sensitivity=target) == pytest.approx(threshold)


@pytest.mark.parametrize(("target", "count", "needed"), [(0.95, 20, 19), (0.55, 100, 55), (0.07, 100, 7)])
def test_a_target_that_is_met_exactly_needs_no_picture_more(target: float, count: int, needed: int):
    # 0.55 and 0.07 of 100 are a little more than 55 and 7 in floating point.
    scores = np.linspace(1, 0.05, count)
    found = threshold_for(scores, np.ones(count, bool), sensitivity=target)
    assert found == pytest.approx(scores[needed - 1])


def test_each_half_is_judged_by_the_threshold_of_the_other():
    #            half 0                half 1
    scores = [0.9, 0.8, 0.2, 0.1, 0.6, 0.5, 0.55, 0.4]
    positive = [True, True, False, False, True, True, False, False]
    half = [0, 0, 0, 0, 1, 1, 1, 1]
    found = point(scores, positive, np.arange(8), half=half, target=1.0)
    assert found.half_thresholds == pytest.approx((0.5, 0.8))
    # Half 0 at 0.5: both found, no alarm. Half 1 at 0.8: none found, no alarm.
    assert found.sensitivity.value == 0.5
    assert found.specificity.value == 1.0
    assert found.precision.value == 1.0
    assert found.threshold == pytest.approx(0.5)
    assert "judged on the other" in found.words


def test_specificity_and_precision_are_not_each_other():
    scores = [0.9, 0.8, 0.85, 0.1, 0.2, 0.3] * 2
    positive = [True, True, False, False, False, False] * 2
    found = point(scores, positive, np.arange(12), half=[0] * 6 + [1] * 6, target=1.0)
    assert found.sensitivity.value == 1
    assert found.specificity.value == 0.75
    assert found.precision.value == pytest.approx(2 / 3)


def test_the_target_is_about_reached_on_pictures_not_chosen_on():
    rng = np.random.default_rng(0)
    positive = rng.random(3000) < 0.5
    scores = rng.normal(positive * 2.0, 1).astype(np.float32)
    found = point(scores, positive, np.arange(3000))
    assert found.sensitivity.low < 0.95 < found.sensitivity.high


def test_a_class_in_one_group_has_no_judged_operating_point():
    found = point([0.9, 0.8, 0.2, 0.3], [True, True, False, False], [0, 0, 1, 2])
    assert found.sensitivity.value is None
    assert found.half_thresholds == ()
    assert "fewer than two groups" in found.sensitivity.why
    assert found.threshold == pytest.approx(0.8)


def test_the_curve_falls_from_specific_to_sensitive():
    scores = np.array([0.9, 0.8, 0.8, 0.1])
    points = curve(scores, np.array([True, False, True, False]))
    assert [(each.sensitivity, each.specificity) for each in points] == [(0.5, 1), (1, 0.5), (1, 0)]
    assert [each.precision for each in points] == pytest.approx([1, 2 / 3, 0.5])


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    rng = np.random.default_rng(0)
    scores, positive = rng.random(5000), rng.random(5000) < 0.5
    points = curve(scores, positive)
    assert len(points) <= 200
    assert points[0].threshold == scores.max()
    assert (points[-1].sensitivity, points[-1].specificity) == (1, 0)
