"""A network with rounded layers becomes a standard graph that answers as its rounding in torch does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.engine.signature import Signature
from export.errors import GraphError, ParityError
from export.onnx import STANDARD_DOMAINS
from export.parity import TorchEngine
from export.parts import signature_of
from export.pictures import draw_cells
from export.quantized import check_codes, export_quantized, export_quantized_run
from export.testing import ColourClassifier, classifier_facts
from export.trained import Trained
from trainer.quantization.calibrate import set_ranges, watch
from trainer.quantization.layers import leave_float, quantized_layers
from trainer.quantization.prepare import prepare

CELLS = draw_cells(facts=classifier_facts(), count=24, seed=100)


class SmallConvNet(nn.Module):
    """Norm, depthwise and pointwise convolutions, a linear head; answers as a classifier does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 48, 3, stride=2, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU6(),
            nn.Conv2d(48, 48, 3, groups=48),
            nn.Conv2d(48, 64, 1),
            nn.ReLU6(),
        )
        self.colour = ColourClassifier()
        self.head = nn.Linear(64, 3)
        nn.init.normal_(self.layers[1].bias, std=0.1)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers(cells.to(torch.float32).permute(0, 3, 1, 2) / 255)
        return torch.softmax(10 * self.head(features.mean(dim=(2, 3))), dim=1), self.colour(cells)[1]


@pytest.fixture(scope="module")
def rounded() -> nn.Module:
    batch = torch.from_numpy(np.stack(CELLS))
    network = prepare(SmallConvNet().eval(), batch[:2])
    set_ranges(network, watch(network, [batch]), method="mse")
    return network


@pytest.fixture(scope="module")
def file(rounded: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantized") / "int8.onnx"
    return export_quantized(network=rounded, signature=signature_of(classifier_facts()), path=path)


def constants_of(file: Path) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(file).graph.initializer}


def test_the_graph_is_standard_and_a_pair_stands_before_each_layer(file: Path) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert {each.domain for each in model.opset_import} <= STANDARD_DOMAINS
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("QuantizeLinear") == 4
    assert operators.count("DequantizeLinear") == 8, "one for each input, one for each weight"
    assert "BatchNormalization" not in operators


def test_weights_are_stored_as_codes_with_a_scale_for_each_channel(file: Path, rounded: nn.Module) -> None:
    constants = constants_of(file)
    codes = {name: each for name, each in constants.items() if each.dtype == np.int8 and each.ndim > 1}
    assert sorted(each.shape for each in codes.values()) == [
        (3, 64),
        (48, 1, 3, 3),
        (48, 3, 3, 3),
        (64, 48, 1, 1),
    ]
    for node in onnx.load(file).graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in codes:
            assert constants[node.input[1]].shape == codes[node.input[0]].shape[:1]
    weights = [layer.layer.weight.numel() for layer in quantized_layers(rounded).values()]
    assert sum(each.nbytes for each in codes.values()) == sum(weights), "a byte a weight"


def test_every_zero_point_is_zero_and_no_bias_is_quantized(file: Path) -> None:
    constants = constants_of(file)
    pairs = [node for node in onnx.load(file).graph.node if node.op_type.endswith("Linear")]
    assert all(not constants[node.input[2]].any() for node in pairs)
    assert not any(each.dtype == np.int32 for each in constants.values())
    layers = [node for node in onnx.load(file).graph.node if node.op_type in {"Conv", "Gemm"}]
    biases = [constants[node.input[2]] for node in layers]
    assert [each.shape for each in biases] == [(48,), (48,), (64,), (3,)]
    assert all(each.dtype == np.float32 for each in biases)


def test_onnx_runtime_answers_as_torch_rounds(file: Path, rounded: nn.Module) -> None:
    signature = signature_of(classifier_facts())
    batch = np.stack(CELLS[:5])
    expected = TorchEngine(network=rounded, signature=signature).run(batch)
    with OnnxRuntimeEngine(path=file, signature=signature, threads=1, precision="int8") as engine:
        found = engine.run(batch)
        single = engine.run(batch[:1])
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=0.01)
        np.testing.assert_allclose(single[name], expected[name][:1], atol=0.01)


def test_a_layer_left_in_float_is_written_in_float(rounded: nn.Module, tmp_path: Path) -> None:
    leave_float(rounded, ["layers.3"])
    try:
        path = export_quantized(
            network=rounded, signature=signature_of(classifier_facts()), path=tmp_path / "mixed.onnx"
        )
    finally:
        leave_float(rounded, [])
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("QuantizeLinear") == 3
    assert any(
        each.dtype == np.float32 and each.shape == (48, 1, 3, 3) for each in constants_of(path).values()
    )


def test_a_network_all_in_float_is_refused(rounded: nn.Module, tmp_path: Path) -> None:
    leave_float(rounded, quantized_layers(rounded))
    try:
        with pytest.raises(GraphError, match="no layer in eight bits"):
            export_quantized(
                network=rounded, signature=signature_of(classifier_facts()), path=tmp_path / "none.onnx"
            )
    finally:
        leave_float(rounded, [])
    assert not list(tmp_path.iterdir())


def test_a_file_that_answers_otherwise_is_not_kept(
    rounded: nn.Module, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Trained(network=rounded, facts=classifier_facts())
    pictures = {str(place): cell for place, cell in enumerate(CELLS)}
    model = onnx.load(file)

    def write(*, network: nn.Module, signature: Signature, path: Path) -> Path:
        path.write_bytes(model.SerializeToString())
        return path

    monkeypatch.setattr("export.quantized.export_quantized", write)
    path = tmp_path / "int8.onnx"
    assert export_quantized_run(trained, path=path, pictures=pictures).agreed_share >= 0.98
    assert [each.name for each in tmp_path.iterdir()] == ["int8.onnx"]

    path.unlink()
    (head,) = (each for each in model.graph.initializer if list(each.dims) == [3, 64])
    head.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(head), head.name))
    with pytest.raises(ParityError, match="read otherwise"):
        export_quantized_run(trained, path=path, pictures=pictures)
    assert not list(tmp_path.iterdir())


def graph_with(*, zero: int = 0, scales: int = 4, quantized_bias: bool = False) -> onnx.ModelProto:
    """A linear layer behind a pair, right but for what is asked to be wrong."""
    constants = {
        "codes": np.ones((4, 3), dtype=np.int8),
        "scales": np.ones(scales, dtype=np.float32),
        "zeros": np.full(scales, zero, dtype=np.int8),
        "bias_codes": np.ones(4, dtype=np.int8),
        "bias_scale": np.ones(4, dtype=np.float32),
        "bias_zero": np.zeros(4, dtype=np.int8),
        "plain": np.ones(4, dtype=np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scales", "zeros"], ["weight"], axis=0),
        helper.make_node("DequantizeLinear", ["bias_codes", "bias_scale", "bias_zero"], ["bias"], axis=0),
        helper.make_node("Gemm", ["x", "weight", "bias" if quantized_bias else "plain"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "one layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"zero": 3}, "zero point"), ({"scales": 2}, "2 scales"), ({"quantized_bias": True}, "bias")],
)
def test_what_tensorrt_does_not_take_is_refused(wrong: dict[str, int], message: str) -> None:
    check_codes(graph_with(), name="right.onnx")
    with pytest.raises(GraphError, match=f"wrong.onnx.*{message}"):
        check_codes(graph_with(**wrong), name="wrong.onnx")
