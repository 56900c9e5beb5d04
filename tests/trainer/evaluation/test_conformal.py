import numpy as np
import pytest
from scipy.stats import binom

from trainer.evaluation.calibration import softmax
from trainer.evaluation.conformal import least_probability, prediction_sets, sets
from trainer.evaluation.halves import alternate_halves
from trainer.evaluation.intervals import redrawn

CLASSES = ("a", "b", "c")


def source(count, *, seed=0, hard=None):
    """Probabilities and labels; pictures of class ``hard`` are often taken for another."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.6, 0.3, 0.1])
    logits = rng.normal(0, 1, (count, 3))
    logits[np.arange(count), labels] += np.where(labels == hard, 0.2, 2.5)
    return softmax(logits.astype(np.float32)), labels


def judged(probabilities, labels, groups, *, level=0.9, kind="marginal"):
    return prediction_sets(
        probabilities,
        labels,
        alternate_halves(groups),
        redrawn(labels, groups, word="patient", draws=100, seed=0),
        classes=CLASSES,
        level=level,
        kind=kind,
    )


@pytest.mark.parametrize(
    ("count", "level", "place"),
    # ceil((n + 1) level): 9 of 9, 10 of 10, 18 of 19, 19 of 19, 91 of 100, and 55 of 99 in spite of rounding.
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (19, 0.95, 19), (100, 0.9, 91), (99, 0.55, 55)],
)
def test_the_quantile_is_that_of_one_picture_more(count: int, level: float, place: int):
    own = np.random.default_rng(count).permutation(np.arange(1, count + 1) / 1000)
    assert least_probability(own, level=level) == pytest.approx((count + 1 - place) / 1000)


def test_too_few_pictures_for_a_level_let_every_class_in():
    assert least_probability(np.full(8, 0.9), level=0.9) == 0
    assert least_probability(np.full(18, 0.9), level=0.95) == 0


def test_coverage_of_exchangeable_pictures_is_within_binomial_bounds():
    covered = pictures = 0
    for seed in range(20):
        probabilities, labels = source(1000, seed=seed)
        inside = sets(
            probabilities[500:],
            calibration=probabilities[:500],
            labels=labels[:500],
            level=0.9,
            kind="marginal",
        )
        covered += int(inside[np.arange(500), labels[500:]].sum())
        pictures += 500
    # Thresholds of 20 calibrations of 500 vary too, which doubles the variance.
    low, high = binom.ppf([0.001, 0.999], pictures // 2, 0.9) * 2
    assert low <= covered <= high


def test_half_is_calibrated_on_the_other_half_alone():
    # Half 0 is sure and right, half 1 is half sure: by its own threshold half 0 would name one class each.
    groups = np.arange(40)
    probabilities = np.where((groups % 2 == 0)[:, None], [[0.98, 0.01, 0.01]], [[0.4, 0.35, 0.25]]).astype(
        np.float32
    )
    found = judged(probabilities, np.zeros(40, dtype=np.int64), groups)
    # Half 0 needs 0.4, which one class has; half 1 needs 0.98, which none has.
    assert found.coverage.value == 0.5
    assert found.empty.value == 0.5
    assert found.single.value == 0.5
    assert found.mean_size.value == 0.5


def test_sets_of_a_hard_class_cover_it_only_when_calibrated_by_class():
    probabilities, labels = source(6000, hard=2)
    groups = np.arange(6000)
    marginal = judged(probabilities, labels, groups)
    by_class = judged(probabilities, labels, groups, kind="by class")
    assert marginal.coverage.low - 0.02 < 0.9 < marginal.coverage.high + 0.02
    assert marginal.by_class[2].coverage.high < 0.75
    assert all(0.86 < each.coverage.value < 0.94 for each in by_class.by_class)
    assert by_class.mean_size.value > marginal.mean_size.value


def test_a_higher_level_makes_larger_sets():
    probabilities, labels = source(1000)
    found = [judged(probabilities, labels, np.arange(1000), level=level) for level in (0.9, 0.95)]
    assert found[0].mean_size.value < found[1].mean_size.value
    assert found[0].coverage.value < found[1].coverage.value


def test_one_group_gives_no_coverage():
    probabilities, labels = source(30)
    found = judged(probabilities, labels, np.zeros(30, dtype=np.int64))
    assert found.coverage.value is None
    assert "one group" in found.coverage.why
    assert found.by_class == ()
