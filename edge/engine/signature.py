"""What a network must look like from outside, drawn from the manifest; every runtime is held to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.manifest import Classifier, Detector
from edge.engine.protocol import Outputs
from edge.errors import EngineError

_ANOTHER_BUNDLE: Final = "The network does not fit its manifest: get the bundle again, or export it again."


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One input of bytes, batch x height x width x 3, and named outputs whose first axis is the batch.

    ``outputs`` holds for each name its type (a numpy name) and its shape without the batch.
    """

    role: str
    width_px: int
    height_px: int
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Of one picture: rows, columns, channels."""
        return (self.height_px, self.width_px, 3)

    def check_batch(self, batch: NDArray[Any]) -> None:
        """Raise EngineError unless ``batch`` is what the network takes."""
        if batch.dtype != np.uint8 or batch.shape != (*batch.shape[:1], *self.picture_shape):
            raise EngineError(
                f"The {self.role} takes uint8 pictures of shape (n, {self.height_px}, {self.width_px}, 3), "
                f"not {batch.dtype} {batch.shape}."
            )

    def check_outputs(self, outputs: Outputs, *, pictures: int) -> None:
        """Raise EngineError unless ``outputs`` are the promised ones for ``pictures`` pictures, and finite.

        NaN is below every limit and above none: it would pass for a known cell.
        """
        for name, (dtype, shape) in self.outputs.items():
            if name not in outputs:
                raise EngineError(f"The {self.role} gave no {name!r}.", remedy=_ANOTHER_BUNDLE)
            found = outputs[name]
            if found.dtype != dtype or found.shape != (pictures, *shape):
                raise EngineError(
                    f"The {self.role} gave {name!r} as {found.dtype} {found.shape} instead of "
                    f"{dtype} {(pictures, *shape)}.",
                    remedy=_ANOTHER_BUNDLE,
                )
            if not np.isfinite(found).all():
                raise EngineError(
                    f"The {self.role} gave {name!r} with values that are no numbers.",
                    remedy="Run the golden set; if it fails too, set another precision or install another "
                    "bundle.",
                )

    def nothing(self) -> Outputs:
        """The answer to a batch of no pictures."""
        return {name: np.zeros((0, *shape), dtype=dtype) for name, (dtype, shape) in self.outputs.items()}


def detector_signature(detector: Detector) -> Signature:
    """What a detector's graph must take and give."""
    count = detector.max_objects
    return Signature(
        role="detector",
        width_px=detector.input.width_px,
        height_px=detector.input.height_px,
        outputs={
            "boxes": ("float32", (count, 4)),
            "scores": ("float32", (count,)),
            "kinds": ("int64", (count,)),
        },
    )


def classifier_signature(classifier: Classifier) -> Signature:
    """What a classifier's graph must take and give."""
    return Signature(
        role="classifier",
        width_px=classifier.input.width_px,
        height_px=classifier.input.height_px,
        outputs={"probabilities": ("float32", (len(classifier.classes),)), "distance": ("float32", ())},
    )
