"""A torch network becomes an ONNX file that any runtime can be expected to run, and nothing else."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx
import torch

from edge.engine.signature import Signature
from export.errors import GraphError

OPSET: Final = 18
"""What torch's exporter writes without conversion, TensorRT 10 parses whole, and ONNX Runtime 1.18 runs."""

STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx"})
INPUT_NAME: Final = "pictures"
_EXAMPLE_PICTURES: Final = 2
"""Not one: the exporter takes an axis of size one for a constant."""


_EXPORTABLE: Final = (
    "Its forward must take uint8 (n, height, width, 3), use tensor operations alone, and hold for every "
    "batch size."
)


def export_onnx(*, network: torch.nn.Module, signature: Signature, path: Path) -> Path:
    """Write ``network`` to ``path`` with an open batch axis and the outputs that ``signature`` names.

    The bytes depend on the network alone: what the exporter notes of this machine's source files is
    taken out. Raises GraphError when the network cannot be exported or :func:`check_graph` refuses it.
    """
    model = _exported(network.eval(), signature)
    _forget_origin(model)
    _demand_open_batch(model, role=signature.role)
    check_graph(model, name=path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def check_graph(model: onnx.ModelProto, *, name: str) -> None:
    """Raise GraphError unless ``model`` is valid and uses the standard operators of OPSET alone."""
    used = {node.domain for node in _nodes(model.graph)} | {each.domain for each in model.opset_import}
    if foreign := sorted(used - STANDARD_DOMAINS):
        operators = sorted({node.op_type for node in _nodes(model.graph) if node.domain in foreign})
        raise GraphError(
            f"{name} uses operators that are not standard ONNX: {', '.join(operators) or '(none)'} of "
            f"{', '.join(foreign)}.",
            remedy="Write that part of the network with standard tensor operations.",
        )
    if model.functions:
        raise GraphError(
            f"{name} defines functions of its own: {', '.join(each.name for each in model.functions)}.",
            remedy="Export it with inlined functions.",
        )
    opset = {each.domain: each.version for each in model.opset_import}.get("")
    if opset != OPSET:
        raise GraphError(f"{name} is written for opset {opset}, not {OPSET}.", remedy="Export it anew.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(f"{name} is not a valid graph: {error}", remedy="Export it anew.") from error


def _exported(network: torch.nn.Module, signature: Signature) -> onnx.ModelProto:
    example = torch.zeros((_EXAMPLE_PICTURES, *signature.picture_shape), dtype=torch.uint8)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT_NAME],
                output_names=list(signature.outputs),
                dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
                external_data=False,
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError) as error:
        raise GraphError(
            f"The {signature.role} cannot be exported: {error}",
            remedy=_EXPORTABLE,
        ) from error
    if program is None:
        raise GraphError(f"The exporter gave no program for the {signature.role}.")
    return program.model_proto


def _demand_open_batch(model: onnx.ModelProto, *, role: str) -> None:
    """The exporter fixes an axis to the example's size, without a word, where a network depends on it."""
    for value in (*model.graph.input, *model.graph.output):
        axes = value.type.tensor_type.shape.dim
        if not axes or not axes[0].dim_param:
            raise GraphError(
                f"The {role} cannot be exported: its {value.name!r} holds for {_EXAMPLE_PICTURES} pictures "
                "only.",
                remedy=_EXPORTABLE,
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks of its own internals on stdout, by warnings and by its log; none helps a person."""
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter_log.setLevel(level)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Remove notes on where in which source file each node came from: size, and paths of this machine."""
    del model.metadata_props[:]
    model.doc_string = ""
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    for node in _nodes(model.graph):
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
        value.doc_string = ""
    for constant in model.graph.initializer:
        del constant.metadata_props[:]
        constant.doc_string = ""


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, also those in the branches and bodies of others."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)
            for each in attribute.graphs:
                yield from _nodes(each)
