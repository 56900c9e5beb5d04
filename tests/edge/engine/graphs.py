"""Small graphs written by hand: a classifier that answers by mean colour, right or wrong in one place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edge.engine.signature import Signature

WIDTH_PX, HEIGHT_PX = 8, 6
SIGNATURE = Signature(
    role="classifier",
    width_px=WIDTH_PX,
    height_px=HEIGHT_PX,
    outputs={"probabilities": ("float32", (3,)), "distance": ("float32", ())},
)


def write_graph(
    path: Path,
    *,
    input_type: int = TensorProto.UINT8,
    height_px: int = HEIGHT_PX,
    batch: str | int = "n",
    distance_name: str = "distance",
    classes: int = 3,
    distance_type: int = TensorProto.FLOAT,
) -> Path:
    weights = numpy_helper.from_array(np.eye(3, classes, dtype=np.float32), "weights")
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    last = numpy_helper.from_array(np.array([1], np.int64), "last")
    nodes = [
        helper.make_node("Cast", ["pictures"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceSum", ["colour", "last"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], [distance_name], to=distance_type),
    ]
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("pictures", input_type, [batch, height_px, WIDTH_PX, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info(distance_name, distance_type, [batch]),
        ],
        [weights, axes, last],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path
