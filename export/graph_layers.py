"""The rounded layers of an INT8 graph, and how one of them becomes what it was."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import onnx

from export.errors import GraphError

_PAIR: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})


def is_rounded(model: onnx.ModelProto) -> bool:
    """Whether any signal of the graph stands in eight bits."""
    return any(node.op_type in _PAIR for node in model.graph.node)


def rounded_layers(model: onnx.ModelProto) -> tuple[str, ...]:
    """The names of the nodes whose weight is stored as codes, in the graph's order."""
    constants = {each.name for each in model.graph.initializer}
    from_codes = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type not in _PAIR and any(each in from_codes for each in node.input)
    )


def leave_float(model: onnx.ModelProto, *, full: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """A copy of the rounded ``model`` in which the layers of ``names`` compute as in ``full``.

    ``full`` is the graph that was rounded: its nodes of the same names give the inputs and the weights.
    Raises GraphError for a name that is no rounded layer's.
    """
    if unknown := sorted(set(names) - set(rounded_layers(model))):
        raise GraphError(
            f"The graph has no rounded layer {unknown[0]!r} to leave in float.",
            remedy=f"Its layers are {', '.join(rounded_layers(model))}.",
        )
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    before = {node.name: node for node in full.graph.node}
    weights = {each.name: each for each in full.graph.initializer}
    stored = {each.name for each in copied.graph.initializer}
    for node in copied.graph.node:
        if node.name in names:
            node.input[:] = before[node.name].input
            for each in node.input:
                if each in weights and each not in stored:
                    copied.graph.initializer.append(weights[each])
                    stored.add(each)
    drop_unused(copied)
    return copied


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove nodes and constants that nothing reads any more."""
    graph = model.graph
    wanted = {each.name for each in graph.output}
    kept = []
    # Nodes stand after what they read, so one pass from the end sees every reader first.
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            wanted.update(_read_inside(node))
    kept.reverse()
    constants = [each for each in graph.initializer if each.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def _read_inside(node: onnx.NodeProto) -> set[str]:
    """What the branches and bodies of a node read; of the graph around them, or of their own."""
    inner = [each.g for each in node.attribute if each.type == onnx.AttributeProto.GRAPH]
    inner += [graph for each in node.attribute for graph in each.graphs]
    return {name for graph in inner for each in graph.node for name in (*each.input, *_read_inside(each))} | {
        each.name for graph in inner for each in graph.output
    }
