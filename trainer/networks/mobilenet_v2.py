"""MobileNetV2's trunk block by block, for the station's own detector and classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import nn
from torchvision.models import mobilenet_v2

from trainer.networks.pretrained import load_state, read_state

_NAME: Final = "mobilenet_v2"
_BLOCKS: Final = 19


def mobilenet_v2_trunk(*, weights: str | Path | None, blocks: int = _BLOCKS) -> nn.Sequential:
    """The first ``blocks`` of MobileNetV2's 19 feature blocks, in float32.

    ``weights`` is a file, a torchvision weights name, or None for random weights. Output channels and
    strides after block i: 1: 16, /2; 3: 24, /4; 6: 32, /8; 13: 96, /16; 17: 320, /32; 18: 1280, /32.
    Raises WeightsError, with the ways to get weights, when they cannot be had or do not fit.
    """
    if not 1 <= blocks <= _BLOCKS:
        raise ValueError(f"MobileNetV2 has {_BLOCKS} feature blocks, not {blocks}")
    network = mobilenet_v2(weights=None)
    if weights is not None:
        load_state(network, read_state(weights, architecture=_NAME), without=("classifier.",), source=weights)
    trunk = network.features[:blocks]
    if not isinstance(trunk, nn.Sequential):
        raise TypeError("torchvision's MobileNetV2 no longer keeps its features in a Sequential")
    return trunk


def freeze_batch_norm(network: nn.Module) -> None:
    """Keep every BatchNorm below ``network`` at its statistics and scale, in train mode as in eval mode.

    For small batches of correlated pictures, whose own statistics would be noise. Call it again after each
    ``train()``, which sets the layers back.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
            for parameter in layer.parameters():
                parameter.requires_grad = False
