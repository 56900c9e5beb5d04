"""INT8 files are standard graphs, smaller, and close to what they were made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from edge.bundle import open_bundle
from edge.engine.onnxruntime import OnnxRuntimeEngine
from export.bundle import Ingredients, assemble
from export.errors import AssemblyError, GraphError
from export.onnx import STANDARD_DOMAINS, export_onnx
from export.parts import signature_of
from export.pictures import draw_cells
from export.quantize import quantize
from export.testing import ColourClassifier, classifier_facts
from export.trained import compare


class SmallConvNet(nn.Module):
    """Wide enough for its weights to be most of its file."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 48, 3, stride=2), nn.ReLU(), nn.Conv2d(48, 64, 3, stride=2), nn.ReLU()
        )
        self.colour = ColourClassifier()
        self.head = nn.Linear(64, 3)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        features = self.layers(cells.to(torch.float32).permute(0, 3, 1, 2) / 255)
        return torch.softmax(10 * self.head(features.mean(dim=(2, 3))), dim=1), self.colour(cells)[1]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "fp32.onnx"
    return export_onnx(network=SmallConvNet(), signature=signature_of(classifier_facts()), path=path)


@pytest.fixture(scope="module")
def int8(full: Path) -> Path:
    cells = draw_cells(facts=classifier_facts(), count=24, seed=100)
    return quantize(source=full, path=full.with_name("int8.onnx"), pictures=cells)


def test_it_is_smaller_and_standard(full: Path, int8: Path) -> None:
    assert int8.stat().st_size < 0.5 * full.stat().st_size
    model = onnx.load(int8)
    assert {each.domain for each in model.opset_import} <= STANDARD_DOMAINS
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Conv") == 2
    assert "QuantizeLinear" in operators


def test_weights_are_signed_symmetric_by_channel_and_biases_are_left(int8: Path) -> None:
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(int8).graph.initializer}
    weights = [each for each in constants.values() if each.dtype == "int8" and each.ndim == 4]
    assert sorted(each.shape[0] for each in weights) == [48, 64]
    zeros = [each for name, each in constants.items() if "zero_point" in name]
    assert zeros
    assert not any(each.any() for each in zeros), "no zero point but zero"
    assert not any(each.dtype == "int32" for each in constants.values()), "a bias was quantized"
    assert any(each.shape == (48,) for name, each in constants.items() if "scale" in name)


def test_it_answers_nearly_the_same_on_other_cells(full: Path, int8: Path) -> None:
    facts = classifier_facts()
    cells = {str(place): each for place, each in enumerate(draw_cells(facts=facts, count=24))}
    signature = signature_of(facts)
    with (
        OnnxRuntimeEngine(path=full, signature=signature, threads=1) as reference,
        OnnxRuntimeEngine(path=int8, signature=signature, threads=1, precision="int8") as engine,
    ):
        agreement = compare(facts, reference=reference, engine=engine, pictures=cells)
    assert 0 < agreement.largest_difference < 0.1


def test_too_few_pictures_are_refused(full: Path, tmp_path: Path) -> None:
    cells = draw_cells(facts=classifier_facts(), count=2)
    with pytest.raises(GraphError, match="2 pictures are too few"):
        quantize(source=full, path=tmp_path / "int8.onnx", pictures=cells)
    assert not list(tmp_path.iterdir())


def test_a_bundle_carries_both_precisions(
    ingredients: Ingredients, full: Path, int8: Path, tmp_path: Path
) -> None:
    made = assemble(
        replace(ingredients, classifier_files={"fp32": full, "int8": int8}), out=tmp_path / "bundle"
    )
    assert made.manifest.classifier.files == {"fp32": "classifier.onnx", "int8": "classifier.int8.onnx"}
    golden = open_bundle(tmp_path / "bundle").manifest.golden
    assert set(golden.tolerance) == {"fp32", "fp16", "int8"}
    assert golden.changed == {"fp16": 0.02, "int8": 0.03}


def test_a_precision_that_fails_the_golden_set_stays_out(
    ingredients: Ingredients, full: Path, int8: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssemblyError, match="does not hold to its own answers: golden set FAILED"):
        assemble(
            replace(
                ingredients,
                detector_files={**ingredients.detector_files, "int8": ingredients.detector_files["fp32"]},
                # Another network in the place of the quantized one.
                classifier_files={**ingredients.classifier_files, "int8": full},
            ),
            out=tmp_path / "bundle",
        )
    assert not list(tmp_path.iterdir())
