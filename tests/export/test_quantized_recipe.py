"""A recipe's network in eight bits goes out with its colour model, and answers as torch's rounding does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn
from typer.testing import CliRunner

from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.engine.signature import Signature
from export.errors import ParityError
from export.onnx import STANDARD_DOMAINS
from export.parity import TorchEngine
from export.parts import signature_of
from export.quantized import (
    check_codes,
    export_quantized,
    export_quantized_run,
    read_quantized,
    unseen_pictures,
)
from tests.trainer.experiment import tiny
from trainer.cli import app
from trainer.experiment.kept_network import kept_network
from trainer.networks.colour import Hsv, Rgb

FEW = ("--calibration-pictures", "32", "--tuning-pictures", "32", "--ranges", "max", "--budget", "100")
ROWS = {
    "rgb": '"training.epochs" = 8',
    "hsv": '"training.epochs" = 8, "network.colour" = "hsv"',
    "h-cb-cr": (
        '"network.colour" = "h-cb-cr", "training.epochs" = 8, '
        '"network.hidden" = [{ units = 16, batch_norm = true }]'
    ),
}
LAYERS = {"rgb": 3, "hsv": 3, "h-cb-cr": 4}


def done(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.exception


@pytest.fixture(scope="module", params=list(ROWS))
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A plain CNN on drawn pictures, trained and quantized by command."""
    folder = tmp_path_factory.mktemp("recipe")
    name: str = request.param
    recipe = tiny.recipe(folder, tiny.experiment(name, ROWS[name]))
    data = tiny.collection(folder / "data", counts={"blast": 45, "normal": 45})
    done("train", recipe, "--data", data, "--out", folder / "out", "--accelerator", "cpu")
    done("quantize", "ptq", folder / "out", "--out", folder / "ptq", *FEW)
    return name, folder / "ptq"


def test_the_file_takes_bytes_and_answers_as_torch_rounds(
    quantized: tuple[str, Path], tmp_path: Path
) -> None:
    name, run = quantized
    trained = read_quantized(run)
    pictures = unseen_pictures(run, limit=8)
    assert pictures is not None
    assert len(pictures) == 8
    path = tmp_path / "int8.onnx"
    agreement = export_quantized_run(trained, path=path, pictures=pictures)
    assert agreement.agreed_share == 1
    assert len(agreement.differences) == 8

    model = onnx.load(path)
    check_codes(model, name=path.name)
    assert {each.domain for each in model.opset_import} <= STANDARD_DOMAINS
    (given,) = model.graph.input
    shape = given.type.tensor_type
    assert shape.elem_type == TensorProto.UINT8
    assert [axis.dim_value for axis in shape.shape.dim[1:]] == [tiny.SIZE_PX, tiny.SIZE_PX, 3]
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("QuantizeLinear") == LAYERS[name]
    assert "BatchNormalization" not in operators
    codes = [each for each in map(numpy_helper.to_array, model.graph.initializer) if each.dtype == np.int8]
    assert sum(each.ndim > 1 for each in codes) == LAYERS[name]

    signature = signature_of(trained.facts)
    batch = np.stack(list(pictures.values()))
    expected = TorchEngine(network=trained.network, signature=signature).run(batch)
    with OnnxRuntimeEngine(path=path, signature=signature, threads=1, precision="int8") as engine:
        found = engine.run(batch)
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=0.02)
    scale = np.abs(expected["features"]).max()
    np.testing.assert_allclose(found["features"] / scale, expected["features"] / scale, atol=0.02)


def test_what_it_is_proven_on_was_not_learnt(quantized: tuple[str, Path]) -> None:
    _, run = quantized
    pictures = unseen_pictures(run, limit=100)
    assert pictures is not None
    _, sides = kept_network(run.with_name("out")).pictures()
    assert set(pictures) == set(sides.held_out.names)
    assert not set(pictures) & set(sides.train.names)


def test_another_colour_model_in_the_file_would_be_noticed(
    quantized: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, run = quantized
    trained, other = read_quantized(run), read_quantized(run)
    pictures = unseen_pictures(run, limit=20)
    assert pictures is not None
    other.network.network.colour = Hsv() if name == "rgb" else Rgb()

    def wrong(*, network: nn.Module, signature: Signature, path: Path) -> Path:
        assert network is trained.network
        return export_quantized(network=other.network, signature=signature, path=path)

    monkeypatch.setattr("export.quantized.export_quantized", wrong)
    with pytest.raises(ParityError, match="read otherwise"):
        export_quantized_run(trained, path=tmp_path / "int8.onnx", pictures=pictures)
    assert not list(tmp_path.iterdir())


@pytest.mark.data
def test_a_torchvision_network_goes_out_in_eight_bits_whole(data_dir: Path, tmp_path: Path) -> None:
    cells = tmp_path / "cells"
    for label in ("myeloblast", "seg_neutrophil"):
        (cells / label).mkdir(parents=True)
        for file in sorted((data_dir / "pbc_aml" / label).iterdir())[:60]:
            (cells / label / file.name).symlink_to(file)
    settings = ("network.size_px=32", "training.epochs=1", "training.warmup_steps=1")
    changes = [word for each in settings for word in ("--set", each)]
    out = tmp_path / "out"
    done(
        "train", "mobilenet-v2", "--experiment", "leukemia", "--from-scratch", "--data", cells,
        "--out", out, "--accelerator", "cpu", *changes,
    )  # fmt: skip
    done("quantize", "ptq", out, "--out", tmp_path / "ptq", "--no-search", *FEW)
    trained = read_quantized(tmp_path / "ptq")
    pictures = unseen_pictures(tmp_path / "ptq", limit=20)
    assert pictures is not None
    export_quantized_run(trained, path=tmp_path / "int8.onnx", pictures=pictures)
    model = onnx.load(tmp_path / "int8.onnx")
    assert [node.op_type for node in model.graph.node].count("QuantizeLinear") == 53
    with torch.inference_mode():
        assert trained.network(torch.zeros((1, 32, 32, 3), dtype=torch.uint8))[0].shape == (1, 2)
