"""A layer that computes in eight bits, or would: its input and its weight are rounded to their codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from trainer.errors import TrainerError
from trainer.quantization.symmetric import quantized_signal, quantized_weight, scale_of, weight_scales

_MOMENTUM: Final = 0.05
"""How far a training step's largest value moves the range: of the order of the last twenty steps."""


class QuantizedLayer(nn.Module):
    """A convolution or a linear layer with rounded input and weight, and its own bias in float.

    ``range`` is the largest input that has a code of its own, 0 before a calibration has set it. While
    ``following`` is above 0 each training step counts it down and moves the range along with the largest
    value seen; so a network that learns on settles first, and then learns with ranges that stand still. Where
    calibration cut values off, the same share goes on being cut. ``active`` false makes the layer compute
    as it did before: that is a layer left in float.
    """

    range: Tensor
    largest: Tensor
    following: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.active = True
        self.register_buffer("range", torch.tensor(0.0))
        self.register_buffer("largest", torch.tensor(0.0))
        self.register_buffer("following", torch.tensor(0))

    @property
    def input_scale(self) -> Tensor:
        """The scale of the input's codes. Raises TrainerError before calibration."""
        if not bool(self.range > 0):
            raise TrainerError(
                "A quantized layer has no range for its input.", remedy="Calibrate the network first."
            )
        return scale_of(self.range)

    def weight_scales(self) -> Tensor:
        """The scale of each output channel's weights."""
        return weight_scales(self.layer.weight, self.layer.bias, self.input_scale)

    def set_range(self, *, chosen: float, largest: float) -> None:
        """Codes reach to ``chosen``, of values that were seen up to ``largest``."""
        self.range.fill_(chosen)
        self.largest.fill_(largest)

    def forward(self, signal: Tensor) -> Tensor:
        """As the layer itself, on rounded values."""
        if not self.active:
            plain: Tensor = self.layer(signal)
            return plain
        if self.training and int(self.following) > 0:
            self._follow(signal)
        answer: Tensor = torch.func.functional_call(
            self.layer,
            {"weight": quantized_weight(self.layer.weight, self.weight_scales())},
            (quantized_signal(signal, self.input_scale),),
        )
        return answer

    @torch.no_grad()
    def _follow(self, signal: Tensor) -> None:
        moved = torch.lerp(self.largest, signal.detach().abs().amax(), _MOMENTUM)
        self.range.mul_(moved / self.largest)
        self.largest.copy_(moved)
        self.following.sub_(1)


def quantized_layers(network: nn.Module) -> dict[str, QuantizedLayer]:
    """Every layer that quantization has taken in hand, by name, in the network's order."""
    return {name: each for name, each in network.named_modules() if isinstance(each, QuantizedLayer)}


def leave_float(network: nn.Module, names: Iterable[str]) -> None:
    """Let exactly the layers of ``names`` compute in float, all others in eight bits."""
    layers = quantized_layers(network)
    wanted = set(names)
    if unknown := sorted(wanted - layers.keys()):
        raise TrainerError(
            f"The network has no layer {unknown[0]!r} to leave in float.",
            remedy=f"Its layers are {', '.join(layers)}.",
        )
    for name, layer in layers.items():
        layer.active = name not in wanted
