"""The fake engine keeps the contract of the real ones, so that tests on it mean something."""

from __future__ import annotations

import numpy as np
import pytest

from edge.contract.taxonomy import ObjectKind
from edge.engine.signature import Signature
from edge.engine.testing import FakeEngine, finds, names
from edge.errors import EngineError
from tests.edge.engine.contract import hold_to_contract
from tests.edge.engine.graphs import SIGNATURE

KINDS = (ObjectKind.WBC, ObjectKind.RBC)
DETECTOR = Signature(
    role="detector",
    width_px=16,
    height_px=8,
    outputs={"boxes": ("float32", (5, 4)), "scores": ("float32", (5,)), "kinds": ("int64", (5,))},
)


def test_a_scripted_classifier_keeps_the_contract() -> None:
    hold_to_contract(FakeEngine(signature=SIGNATURE, answer=names((0.2, 0.5, 0.3), distance=1)), SIGNATURE)


def test_a_scripted_detector_keeps_the_contract_and_sorts_by_score() -> None:
    objects = [(ObjectKind.RBC, 0.4, (0, 0, 2, 2)), (ObjectKind.WBC, 0.9, (1, 1, 6, 7))]
    fake = FakeEngine(signature=DETECTOR, answer=finds(objects, kinds=KINDS, max_objects=5))
    hold_to_contract(fake, DETECTOR)
    outputs = fake.run(np.zeros((2, 8, 16, 3), np.uint8))
    np.testing.assert_allclose(outputs["scores"][1], [0.9, 0.4, 0, 0, 0], rtol=1e-6)
    assert outputs["kinds"][0, 0] == 0
    assert outputs["boxes"][0, 0].tolist() == [1, 1, 6, 7]


def test_it_keeps_what_it_was_asked() -> None:
    fake = FakeEngine(signature=SIGNATURE, answer=names((0.2, 0.5, 0.3), distance=1))
    batch = np.full((2, *SIGNATURE.picture_shape), 7, np.uint8)
    fake.run(batch)
    batch[:] = 0
    assert (fake.batches[0] == 7).all()


def test_a_script_of_another_shape_is_refused() -> None:
    fake = FakeEngine(signature=SIGNATURE, answer=names((0.5, 0.5), distance=1))
    with pytest.raises(EngineError, match="gave 'probabilities' as float32"):
        fake.run(np.zeros((1, *SIGNATURE.picture_shape), np.uint8))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_are_refused(broken: float) -> None:
    fake = FakeEngine(signature=SIGNATURE, answer=names((0.2, 0.5, 0.3), distance=broken))
    with pytest.raises(EngineError, match="'distance' with values that are no numbers"):
        fake.run(np.zeros((1, *SIGNATURE.picture_shape), np.uint8))
