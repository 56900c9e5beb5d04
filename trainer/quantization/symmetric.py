"""Symmetric signed INT8 as TensorRT takes it: zero point 0, a scale for each output channel of a weight.

A value ``v`` stands as the code ``round(v / scale)``, ties to even, and comes back as ``code * scale``
(Jacob et al. 2018, arXiv:1712.05877, with the zero point left at 0; Wu et al. 2020, arXiv:2004.09602).
Biases are not quantized: a runtime adds them to the 32 bit sums as it sees fit.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

LARGEST_CODE: Final = 127
"""A range reaches from minus its scale times this to plus; the code -128 is only ever cut off at."""
SMALLEST_CODE: Final = -128
_LARGEST_SUM: Final = 2.0**30
"""Half of what 32 bits hold: the other half is the products' own."""
_TINY: Final = 1e-12
"""Scale of a channel or signal that is zero throughout: any would do but 0."""


def scale_of(largest: Tensor) -> Tensor:
    """The scale for values up to ``largest`` either way."""
    return (largest / LARGEST_CODE).clamp(min=_TINY)


def weight_scales(weight: Tensor, bias: Tensor | None, input_scale: Tensor) -> Tensor:
    """A scale (channels,) for each output channel, the first axis of a convolution's or a linear's weight.

    A runtime may hold a bias as a 32 bit sum of products, in steps of both scales' product. In a channel that
    training has put to sleep the weights are next to nothing, and a scale made for them would leave its bias
    no room: such a scale is widened until the bias fits. The weights then become zero, which is what they
    were.
    """
    scales = scale_of(weight.detach().abs().flatten(1).amax(dim=1))
    if bias is None:
        return scales
    return torch.maximum(scales, bias.detach().abs() / (input_scale * _LARGEST_SUM))


def weight_codes(weight: Tensor, scales: Tensor) -> Tensor:
    """The int8 codes of a weight at a scale for each output channel, in the weight's shape."""
    codes = weight.detach() / scales.reshape(-1, *[1] * (weight.ndim - 1))
    return codes.round().clamp(-LARGEST_CODE, LARGEST_CODE).to(torch.int8)


def quantized_weight(weight: Tensor, scales: Tensor) -> Tensor:
    """A weight as its codes give it back. Gradients pass as if nothing had happened (straight through)."""
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -LARGEST_CODE, LARGEST_CODE)


def quantized_signal(signal: Tensor, scale: Tensor) -> Tensor:
    """A signal as its codes at one ``scale`` give it back.

    Gradients pass where the signal lies within the range, and are zero where it was cut off.
    """
    zero = torch.zeros(1, dtype=torch.int32, device=scale.device)
    return torch.fake_quantize_per_tensor_affine(signal, scale, zero, SMALLEST_CODE, LARGEST_CODE)
