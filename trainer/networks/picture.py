"""The network of a recipe: camera bytes in, logits and features out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Self


class Answer(NamedTuple):
    """Logits (n, classes) and the features (n, f) that the answering layer made them of."""

    logits: Tensor
    features: Tensor


class PictureNetwork(nn.Module):
    """Pictures, RGB of 0 to 255 as (n, size, size, 3) in bytes or floats, to logits and features.

    ``trunk`` is what the pretrained network gives, up to the layer that is replaced; ``hidden`` and ``head``
    are new. ``mean`` and ``deviation`` normalise what the colour model gives, on 0..1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        colour: nn.Module,
        trunk: nn.Module,
        hidden: nn.Sequential,
        head: nn.Linear,
        size_px: int,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
        new_trunk: bool = False,
        frozen_trunk: bool = False,
    ) -> None:
        super().__init__()
        self.size_px = size_px
        self.new_trunk = new_trunk
        self.frozen_trunk = frozen_trunk
        self.colour = colour
        self.trunk = trunk.requires_grad_(requires_grad=not frozen_trunk)
        self.hidden = hidden
        self.head = head
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).reshape(1, 3, 1, 1), persistent=False)

    @property
    def feature_count(self) -> int:
        """How many features the answering layer takes."""
        return self.head.in_features

    def train(self, mode: bool = True) -> Self:
        """Torch's `train`, but a frozen trunk keeps its BatchNorm statistics and drops nothing."""
        super().train(mode)
        if self.frozen_trunk:
            self.trunk.eval()
        return self

    def forward(self, pixels: Tensor) -> Answer:
        """Answer for a batch at the network's size."""
        features = self.features(pixels)
        return Answer(logits=self.head(features), features=features)

    def features(self, pixels: Tensor) -> Tensor:
        """What the answering layer is given."""
        # Bytes become floats before anything moves them: TensorRT takes a byte input only into a cast.
        channels = self.colour(pixels.float().permute(0, 3, 1, 2))
        features: Tensor = self.hidden(self.trunk((channels - self.mean) / self.deviation))
        return features

    def new_layers(self) -> tuple[nn.Module, ...]:
        """The parts that begin with noise by design, and learn faster where a recipe says so."""
        return (self.trunk, self.hidden, self.head) if self.new_trunk else (self.hidden, self.head)

    def parameter_groups(self, rate: float, factor: float) -> list[dict[str, Any]]:
        """What an optimiser learns, in groups: pretrained at ``rate``, new at ``rate * factor``.

        Biases and the scales of normalisation layers come in groups of their own with ``weight_decay`` 0; the
        optimiser's own decay holds for the rest. Frozen parameters are left out, and so are empty groups.
        """
        new = {id(each) for part in self.new_layers() for each in part.parameters()}
        learning = [each for each in self.parameters() if each.requires_grad]
        groups: list[dict[str, Any]] = []
        for name, group_rate, fresh in (("pretrained", rate, False), ("new", rate * factor, True)):
            members = [each for each in learning if (id(each) in new) == fresh]
            weights = [each for each in members if each.ndim > 1]
            others = [each for each in members if each.ndim <= 1]
            if weights:
                groups.append({"name": name, "params": weights, "lr": group_rate})
            if others:
                groups.append(
                    {"name": f"{name} biases", "params": others, "lr": group_rate, "weight_decay": 0.0}
                )
        return groups
