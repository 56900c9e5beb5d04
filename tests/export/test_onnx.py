"""What leaves the workshop is standard ONNX for every batch size, and tells nothing of the workshop."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper
from torch import Tensor

from edge.engine.onnxruntime import OnnxRuntimeEngine
from export.errors import GraphError
from export.onnx import OPSET, check_graph, export_onnx
from export.parts import signature_of
from export.testing import ColourClassifier, classifier_facts, detector_facts
from tests.edge.engine.contract import hold_to_contract
from tests.edge.engine.graphs import write_graph


def test_the_exported_detector_keeps_the_contract(detector_file: Path) -> None:
    signature = signature_of(detector_facts())
    with OnnxRuntimeEngine(path=detector_file, signature=signature, threads=1) as engine:
        hold_to_contract(engine, signature)


def test_the_exported_classifier_keeps_the_contract(classifier_file: Path) -> None:
    signature = signature_of(classifier_facts())
    with OnnxRuntimeEngine(path=classifier_file, signature=signature, threads=1) as engine:
        hold_to_contract(engine, signature)


def test_bytes_go_into_a_cast(detector_file: Path) -> None:
    graph = onnx.load(detector_file).graph
    readers = [node.op_type for node in graph.node if graph.input[0].name in node.input]
    assert readers == ["Cast"], "TensorRT takes uint8 only into a cast"


def test_the_file_says_nothing_of_where_it_was_made(detector_file: Path) -> None:
    content = detector_file.read_bytes()
    for trace in (b".py", b"site-packages", str(Path.home()).encode() + b"/", b"stack_trace"):
        assert trace not in content


def test_the_same_network_gives_the_same_bytes(classifier_file: Path, tmp_path: Path) -> None:
    again = export_onnx(
        network=ColourClassifier(), signature=signature_of(classifier_facts()), path=tmp_path / "again.onnx"
    )
    assert again.read_bytes() == classifier_file.read_bytes()


def test_a_network_with_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    class TwoCells(ColourClassifier):
        def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
            probabilities, distance = super().forward(cells)
            return probabilities.reshape(2, 3), distance

    with pytest.raises(GraphError, match="The classifier cannot be exported") as caught:
        export_onnx(network=TwoCells(), signature=signature_of(classifier_facts()), path=tmp_path / "no.onnx")
    assert "hold for every batch size" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_network_whose_way_depends_on_the_picture_is_refused(tmp_path: Path) -> None:
    class Moody(ColourClassifier):
        def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
            probabilities, distance = super().forward(cells)
            return (probabilities, distance) if distance.sum() > 1 else (probabilities / 2, distance)

    with pytest.raises(GraphError, match="cannot be exported"):
        export_onnx(network=Moody(), signature=signature_of(classifier_facts()), path=tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_operators_of_one_runtime_are_refused(tmp_path: Path) -> None:
    model = onnx.load(write_graph(tmp_path / "right.onnx"))
    check_graph(model, name="right.onnx")
    model.graph.node[3].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(GraphError, match=r"not standard ONNX: Softmax of com\.microsoft"):
        check_graph(model, name="right.onnx")


def test_operators_hidden_in_a_branch_are_refused(tmp_path: Path) -> None:
    model = onnx.load(write_graph(tmp_path / "right.onnx"))
    hidden = helper.make_node("FusedConv", [], ["x"], domain="com.microsoft")
    branch = helper.make_graph([hidden], "branch", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))
    with pytest.raises(GraphError, match="FusedConv"):
        check_graph(model, name="right.onnx")


def test_a_broken_graph_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_graph(tmp_path / "right.onnx"))
    del model.graph.node[1]
    with pytest.raises(GraphError, match="not a valid graph"):
        check_graph(model, name="right.onnx")


def test_another_opset_is_refused(tmp_path: Path) -> None:
    model = onnx.load(write_graph(tmp_path / "right.onnx"))
    model.opset_import[0].version = OPSET + 1
    with pytest.raises(GraphError, match=f"opset {OPSET + 1}, not {OPSET}"):
        check_graph(model, name="right.onnx")
