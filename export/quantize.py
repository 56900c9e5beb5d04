"""INT8 files: convolutions in eight bits, everything that decides about boxes and classes as it was."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.frame import Pixels
from export.errors import GraphError
from export.onnx import INPUT_NAME, check_graph

MIN_CALIBRATION_PICTURES: Final = 8
_OPERATORS: Final = ["Conv"]
_OPTIONS: Final = {
    # What TensorRT takes: scales without zero points, and biases that it converts itself.
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
}


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration pictures one at a time."""

    def __init__(self, pictures: Sequence[Pixels]) -> None:
        self._waiting: Iterator[Pixels] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next picture by the name of the input; None at the end."""
        picture = next(self._waiting, None)
        return None if picture is None else {INPUT_NAME: picture[np.newaxis]}


def quantize(*, source: Path, path: Path, pictures: Sequence[Pixels]) -> Path:
    """Write the FP32 file ``source`` to ``path`` with quantize/dequantize pairs around its convolutions.

    Weights are symmetric by output channel, activations symmetric over the range seen on ``pictures``,
    which must look like what the network will see. Raises GraphError when there are too few of them, or
    the outcome is not a graph that :func:`export.onnx.check_graph` lets pass.
    """
    if len(pictures) < MIN_CALIBRATION_PICTURES:
        raise GraphError(
            f"{len(pictures)} pictures are too few to find the range of activations.",
            remedy=f"Give at least {MIN_CALIBRATION_PICTURES}; a hundred are better.",
        )
    with tempfile.TemporaryDirectory() as workbench:
        prepared, quantized = Path(workbench) / "prepared.onnx", Path(workbench) / "int8.onnx"
        log = logging.getLogger()
        level = log.level
        log.setLevel(logging.ERROR)  # the quantizer gives advice on the root logger
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                quantized,
                _Pictures(pictures),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_OPERATORS,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options=_OPTIONS,
            )
        finally:
            log.setLevel(level)
        model = onnx.load(quantized)
    _drop_unused_domains(model)
    check_graph(model, name=path.name)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """The quantizer declares its vendor's operators whether it used one or not."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.metadata_props[:]
