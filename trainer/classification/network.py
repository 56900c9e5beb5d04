"""The classifier's network: MobileNetV2's trunk, a narrow neck, a linear head."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import Self

from trainer.networks.mobilenet_v2 import mobilenet_v2_trunk
from trainer.networks.pretrained import DEVIATION, MEAN

TRUNK_BLOCKS: Final = 17
"""Up to 160 channels at stride 32: the last two blocks would make the file larger than all before them."""
_TRUNK_CHANNELS: Final = 160
FEATURES: Final = 256


class Answer(NamedTuple):
    """Logits (n, classes), features (n, FEATURES), and logits of the laboratory where that head exists."""

    logits: Tensor
    features: Tensor
    domain_logits: Tensor | None


class CellNetwork(nn.Module):
    """Cells, float32 RGB of 0 to 255 in NHWC, to class logits and features.

    With ``domains`` a second head tells the laboratory from the features, through a gradient reversal
    (Ganin et al., JMLR 2016): while it learns, the features learn to say nothing of it.

    The first ``frozen_blocks`` of the trunk stay as they were pretrained: edges and colour contrasts serve
    as they are, and at a crop's full resolution they cost as much to train as all that follows.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        classes: int,
        domains: int = 0,
        frozen_blocks: int = 0,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self._frozen_blocks = frozen_blocks
        self.trunk = mobilenet_v2_trunk(weights=weights, blocks=TRUNK_BLOCKS)
        self.neck = nn.Sequential(
            nn.Conv2d(_TRUNK_CHANNELS, FEATURES, 1, bias=False), nn.BatchNorm2d(FEATURES), nn.ReLU6()
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(FEATURES, classes)
        self.domain_head = (
            nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, domains)) if domains else None
        )
        self.trunk[:frozen_blocks].requires_grad_(requires_grad=False)
        self.register_buffer("mean", 255 * torch.tensor(MEAN), persistent=False)
        self.register_buffer("deviation", 255 * torch.tensor(DEVIATION), persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Torch's `train`, but frozen blocks keep their BatchNorm statistics too."""
        super().train(mode)
        self.trunk[: self._frozen_blocks].eval()
        return self

    def forward(self, cells: Tensor, *, reversal: float = 0.0) -> Answer:
        """Answer for a batch; ``reversal`` scales the gradient that the laboratory head sends back."""
        features = self.features(cells)
        domain_logits = None
        if self.domain_head is not None:
            domain_logits = self.domain_head(reverse_gradient(features, reversal))
        return Answer(
            logits=self.head(self.dropout(features)), features=features, domain_logits=domain_logits
        )

    def features(self, cells: Tensor) -> Tensor:
        """The pooled features alone."""
        normal = (cells - self.mean) / self.deviation
        pooled: Tensor = self.neck(self.trunk(normal.permute(0, 3, 1, 2))).mean(dim=(2, 3))
        return pooled


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: float) -> Tensor:  # noqa: ANN401 - autograd's context
        ctx.scale = scale
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - autograd's context
        return -ctx.scale * gradients[0], None


def reverse_gradient(values: Tensor, scale: float) -> Tensor:
    """The values as they are, with a gradient times minus ``scale``."""
    reversed_values: Tensor = _ReverseGradient.apply(values, scale)
    return reversed_values
