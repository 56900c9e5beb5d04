import numpy as np
import pytest

from trainer.evaluation.calibration import softmax
from trainer.evaluation.distance import DistanceModel
from trainer.quantization.serving import matched_temperature, scaled


def logits(count: int = 200, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (count, 4)).astype(np.float32)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_logits_that_only_grew_are_cooled_by_as_much(factor):
    before = logits()
    found = matched_temperature(before, factor * before, temperature=1.4)
    assert found == pytest.approx(1.4 * factor, rel=1e-3)
    np.testing.assert_allclose(
        softmax(factor * before, temperature=found), softmax(before, temperature=1.4), atol=1e-3
    )


def test_the_match_lies_nearer_to_the_float_answers_than_the_float_runs_temperature_does():
    before = logits()
    after = (2 * before + np.random.default_rng(1).normal(0, 1, before.shape)).astype(np.float32)
    wanted = softmax(before, temperature=1.2)

    def divergence(temperature: float) -> float:
        said = softmax(after, temperature=temperature)
        return float((wanted * np.log(wanted / said)).sum(axis=1).mean())

    found = matched_temperature(before, after, temperature=1.2)
    assert divergence(found) < divergence(1.2) / 2
    assert divergence(found) <= min(divergence(0.97 * found), divergence(1.03 * found))


def test_a_scaled_model_measures_so_many_times_the_distance():
    rng = np.random.default_rng(2)
    model = DistanceModel(
        projection=rng.normal(size=(6, 3)).astype(np.float32),
        centers=rng.normal(size=(2, 3)).astype(np.float32),
    )
    features = rng.normal(size=(10, 6)).astype(np.float32)
    np.testing.assert_allclose(scaled(model, 2.5)(features), 2.5 * model(features), rtol=1e-5)
