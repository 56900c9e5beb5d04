"""INT8 files by ONNX Runtime's quantizer: convolutions in eight bits, all decisions as they were.

A quantize/dequantize pair stands before every convolution, and its weight is stored as codes: that is what
TensorRT takes as explicit quantization. Nothing stands behind a convolution, so that its bias, its ReLU6 and
the addition after it see the full answer: rounding the answer before the ReLU6 as well spends codes on values
that are cut off right after, and was seen to change twice as many answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    create_calibrator,
)
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from tqdm import tqdm

from edge.frame import Pixels
from export.errors import GraphError
from export.graph_layers import drop_unused, leave_float, rounded_layers
from export.onnx import INPUT_NAME, check_graph
from export.replaced import replaced

Ranges = Literal["percentile", "max"]
MIN_CALIBRATION_PICTURES: Final = 8
_OPERATORS: Final = ["Conv"]
_KEPT_PERCENT: Final = 99.99
_AT_ONCE: Final = 4
"""Pictures whose every signal is in memory together while ranges are sought."""
_METHODS: Final = {"percentile": CalibrationMethod.Percentile, "max": CalibrationMethod.MinMax}
_OPTIONS: Final = {
    # What TensorRT takes: scales without zero points, and biases that it converts itself.
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": _OPERATORS,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Pictures to find ranges on, at the network's size; ``source`` says in words what they show.

    They must look like what the network will see, and be none that it is judged by.
    """

    pictures: Sequence[Pixels]
    source: str

    @property
    def sha256(self) -> str:
        """Digest of all pixels in their order, with their shapes."""
        found = hashlib.sha256()
        for each in self.pictures:
            found.update(repr(each.shape).encode())
            found.update(np.ascontiguousarray(each).tobytes())
        return found.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Rounded:
    """A graph before and after: ``full`` as it was prepared, ``int8`` with every convolution in eight bits.

    ``layers`` are the names of the nodes that were rounded, in the graph's order.
    """

    full: onnx.ModelProto
    int8: onnx.ModelProto

    @property
    def layers(self) -> tuple[str, ...]:
        """The rounded nodes."""
        return rounded_layers(self.int8)

    def with_float(self, names: Collection[str]) -> onnx.ModelProto:
        """The rounded graph with some layers left as they were. Raises GraphError for unknown names."""
        return leave_float(self.int8, full=self.full, names=names)


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration pictures one at a time."""

    def __init__(self, pictures: Sequence[Pixels]) -> None:
        self._waiting: Iterator[Pixels] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next picture by the name of the input; None at the end."""
        picture = next(self._waiting, None)
        return None if picture is None else {INPUT_NAME: picture[np.newaxis]}


def round_graph(*, source: Path, calibration: Calibration, ranges: Ranges = "percentile") -> Rounded:
    """Quantize every convolution of the FP32 file ``source``.

    Weights are symmetric by output channel, signals symmetric over a range seen on the calibration pictures:
    ``max`` cuts no value off, ``percentile`` one in 10,000. Raises GraphError when there are too few
    pictures.
    """
    pictures = calibration.pictures
    if len(pictures) < MIN_CALIBRATION_PICTURES:
        raise GraphError(
            f"{len(pictures)} pictures are too few to find the range of activations.",
            remedy=f"Give at least {MIN_CALIBRATION_PICTURES}; a hundred are better.",
        )
    with tempfile.TemporaryDirectory() as workbench, _quiet():
        prepared = Path(workbench) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        calibrator = create_calibrator(
            prepared,
            _OPERATORS,
            augmented_model_path=str(Path(workbench) / "augmented.onnx"),
            calibrate_method=_METHODS[ranges],
            extra_options={"symmetric": True, "percentile": _KEPT_PERCENT},
        )
        for begin in tqdm(range(0, len(pictures), _AT_ONCE), desc="ranges", unit="batch", disable=None):
            calibrator.collect_data(_Pictures(pictures[begin : begin + _AT_ONCE]))
        full = onnx.load(prepared)
        quantizer = QDQQuantizer(
            onnx.load(prepared),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=calibrator.compute_data(),
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=_OPERATORS,
            extra_options=_OPTIONS,
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        int8 = quantizer.model.model
    for model in (full, int8):
        _drop_unused_domains(model)
        drop_unused(model)
    return Rounded(full=full, int8=int8)


def quantize(
    *, source: Path, path: Path, pictures: Sequence[Pixels], keep_float: Collection[str] = ()
) -> Path:
    """Write the FP32 file ``source`` to ``path`` with its convolutions in eight bits, at once or not at all.

    Layers of ``keep_float``, named as the graph's nodes, are left as they were. Raises GraphError as
    :func:`round_graph` and :func:`write_graph` do.
    """
    rounded = round_graph(source=source, calibration=Calibration(pictures=pictures, source="pictures given"))
    return write_graph(rounded.with_float(keep_float), path=path)


def write_graph(model: onnx.ModelProto, *, path: Path) -> Path:
    """Write a graph whole. Raises GraphError for one that :func:`export.onnx.check_graph` refuses."""
    check_graph(model, name=path.name)
    with replaced(path) as stream:
        stream.write(model.SerializeToString(deterministic=True))
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer gives advice on the root logger and tells of its steps on stdout."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """The quantizer declares its vendor's operators whether it used one or not."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.metadata_props[:]
