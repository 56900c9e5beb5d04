"""A recipe's network goes out as one graph of camera bytes, its colour model within; also by command."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from edge.contract.manifest import InputGeometry
from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.frame import Pixels
from export import cli
from export.onnx import STANDARD_DOMAINS, export_onnx
from export.parity import TorchEngine, picture_parity
from export.parts import signature_of
from export.pictures import read_folder
from export.recipe_run import PictureFacts, PictureGraph
from export.trained import Trained, export_trained
from trainer.cli import app as trainer
from trainer.errors import RunError
from trainer.networks.build import build_network
from trainer.recipes.recipe import NetworkRecipe

CLASSES = ("leukemia", "normal")
COLOURS = ("rgb", "hsv", "ycbcr", "h-cb-cr")
SIDE_PX = 64


def drawn(architecture: str, colour: str, *, size_px: int = SIDE_PX) -> Trained:
    """A recipe's network with noise for weights."""
    torch.manual_seed(1)
    recipe = NetworkRecipe.model_validate(
        {
            "architecture": architecture,
            "size_px": size_px,
            "pretrained": False,
            "colour": colour,
            "hidden": [{"units": 16, "batch_norm": True, "dropout": 0.1}],
            **({"maps": [16, 16]} if architecture == "plain-cnn" else {"replaces": "last"}),
        }
    )
    network = build_network(recipe, classes=len(CLASSES), weights=None).eval()
    return Trained(network=PictureGraph(network), facts=PictureFacts.of(network, classes=CLASSES))


def real(data_dir: Path, side_px: int) -> dict[str, Pixels]:
    size = InputGeometry(width_px=side_px, height_px=side_px)
    return read_folder(data_dir / "pbc_aml", size=size, limit=12)


@pytest.mark.data
@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_model_is_in_the_graph_and_answers_alike_on_real_cells(
    colour: str, data_dir: Path, tmp_path: Path
) -> None:
    trained = drawn("plain-cnn", colour)
    path = tmp_path / "net.onnx"
    agreement = export_trained(trained, path=path, pictures=real(data_dir, SIDE_PX))
    assert len(agreement.differences) == 12
    assert agreement.largest_difference < 1e-4
    assert not agreement.changed
    model = onnx.load(path)
    assert {each.domain for each in model.opset_import} <= STANDARD_DOMAINS
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [node.op_type for node in model.graph.node if node.input[0] == "pictures"] == ["Cast"]


@pytest.mark.data
@pytest.mark.parametrize("colour", COLOURS[1:])
def test_another_colour_model_would_be_noticed(colour: str, data_dir: Path, tmp_path: Path) -> None:
    right, wrong = drawn("plain-cnn", colour), drawn("plain-cnn", "rgb")
    signature = signature_of(right.facts)
    path = export_onnx(network=wrong.network, signature=signature, path=tmp_path / "net.onnx")
    assert isinstance(right.facts, PictureFacts)
    with OnnxRuntimeEngine(path=path, signature=signature, threads=1) as engine:
        agreement = picture_parity(
            reference=TorchEngine(network=right.network, signature=signature),
            engine=engine,
            facts=right.facts,
            pictures=real(data_dir, SIDE_PX),
        )
    assert agreement.largest_difference > 0.01


@pytest.mark.data
@pytest.mark.nightly
@pytest.mark.parametrize(("architecture", "size_px"), [("alexnet", 227), ("vgg16", 224), ("resnet50", 224)])
def test_the_papers_own_networks_go_out_at_their_own_size(
    architecture: str, size_px: int, data_dir: Path, tmp_path: Path
) -> None:
    trained = drawn(architecture, "h-cb-cr", size_px=size_px)
    agreement = export_trained(trained, path=tmp_path / "net.onnx", pictures=real(data_dir, size_px))
    assert agreement.largest_difference < 1e-3


@pytest.fixture(scope="module")
def folder(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `leukoscope-trainer train` leaves: a small network in H, Cb, Cr, trained for one epoch."""
    out = tmp_path_factory.mktemp("recipes") / "trained"
    settings = ("network.colour=h-cb-cr", "network.size_px=32", "training.epochs=1")
    arguments = ["train", "ahmed-2019", "--experiment", "exp-1", "--data", str(data_dir / "pbc_aml")]
    arguments += [
        "--out",
        str(out),
        "--at-most",
        "10",
        *(part for each in settings for part in ("--set", each)),
    ]
    result = CliRunner().invoke(trainer, arguments)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.data
def test_what_a_recipe_left_becomes_a_file_proven_on_its_held_out_pictures(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    result = CliRunner().invoke(cli.app, ["onnx", str(folder), "--out", str(path)])
    assert result.exit_code == 0, result.output
    assert re.search(r"^all +[1-9]", result.output, re.MULTILINE), "pictures were compared"
    session = onnx.load(path).graph
    shape = [each.dim_value or each.dim_param for each in session.input[0].type.tensor_type.shape.dim]
    assert shape[1:] == [32, 32, 3]
    assert isinstance(shape[0], str), "the batch is open"
    result = CliRunner().invoke(cli.app, ["parity", str(folder), str(path)])
    assert result.exit_code == 0, result.output


@pytest.mark.data
def test_an_experiment_that_was_not_kept_is_named(folder: Path, tmp_path: Path) -> None:
    arguments = ["onnx", str(folder), "--experiment", "exp-2", "--out", str(tmp_path / "no.onnx")]
    result = CliRunner().invoke(cli.app, arguments)
    assert isinstance(result.exception, RunError)
    assert "keeps no network of exp-2" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_probabilities_sum_to_one_and_features_are_those_of_the_answering_layer() -> None:
    trained = drawn("plain-cnn", "hsv")
    engine = TorchEngine(network=trained.network, signature=signature_of(trained.facts))
    pictures = np.random.default_rng(0).integers(0, 256, (3, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    outputs = engine.run(pictures)
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert outputs["features"].shape == (3, 16)
