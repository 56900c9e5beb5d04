"""MobileNetV2's trunk with pretrained weights, from a file or by torchvision's name."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from trainer.errors import WeightsError

MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""ImageNet's colour statistics on 0..1 RGB, which the pretrained weights expect to be normalised with."""

_BLOCKS: Final = 19
_REMEDY: Final = (
    "Name a file with torchvision's mobilenet_v2 weights (--weights FILE), a torchvision weights name where "
    "there is a connection (--weights IMAGENET1K_V2), or begin with noise on purpose (--from-scratch)."
)


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
        state = _read(weights)
        found = network.features.load_state_dict(state, strict=False)
        if wrong := [*found.missing_keys, *found.unexpected_keys]:
            raise WeightsError(
                f"{weights} does not hold a MobileNetV2: {len(wrong)} keys differ, first {wrong[0]!r}.",
                remedy=_REMEDY,
            )
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


def _read(weights: str | Path) -> Mapping[str, Tensor]:
    """The feature part of a state dict as float32, keys relative to ``features``."""
    if str(weights) in MobileNet_V2_Weights.__members__:
        try:
            state = MobileNet_V2_Weights[str(weights)].get_state_dict(progress=True)
        except (URLError, OSError, RuntimeError) as error:
            raise WeightsError(f"{weights} could not be fetched: {error}.", remedy=_REMEDY) from error
    else:
        try:
            state = torch.load(Path(weights), map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise WeightsError(f"There are no pretrained weights at {weights}.", remedy=_REMEDY) from error
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise WeightsError(f"{weights} cannot be read as weights: {error}.", remedy=_REMEDY) from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{weights} holds no state dict.", remedy=_REMEDY)
    prefix = "features."
    return {
        key.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for key, value in state.items()
        if key.startswith(prefix)
    }
