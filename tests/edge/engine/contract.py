"""What every engine promises, whatever runtime it is; an engine's test runs these on its own."""

from __future__ import annotations

import numpy as np
import pytest

from edge.engine.protocol import Engine
from edge.engine.signature import Signature
from edge.errors import EngineError


def hold_to_contract(engine: Engine, signature: Signature) -> None:
    """Run the promises of ``Engine`` on one that is open and was made for ``signature``."""
    assert engine.description, "records say which engine answered"
    pictures = np.random.default_rng(3).integers(0, 256, (3, *signature.picture_shape), dtype=np.uint8)
    _answers_fit_the_signature(engine, signature, pictures)
    _pictures_of_a_batch_do_not_meet(engine, pictures)
    _the_batch_stays_as_it_was(engine, pictures)
    _other_batches_are_refused(engine, signature, pictures)


def _answers_fit_the_signature(engine: Engine, signature: Signature, pictures: np.ndarray) -> None:
    for count in (0, 1, 3):
        outputs = engine.run(pictures[:count])
        assert set(outputs) == set(signature.outputs)
        for name, (dtype, shape) in signature.outputs.items():
            assert outputs[name].dtype == dtype
            assert outputs[name].shape == (count, *shape)


def _pictures_of_a_batch_do_not_meet(engine: Engine, pictures: np.ndarray) -> None:
    together = engine.run(pictures)
    for place in range(len(pictures)):
        alone = engine.run(pictures[place : place + 1])
        for name, answer in together.items():
            np.testing.assert_allclose(answer[place], alone[name][0], rtol=1e-4, atol=1e-4)


def _the_batch_stays_as_it_was(engine: Engine, pictures: np.ndarray) -> None:
    view = np.asfortranarray(pictures)[:, :, ::-1]  # neither contiguous nor in order
    before = view.copy()
    mirrored = engine.run(view)
    assert np.array_equal(view, before)
    straight = engine.run(np.ascontiguousarray(view))
    for name, answer in mirrored.items():
        np.testing.assert_array_equal(answer, straight[name])


def _other_batches_are_refused(engine: Engine, signature: Signature, pictures: np.ndarray) -> None:
    for wrong in (
        pictures[0],
        pictures.astype(np.float32),
        pictures[:, :-1],
        pictures[:, :, :-1],
        pictures[..., :1],
        pictures.transpose(0, 3, 1, 2),
        np.zeros((), np.uint8),
    ):
        with pytest.raises(EngineError, match=f"{signature.role} takes uint8"):
            engine.run(wrong)
