"""A quantized run becomes an ONNX file with quantize/dequantize pairs, as TensorRT takes them.

The trainer's rounded layers are written as they compute: codes in int8 for the weights, a pair around every
rounded input, zero points 0, biases in float. Nothing else of the graph is touched, so decoding, softmax,
colour and normalisation stay in float.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from edge.engine.agreement import Agreement
from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.engine.signature import Signature
from edge.frame import Pixels
from export.errors import GraphError, ParityError
from export.onnx import OPSET, export_onnx
from export.parity import TorchEngine
from export.parts import signature_of
from export.recipe_run import PictureFacts, PictureGraph, held_out_pictures
from export.trained import Trained, compare, read_trained
from trainer.experiment.kept_network import keeps_networks, kept_network
from trainer.quantization.layers import QuantizedLayer, quantized_layers
from trainer.quantization.opening import load_quantized
from trainer.quantization.report import QuantizationReport
from trainer.quantization.symmetric import weight_codes

CHANGED_LIMIT: Final = 0.1
"""Largest share of answers that may be read otherwise than torch's rounding gives them.

ONNX Runtime rounds biases to steps of a layer's two scales, which a float bias does not need, and adds up in
integers; where a sum then lies between two codes it takes the other one. Seen were 4 of 100
cells and 44 of 3,228 answers of a detector; a layer written wrongly changes most of them.
"""
_PAIR: Final = ("QuantizeLinear", "DequantizeLinear")


def read_quantized(run: Path) -> Trained:
    """The served network of a quantized run, with the facts of the float run that it was made of.

    Of a recipe's run it answers as the float file does: probabilities and features, colour model within.
    Raises RunError when either run is not finished.
    """
    source = read_trained(Path(QuantizationReport.load(run).run))
    network = load_quantized(run)
    if isinstance(source.facts, PictureFacts):
        network = PictureGraph(network).eval()
    return replace(source, network=network)


def unseen_pictures(run: Path, *, limit: int) -> Mapping[str, Pixels] | None:
    """At most ``limit`` pictures, by name, that a recipe's quantized run neither learnt nor calibrated on.

    None for the station's own networks, which keep no such pictures. Raises DataError where the collection is
    gone, or no longer what was trained on.
    """
    source = Path(QuantizationReport.load(run).run)
    return held_out_pictures(kept_network(source), limit=limit) if keeps_networks(source) else None


def export_quantized_run(trained: Trained, *, path: Path, pictures: Mapping[str, Pixels]) -> Agreement:
    """Write the network to ``path`` and hold it on ``pictures`` to what torch's rounding answers.

    Raises GraphError or EngineError for a graph that cannot be run, ParityError when more than
    `CHANGED_LIMIT` of the answers are read otherwise; then no file is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    signature = signature_of(trained.facts)
    try:
        export_quantized(network=trained.network, signature=signature, path=partial)
        reference = TorchEngine(network=trained.network, signature=signature)
        with OnnxRuntimeEngine(path=partial, signature=signature, threads=1, precision="int8") as engine:
            agreement = compare(trained.facts, reference=reference, engine=engine, pictures=pictures)
        if agreement.agreed_share < 1 - CHANGED_LIMIT:
            raise ParityError(
                f"{1 - agreement.agreed_share:.1%} of the quantized {trained.role}'s answers are read "
                f"otherwise than torch gives them; {CHANGED_LIMIT:.0%} are allowed.",
                remedy="Look for an operation that the exporter translates otherwise.",
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return agreement


def export_quantized(*, network: nn.Module, signature: Signature, path: Path) -> Path:
    """Write a network with rounded layers to ``path``, with an open batch axis.

    Raises GraphError when it has none, or as `export.onnx.export_onnx` and :func:`check_codes` do.
    """
    if not any(layer.active for layer in quantized_layers(network).values()):
        raise GraphError(
            "The network has no layer in eight bits.", remedy="Export it as the float run it is."
        )
    export_onnx(network=_written(network), signature=signature, path=path)
    try:
        check_codes(onnx.load(path), name=path.name)
    except GraphError:
        path.unlink()
        raise
    return path


def check_codes(model: onnx.ModelProto, *, name: str) -> None:
    """Raise GraphError unless every pair keeps to TensorRT's rules.

    Signed eight bits, zero points 0; weights stored as codes, a scale for each output channel; no bias, and
    nothing but the first two inputs of a convolution or matrix product, behind a pair.
    """
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in _PAIR:
            zero = constants.get(node.input[2]) if len(node.input) > 2 else None  # noqa: PLR2004 - third input
            if zero is None or zero.dtype != np.int8 or zero.any():
                raise GraphError(f"{name}: {node.name} has another zero point than a signed 0.")
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            codes, scales = constants[node.input[0]], constants[node.input[1]]
            if codes.dtype != np.int8 or scales.shape != codes.shape[:1]:
                raise GraphError(
                    f"{name}: {node.name} has {scales.size} scales for {codes.dtype} {codes.shape}."
                )
        for bias in node.input[2:] if node.op_type in {"Conv", "Gemm"} else ():
            if bias in made_by and made_by[bias].op_type in _PAIR:
                raise GraphError(f"{name}: the bias of {node.name} is quantized.")


class _Written(nn.Module):
    """A rounded layer as ONNX operators write it."""

    codes: Tensor
    weight_scales: Tensor
    weight_zeros: Tensor
    input_scale: Tensor
    input_zero: Tensor

    def __init__(self, rounded: QuantizedLayer) -> None:
        super().__init__()
        weight, scales = rounded.layer.weight, rounded.weight_scales().detach()
        self.layer = rounded.layer
        self.register_buffer("codes", weight_codes(weight, scales))
        self.register_buffer("weight_scales", scales)
        self.register_buffer("weight_zeros", torch.zeros(len(weight), dtype=torch.int8))
        self.register_buffer("input_scale", rounded.input_scale.detach().clone())
        self.register_buffer("input_zero", torch.tensor(0, dtype=torch.int8))

    def forward(self, signal: Tensor) -> Tensor:
        """As the rounded layer."""
        codes = _operator("QuantizeLinear", signal, self.input_scale, self.input_zero, dtype=torch.int8)
        rounded = _operator("DequantizeLinear", codes, self.input_scale, self.input_zero)
        weight = _operator("DequantizeLinear", self.codes, self.weight_scales, self.weight_zeros, axis=0)
        answer: Tensor = torch.func.functional_call(self.layer, {"weight": weight}, (rounded,))
        return answer


def _operator(
    name: str,
    values: Tensor,
    scale: Tensor,
    zero: Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    axis: int = 1,
) -> Tensor:
    written: Tensor = torch.onnx.ops.symbolic(
        name, (values, scale, zero), {"axis": axis}, dtype=dtype, shape=values.shape, version=OPSET
    )
    return written


def _written(network: nn.Module) -> nn.Module:
    copied = copy.deepcopy(network).eval()
    for name, layer in quantized_layers(copied).items():
        parent, _, last = name.rpartition(".")
        setattr(copied.get_submodule(parent), last, _Written(layer) if layer.active else layer.layer)
    return copied
