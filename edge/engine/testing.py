"""An engine without a network: answers by script, held to the same contract as the real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.contract.taxonomy import ObjectKind
from edge.engine.protocol import Outputs
from edge.engine.signature import Signature
from edge.frame import Pixels

Answer = Callable[[NDArray[np.uint8]], Outputs]
"""From a batch of n >= 1 pictures to the outputs for all of them."""

ScriptedObject = tuple[ObjectKind, float, tuple[float, float, float, float]]
"""Kind, score, and box in pixels of the network's input."""


class FakeEngine:
    """Gives what ``answer`` gives, after the same checks of shape and type; keeps the batches it saw."""

    def __init__(self, *, signature: Signature, answer: Answer) -> None:
        self._signature = signature
        self._answer = answer
        self.batches: list[NDArray[np.uint8]] = []

    @property
    def description(self) -> str:
        """Says that it is none."""
        return "fake engine"

    def run(self, batch: Pixels | NDArray[np.uint8]) -> Outputs:
        """The scripted answer. Raises EngineError for a batch, or a script, of another shape."""
        self._signature.check_batch(batch)
        self.batches.append(batch.copy())
        if not len(batch):
            return self._signature.nothing()
        outputs = self._answer(batch)
        self._signature.check_outputs(outputs, pictures=len(batch))
        return outputs


def finds(objects: Sequence[ScriptedObject], *, kinds: Sequence[ObjectKind], max_objects: int) -> Answer:
    """A detector's script: the same ``objects`` in every picture, ordered by falling score."""
    ordered = sorted(objects, key=lambda each: -each[1])

    def answer(batch: NDArray[np.uint8]) -> Outputs:
        boxes = np.zeros((len(batch), max_objects, 4), dtype=np.float32)
        scores = np.zeros((len(batch), max_objects), dtype=np.float32)
        indices = np.zeros((len(batch), max_objects), dtype=np.int64)
        for place, (kind, score, box_px) in enumerate(ordered):
            boxes[:, place] = box_px
            scores[:, place] = score
            indices[:, place] = list(kinds).index(kind)
        return {"boxes": boxes, "scores": scores, "kinds": indices}

    return answer


def names(probabilities: Sequence[float], *, distance: float) -> Answer:
    """A classifier's script: every cell gets the same ``probabilities`` and ``distance``."""

    def answer(batch: NDArray[np.uint8]) -> Outputs:
        return {
            "probabilities": np.tile(np.asarray(probabilities, dtype=np.float32), (len(batch), 1)),
            "distance": np.full(len(batch), distance, dtype=np.float32),
        }

    return answer
