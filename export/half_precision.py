"""FP16 inside a network that TensorRT has parsed from an FP32 file.

TensorRT-RTX and TensorRT from 11 on know strongly typed networks only, and TensorRT 10 takes them too: there
a layer computes in the type of its input, and no flag makes it another. So the types are changed here, in
the parsed network, without any package but TensorRT itself.

The rule is that of mixed precision everywhere: convolutions compute in halves, and so does what stands
between two of them; the last convolutions, whose outputs decide about boxes and classes, and everything after
them stay in FP32, as do colours before the first one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.engine.untyped import Untyped

_BETWEEN: Final = frozenset({"ACTIVATION", "ELEMENTWISE", "POOLING", "RESIZE", "CONCATENATION"})
_CONVOLUTION: Final = "CONVOLUTION"


@dataclass
class HalfPrecision:
    """What was changed. Keep it until the engine is built: TensorRT reads the weights from its arrays.

    ``tensors`` are the names of those that are computed in FP16 now.
    """

    tensors: list[str] = field(default_factory=list)
    _weights: list[NDArray[np.float16]] = field(default_factory=list)

    def keep(self, weights: NDArray[np.float16]) -> NDArray[np.float16]:
        """``weights``, kept alive."""
        self._weights.append(weights)
        return weights


def use_halves(network: Untyped, trt: Untyped) -> HalfPrecision:
    """Change ``network``, strongly typed and in FP32, to FP16 by the rule above.

    ``trt`` is TensorRT's module. Convolutions whose weights are inputs, as in a quantized file, or do not
    fit into a half, stay as they are.
    """
    layers = [network.get_layer(place) for place in range(network.num_layers)]
    before = _before_a_convolution(layers, trt)
    changed = HalfPrecision()
    halves: dict[str, Untyped] = {}  # by the name of a tensor: the same in FP16, itself or a cast of it
    computed: set[str] = set()  # the names of tensors that are themselves FP16
    for layer in layers:
        output = layer.get_output(0)
        if layer.type.name == _CONVOLUTION and output.name in before and _fits(layer, trt):
            layer.set_input(0, _as_half(layer.get_input(0), network=network, halves=halves, trt=trt))
            _round_weights(layer, trt, changed)
        elif not (
            layer.type.name in _BETWEEN
            and output.name in before
            and layer.num_inputs
            and all(each.name in computed for each in _inputs(layer))
        ):
            _take_back(layer, computed, network=network, trt=trt)
            continue
        computed.add(output.name)
        halves[output.name] = output
        changed.tensors.append(output.name)
    return changed


def _before_a_convolution(layers: list[Untyped], trt: Untyped) -> set[str]:
    """The FP32 tensors that lead to a convolution by way of layers that may compute in halves."""
    before: set[str] = set()
    for layer in reversed(layers):
        leads = any(layer.get_output(place).name in before for place in range(layer.num_outputs))
        if layer.type.name == _CONVOLUTION or (layer.type.name in _BETWEEN and leads):
            before.update(
                each.name
                for each in _inputs(layer)
                if each.dtype == trt.DataType.FLOAT and not each.is_network_output
            )
    return before


def _inputs(layer: Untyped) -> list[Untyped]:
    given = (layer.get_input(place) for place in range(layer.num_inputs))
    return [each for each in given if each is not None]


def _fits(layer: Untyped, trt: Untyped) -> bool:
    if len(_inputs(layer)) != 1:
        return False
    layer.__class__ = trt.IConvolutionLayer  # TensorRT gives every layer as the base of all
    largest = float(np.finfo(np.float16).max)
    return all(
        not array.size or float(np.abs(array).max()) <= largest for array in map(np.asarray, _weights(layer))
    )


def _weights(layer: Untyped) -> tuple[Untyped, Untyped]:
    return layer.kernel, layer.bias


def _round_weights(layer: Untyped, trt: Untyped, changed: HalfPrecision) -> None:
    kernel, bias = (np.asarray(each).astype(np.float16) for each in _weights(layer))
    layer.kernel = trt.Weights(changed.keep(kernel))
    if bias.size:
        layer.bias = trt.Weights(changed.keep(bias))


def _as_half(tensor: Untyped, *, network: Untyped, halves: dict[str, Untyped], trt: Untyped) -> Untyped:
    if tensor.name not in halves:
        halves[tensor.name] = network.add_cast(tensor, trt.DataType.HALF).get_output(0)
    return halves[tensor.name]


def _take_back(layer: Untyped, computed: set[str], *, network: Untyped, trt: Untyped) -> None:
    """Give a layer that stays in FP32 its inputs in FP32."""
    for place in range(layer.num_inputs):
        tensor = layer.get_input(place)
        if tensor is not None and tensor.name in computed:
            layer.set_input(place, network.add_cast(tensor, trt.DataType.FLOAT).get_output(0))
