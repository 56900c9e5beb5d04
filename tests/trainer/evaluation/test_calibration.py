import numpy as np
import pytest

from trainer.evaluation.calibration import (
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    softmax,
)
from trainer.evaluation.halves import alternate_halves


def overconfident(count: int = 600, *, factor: float = 3.0, seed: int = 0):
    """Labels drawn from the softmax of some logits, and those logits blown up by ``factor``."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (count, 4)).astype(np.float32)
    labels = np.array([rng.choice(4, p=row / row.sum()) for row in softmax(honest).astype(np.float64)])
    return honest * factor, labels


def test_finds_the_temperature_that_was_hidden():
    logits, labels = overconfident(4000)
    assert fit_temperature(logits, labels) == pytest.approx(3.0, rel=0.1)


def test_lowers_the_likelihood_loss_and_the_error_on_cells_it_was_not_fitted_on():
    logits, labels = overconfident()
    temperature = fit_temperature(logits, labels)
    unseen, truth = overconfident(seed=1)
    assert negative_log_likelihood(unseen, truth, temperature=temperature) < negative_log_likelihood(
        unseen, truth
    )
    before = expected_calibration_error(softmax(unseen), truth)
    assert expected_calibration_error(softmax(unseen, temperature=temperature), truth) < before / 2


def test_a_temperature_changes_no_name():
    logits, _ = overconfident(50)
    assert (softmax(logits).argmax(1) == softmax(logits, temperature=2.5).argmax(1)).all()


def test_cross_fitting_never_uses_a_cells_own_half():
    logits, labels = overconfident(200)
    blocks = np.repeat(np.arange(8), 25)
    probabilities = cross_fitted(logits, labels, alternate_halves(blocks))
    even = np.isin(blocks, [0, 2, 4, 6])
    expected = softmax(logits[even], temperature=fit_temperature(logits[~even], labels[~even]))
    np.testing.assert_allclose(probabilities[even], expected)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]], dtype=np.float32)
    labels = np.array([0, 0, 1, 0])
    # Three at 0.9 of which two are right, one at 0.6 that is right.
    assert expected_calibration_error(probabilities, labels) == pytest.approx(
        0.75 * abs(2 / 3 - 0.9) + 0.25 * 0.4, abs=1e-6
    )


def test_no_cells_have_no_temperature():
    with pytest.raises(ValueError, match="no cells"):
        fit_temperature(np.empty((0, 3), dtype=np.float32), np.empty(0, dtype=np.int64))
