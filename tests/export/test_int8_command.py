"""A quantized run becomes an ONNX file by command; here a small detector's, with noise for weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest
import torch
from onnx import TensorProto
from typer.testing import CliRunner, Result

from edge.engine.agreement import Agreement
from edge.errors import LeukoscopeError
from export import cli
from export.errors import AssemblyError
from export.pictures import draw_frames
from export.testing import detector_facts
from export.trained import Trained
from trainer.detection.deploy import MAX_OBJECTS
from trainer.detection.network import CentreNetwork
from trainer.detection.training import Settings
from trainer.errors import RunError
from trainer.quantization.calibrate import MIN_PICTURES, set_ranges, watch
from trainer.quantization.layers import quantized_layers
from trainer.quantization.prepare import prepare
from trainer.quantization.quantize import weights_digest
from trainer.quantization.report import CalibrationFacts, QuantizationReport
from trainer.run import Checkpoint, RunDirectory

SETTINGS = Settings(weights=None, epochs=1, batch_size=2, cell_share=0, virtual_share=0, virtual_fields=0)


def keep(network: torch.nn.Module, *, folder: Path, configuration: dict[str, object]) -> RunDirectory:
    run = RunDirectory.begin(folder, configuration, resume=False)
    state = network.state_dict()
    run.save("last", Checkpoint(epoch=0, network=state, serving=state, optimizer={}, best_score=0.0))
    return run


@pytest.fixture(scope="module")
def float_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "detector"
    run = keep(CentreNetwork(weights=None), folder=folder, configuration=dataclasses.asdict(SETTINGS))
    run.save_facts(detector_facts().model_copy(update={"max_objects": MAX_OBJECTS}))
    return folder


@pytest.fixture(scope="module")
def quantized_run(float_run: Path) -> Path:
    torch.manual_seed(0)
    frames = torch.rand((MIN_PICTURES, 3, 64, 64))
    rounded = prepare(CentreNetwork(weights=None).eval(), frames[:1])
    set_ranges(rounded, watch(rounded, [frames]), method="max")
    folder = float_run.with_name("detector-ptq")
    keep(rounded, folder=folder, configuration={"quantizes": str(float_run)})
    QuantizationReport(
        task="detector",
        technique="ptq",
        run=str(float_run),
        weights_digest=weights_digest(float_run),
        layers=len(quantized_layers(rounded)),
        kept_float=(),
        calibration=CalibrationFacts(method="max", pictures=MIN_PICTURES, digest="0", source="noise"),
        judgement=None,
        budget_points=0.6,
        met=None,
    ).save(folder)
    return folder


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["int8", *(str(each) for each in arguments)])


def fault(result: Result) -> str:
    assert isinstance(result.exception, LeukoscopeError), result.output
    return str(result.exception)


def test_a_quantized_run_becomes_a_file_whose_every_layer_is_in_eight_bits(
    quantized_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    export = cli.export_quantized_run

    def spied(trained: Trained, **how: Any) -> Agreement:
        compared.extend(how["pictures"])
        return export(trained, **how)

    monkeypatch.setattr(cli, "export_quantized_run", spied)
    pictures = tmp_path / "frames"
    pictures.mkdir()
    for place, frame in enumerate(draw_frames(facts=detector_facts(), count=3)):
        cv2.imwrite(str(pictures / f"{place}.png"), frame)
    out = tmp_path / "detector.int8.onnx"
    result = call(quantized_run, "--out", out, "--pictures", pictures, "--limit", 2)
    assert result.exit_code == 0, result.output
    assert compared == ["0.png", "1.png"]
    assert result.output.splitlines()[-1].startswith(f"{out}: ")
    assert "read the same" in result.output
    graph = onnx.load(out).graph
    stored = {each.name for each in graph.initializer if each.data_type == TensorProto.INT8 and each.dims}
    codes = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"} & stored
    assert len(codes) == QuantizationReport.load(quantized_run).layers, "every layer's weight in eight bits"
    inputs = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    assert all(set(node.input[:2]) <= inputs for node in layers)


def test_a_folder_without_pictures_is_refused(quantized_run: Path, tmp_path: Path) -> None:
    result = call(quantized_run, "--out", tmp_path / "int8.onnx", "--pictures", tmp_path)
    assert isinstance(result.exception, AssemblyError)
    assert "holds no image" in fault(result)
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_not_quantized_is_refused(float_run: Path, tmp_path: Path) -> None:
    result = call(float_run, "--out", tmp_path / "int8.onnx")
    assert isinstance(result.exception, RunError)
    assert "quantization.json is missing" in fault(result)
    assert "quantize ptq" in fault(result)
    assert not list(tmp_path.iterdir())
