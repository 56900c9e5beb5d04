"""The detector's network: MobileNetV2, a light pyramid up to stride 4, a centre heat map and boxes.

After CenterNet (Zhou et al. 2019, arXiv:1904.07850): an object is the peak of its kind's heat map. Boxes are
distances from a place to the four edges (FCOS, arXiv:1904.01355).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from typing_extensions import Self

from trainer.data.frames import KINDS
from trainer.networks.mobilenet_v2 import freeze_batch_norm, mobilenet_v2_trunk
from trainer.networks.pretrained import DEVIATION, MEAN

STRIDE_PX: Final = 4
WIDTH_PX: Final = 416
HEIGHT_PX: Final = 320
_STAGES: Final = ((0, 4), (4, 7), (7, 14), (14, 16))
_STAGE_CHANNELS: Final = (24, 32, 96, 160)
_CHANNELS: Final = 64
_BOX_UNIT_PX: Final = 24.0
"""Half the side of a usual red cell: what the box head answers at zero."""
_RARE: Final = -4.6
"""Logit of 0.01: how likely a place is a centre, before anything was learnt."""


class Answer(NamedTuple):
    """``heat`` logits (n, kinds, h/4, w/4); ``boxes`` x0, y0, x1, y1 in pixels (n, 4, h/4, w/4)."""

    heat: Tensor
    boxes: Tensor


class CentreNetwork(nn.Module):
    """Takes float RGB 0..255 as (n, 3, h, w), sides divisible by 32.

    A pretrained trunk's BatchNorm stays frozen in train mode (``frozen_norm``): batches are small, and
    their frames are much alike. A trunk that begins with noise has no statistics worth keeping and learns.
    ``frozen_stages`` of the trunk do not learn at all: what the first one sees (edges, spots, colours) is as
    good for smears as for photographs, and learning it would cost nearly half of a step's time.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, *, weights: str | Path | None, frozen_stages: int = 0, frozen_norm: bool = True
    ) -> None:
        super().__init__()
        self._frozen_norm = frozen_norm
        trunk = mobilenet_v2_trunk(weights=weights, blocks=_STAGES[-1][1])
        self.stages = nn.ModuleList([trunk[first:last] for first, last in _STAGES])
        for stage in self.stages[:frozen_stages]:
            stage.requires_grad_(requires_grad=False)
        self.context = _separable(_STAGE_CHANNELS[-1], _CHANNELS, kernel=5)
        self.laterals = nn.ModuleList([_pointwise(each, _CHANNELS) for each in _STAGE_CHANNELS[:-1]])
        self.smooth = nn.ModuleList(
            [_separable(_CHANNELS, _CHANNELS, kernel=5) for _ in _STAGE_CHANNELS[:-1]]
        )
        self.heat = nn.Sequential(
            _separable(_CHANNELS, _CHANNELS, kernel=3), nn.Conv2d(_CHANNELS, len(KINDS), 1)
        )
        self.reach = nn.Sequential(_separable(_CHANNELS, _CHANNELS, kernel=3), nn.Conv2d(_CHANNELS, 4, 1))
        nn.init.constant_(_last_bias(self.heat), _RARE)
        nn.init.zeros_(_last_bias(self.reach))
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1) * 255, persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but a frozen BatchNorm of the trunk."""
        super().train(mode)
        if self._frozen_norm:
            freeze_batch_norm(self.stages)
        return self

    def forward(self, pixels: Tensor) -> Answer:
        """Heat map and boxes for each place of the stride-4 grid."""
        features = []
        signal = (pixels - self.mean) / self.deviation
        for stage in self.stages:
            signal = stage(signal)
            features.append(signal)
        signal = self.context(features.pop())
        for lateral, smooth, feature in zip(
            reversed(self.laterals), reversed(self.smooth), reversed(features), strict=True
        ):
            signal = smooth(lateral(feature) + F.interpolate(signal, scale_factor=2.0, mode="nearest"))
        reach = torch.exp(self.reach(signal).clamp(-4.0, 3.0)) * _BOX_UNIT_PX
        return Answer(heat=self.heat(signal), boxes=_edges(reach))


def _edges(reach: Tensor) -> Tensor:
    """Absolute box edges from distances to the left, top, right and bottom of each place's centre."""
    height, width = reach.shape[-2:]
    x = (torch.arange(width, dtype=reach.dtype, device=reach.device) + 0.5) * STRIDE_PX
    y = (torch.arange(height, dtype=reach.dtype, device=reach.device) + 0.5) * STRIDE_PX
    left, top, right, bottom = reach.unbind(dim=1)
    return torch.stack([x - left, y[:, None] - top, x + right, y[:, None] + bottom], dim=1)


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def _separable(inputs: int, outputs: int, *, kernel: int) -> nn.Sequential:
    """Depthwise then pointwise convolution: a ninth of the multiplications of a full one."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU6(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


def _last_bias(head: nn.Sequential) -> Tensor:
    last = head[-1]
    if not isinstance(last, nn.Conv2d) or last.bias is None:
        raise TypeError("a head ends in a convolution with a bias")
    return last.bias
