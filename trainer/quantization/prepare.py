"""A trained network made ready for eight bits: BatchNorm folded away, layers wrapped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torchvision.ops import FrozenBatchNorm2d

from trainer.errors import TrainerError
from trainer.quantization.layers import QuantizedLayer

NetworkT = TypeVar("NetworkT", bound=nn.Module)
_AGREEMENT: Final = 1e-3
"""Allowed change of an answer by folding, in parts of the largest answer; rounding makes about 1e-6."""


def prepare(network: NetworkT, example: Tensor) -> NetworkT:
    """A copy of ``network`` in eval mode whose convolutions and linear layers are `QuantizedLayer`.

    Each BatchNorm behind a convolution is folded into its weight and bias first, as every runtime does.
    ``example`` is a batch as the network takes it: it shows which BatchNorm takes which convolution's
    answer, and which layers are called at all: attention reads some of its layers' weights from outside, and
    these stay in float. Colour, normalisation, decoding and softmax hold no such layer and stay as they are.
    A BatchNorm with no convolution before it stays too, with its statistics fixed for any further training.
    Raises TrainerError when folding changes the answer.
    """
    prepared = copy.deepcopy(network).eval()
    prepared.requires_grad_(requires_grad=True)
    before = _answer(prepared, example)
    _fold(prepared, example)
    _fix(prepared)
    after = _answer(prepared, example)
    size = max(float(each.abs().max()) for each in before)
    moved = max(float((new - old).abs().max()) for old, new in zip(before, after, strict=True))
    if moved > _AGREEMENT * max(size, 1.0):
        raise TrainerError(
            f"Folding BatchNorm into the convolutions changes an answer by {moved:.2g}.",
            remedy="A convolution's answer is used twice: give its BatchNorm a convolution of its own.",
        )
    _wrap(prepared, called=_called(prepared, example))
    return prepared


@torch.no_grad()
def _answer(network: nn.Module, example: Tensor) -> tuple[Tensor, ...]:
    answer = network(example)
    parts = answer if isinstance(answer, tuple) else (answer,)
    return tuple(each for each in parts if isinstance(each, Tensor) and each.is_floating_point())


def _fold(network: nn.Module, example: Tensor) -> None:
    """Fold every BatchNorm whose input is such a layer's output, as seen while ``example`` passes."""
    names = {module: name for name, module in network.named_modules()}
    source: dict[int, tuple[nn.Module, Tensor]] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            # The output is kept beside the layer: a freed tensor's number may be given to another.
            source[id(output)] = (module, output)
        elif id(inputs[0]) in source:
            pairs.append((source[id(inputs[0])][0], module))

    watched = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
    with _hooks([module for module in network.modules() if isinstance(module, watched)], watch):
        _answer(network, example)
    for layer, norm in pairs:
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            _replace(network, names[layer], fuse_conv_bn_eval(layer, norm))
        elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
            _replace(network, names[layer], fuse_linear_bn_eval(layer, norm))
        _replace(network, names[norm], nn.Identity())


@contextmanager
def _hooks(modules: list[nn.Module], hook: Any) -> Iterator[None]:  # noqa: ANN401 - torch's own overloads
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _called(network: nn.Module, example: Tensor) -> set[nn.Module]:
    """The convolutions and linear layers that ``example`` passes through."""
    layers: list[nn.Module] = [each for each in network.modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
    called: set[nn.Module] = set()
    with _hooks(layers, lambda module, _inputs, _output: called.add(module)):
        _answer(network, example)
    return called


def _wrap(network: nn.Module, *, called: set[nn.Module]) -> None:
    found = [(name, module) for name, module in network.named_modules() if module in called]
    if not found:
        raise TrainerError(
            "The network has no convolution or linear layer to quantize.", remedy="Name another run."
        )
    for name, module in found:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            _replace(network, name, QuantizedLayer(module))


def _fix(network: nn.Module) -> None:
    """Give every BatchNorm that could not be folded its statistics for good."""
    left = [(name, each) for name, each in network.named_modules() if isinstance(each, nn.BatchNorm2d)]
    for name, norm in left:
        fixed = FrozenBatchNorm2d(norm.num_features, eps=norm.eps)
        fixed.load_state_dict(norm.state_dict())
        _replace(network, name, fixed)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
