"""A recipe's network on its way out: what `leukoscope-trainer train` left becomes a graph that takes bytes.

Such a network has no place in a station's bundle, whose classes and scales are the station's own; its ONNX
file is for whoever runs it elsewhere. The colour model of its recipe is part of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edge.contract.manifest import InputGeometry
from edge.engine.agreement import Difference
from edge.engine.protocol import Outputs
from edge.engine.signature import Signature
from edge.frame import Pixels
from trainer.experiment.kept_network import KeptNetwork
from trainer.networks.picture import PictureNetwork


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What a recipe's graph takes and gives: ``classes`` in the order of its probabilities.

    ``features`` is how many numbers the answering layer makes them of.
    """

    input: InputGeometry
    classes: tuple[str, ...]
    features: int
    task: Literal["pictures"] = "pictures"

    @classmethod
    def of(cls, network: PictureNetwork, *, classes: tuple[str, ...]) -> PictureFacts:
        """The facts of a built network."""
        return cls(
            input=InputGeometry(width_px=network.size_px, height_px=network.size_px),
            classes=classes,
            features=network.feature_count,
        )

    @property
    def signature(self) -> Signature:
        """Bytes in; ``probabilities`` (n, classes) and ``features`` (n, features) out."""
        return Signature(
            role="network",
            width_px=self.input.width_px,
            height_px=self.input.height_px,
            outputs={
                "probabilities": ("float32", (len(self.classes),)),
                "features": ("float32", (self.features,)),
            },
        )


class PictureGraph(nn.Module):
    """A recipe's network as its file answers: probabilities, as the softmax gives them, and features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Answer for uint8 pictures (n, side, side, 3), RGB."""
        logits, features = self.network(pictures)
        return torch.softmax(logits, dim=1), features


def held_out_pictures(kept: KeptNetwork, *, limit: int) -> dict[str, Pixels]:
    """At most ``limit`` pictures, by name and evenly over them, that the network was not trained on.

    Raises DataError where the collection is gone, or no longer what it was trained on.
    """
    _, parts = kept.pictures()
    held = parts.held_out
    count = len(held.names)
    chosen = range(count) if count <= limit else [place * count // limit for place in range(limit)]
    return {str(held.names[place]): held.pixels[place] for place in chosen}


def compare_answers(
    expected: Outputs, found: Outputs, *, facts: PictureFacts, names: tuple[str, ...]
) -> tuple[Difference, ...]:
    """The differences of two runs' answers for pictures of those ``names``.

    The value is the largest difference of a probability, or of a feature as a share of the largest feature.
    """
    scale = max(float(abs(expected["features"]).max(initial=0)), 1e-9)
    return tuple(
        Difference(
            picture=name,
            expected=facts.classes[int(expected["probabilities"][place].argmax())],
            found=facts.classes[int(found["probabilities"][place].argmax())],
            value=max(
                float(abs(found["probabilities"][place] - expected["probabilities"][place]).max()),
                float(abs(found["features"][place] - expected["features"][place]).max()) / scale,
            ),
        )
        for place, name in enumerate(names)
    )
