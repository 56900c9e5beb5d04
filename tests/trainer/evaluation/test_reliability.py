import numpy as np
import pytest

from trainer.evaluation.calibration import cross_fitted, expected_calibration_error, fit_temperature, softmax
from trainer.evaluation.halves import alternate_halves
from trainer.evaluation.intervals import redrawn
from trainer.evaluation.reliability import bins, calibrate


def source(count=4000, *, sure=1.0, seed=0):
    """Labels drawn from the probabilities of some logits, and these logits times ``sure``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, 3)).astype(np.float32)
    chances = softmax(logits).astype(np.float64).cumsum(axis=1)
    labels = (rng.random((count, 1)) * chances[:, -1:] > chances).sum(axis=1)
    return logits * np.float32(sure), labels


def found(logits, labels, groups):
    drawn = redrawn(labels, groups, word="patient", draws=300, seed=0)
    return calibrate(logits, labels, alternate_halves(groups), drawn)


def test_a_source_whose_probabilities_are_true_has_hardly_any_error():
    logits, labels = source()
    calibration = found(logits, labels, np.repeat(np.arange(200), 20))
    assert calibration.error_before.value < 0.02
    assert calibration.error_after.value < 0.02
    assert calibration.temperature == pytest.approx(1, abs=0.06)


def test_an_overconfident_source_is_found_out_and_mended_on_pictures_not_fitted_on():
    logits, labels = source(sure=3)
    calibration = found(logits, labels, np.repeat(np.arange(200), 20))
    assert calibration.error_before.low > 0.1
    assert calibration.error_after.high < 0.04
    assert calibration.temperature == pytest.approx(3, rel=0.1)
    assert calibration.likelihood_after.value < calibration.likelihood_before.value


def test_figures_after_scaling_are_those_of_the_other_halfs_temperature():
    logits, labels = source(600, sure=3)
    # The second half of the groups is answered at random: its temperature is another.
    groups = np.repeat(np.arange(60), 10)
    half = alternate_halves(groups)
    labels = np.where(half == 1, (labels + groups) % 3, labels)
    calibration = found(logits, labels, groups)
    expected = cross_fitted(logits, labels, half)
    assert calibration.error_after.value == pytest.approx(expected_calibration_error(expected, labels))
    first, second = calibration.half_temperatures
    assert first == fit_temperature(logits[half == 1], labels[half == 1])
    assert second == fit_temperature(logits[half == 0], labels[half == 0])
    own = softmax(logits, temperature=calibration.temperature)
    assert calibration.error_after.value != pytest.approx(expected_calibration_error(own, labels))


def test_the_interval_of_an_error_holds_its_value():
    for seed in range(5):
        logits, labels = source(300, seed=seed)
        error = found(logits, labels, np.repeat(np.arange(30), 10)).error_before
        assert 0 <= error.low <= error.value <= error.high


def test_bins_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.97, 0.03], [0.4, 0.6], [0.0, 1.0]], dtype=np.float32)
    labels = np.array([0, 1, 1, 1])
    made = bins(probabilities, labels)
    assert len(made) == 15
    assert [each.pictures for each in made] == [0] * 9 + [1] + [0] * 4 + [3]
    assert made[-1].confidence == pytest.approx((0.95 + 0.97 + 1) / 3)
    assert made[-1].accuracy == pytest.approx(2 / 3)
    assert made[9].low <= 0.6 < made[9].high
    assert made[0].confidence is None


def test_one_group_cannot_be_calibrated_on_itself():
    logits, labels = source(50)
    calibration = found(logits, labels, np.zeros(50, dtype=np.int64))
    assert calibration.temperature is None
    assert calibration.error_before.value is not None
    assert calibration.error_after.value is None
    assert "one group" in calibration.error_after.why
