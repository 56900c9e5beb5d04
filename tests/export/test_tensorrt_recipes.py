"""TensorRT takes what recipes leave, too: every colour model in the graph, and the papers' own networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge.engine.engine_key import options_for
from edge.engine.tensorrt_module import TensorRt, find_tensorrt
from export.onnx import export_onnx
from export.parts import signature_of
from export.recipe_run import PictureFacts, PictureGraph
from export.tensorrt import build_plan
from trainer.networks.build import build_network
from trainer.recipes.recipe import NetworkRecipe

CLASSES = ("leukemia", "normal")


@pytest.fixture(scope="module")
def tensorrt() -> TensorRt:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (extra rtx)")
    return find_tensorrt(names=("tensorrt_rtx",))


def plan_bytes(
    tensorrt: TensorRt, path: Path, *, architecture: str, colour: str, size_px: int
) -> dict[str, int]:
    """The sizes of the engines of one network with noise for weights, by precision."""
    torch.manual_seed(1)
    recipe = NetworkRecipe.model_validate(
        {
            "architecture": architecture,
            "size_px": size_px,
            "pretrained": False,
            "colour": colour,
            **({"maps": [16, 16]} if architecture == "plain-cnn" else {"replaces": "last"}),
        }
    )
    network = build_network(recipe, classes=len(CLASSES), weights=None).eval()
    signature = signature_of(PictureFacts.of(network, classes=CLASSES))
    export_onnx(network=PictureGraph(network), signature=signature, path=path)
    return {
        precision: len(
            build_plan(
                source=path,
                signature=signature,
                precision=precision,
                options=options_for("classifier"),
                tensorrt=tensorrt,
            ).plan
        )
        for precision in ("fp32", "fp16")
    }


@pytest.mark.parametrize(
    "colour",
    ["h-cb-cr", *(pytest.param(each, marks=pytest.mark.nightly) for each in ("rgb", "hsv", "ycbcr"))],
)
def test_every_colour_model_builds(tensorrt: TensorRt, tmp_path: Path, colour: str) -> None:
    sizes = plan_bytes(tensorrt, tmp_path / "net.onnx", architecture="plain-cnn", colour=colour, size_px=32)
    assert all(each > 0 for each in sizes.values())


@pytest.mark.nightly
@pytest.mark.parametrize(("architecture", "size_px"), [("alexnet", 227), ("vgg16", 224), ("resnet50", 224)])
def test_the_papers_own_networks_build(
    tensorrt: TensorRt, tmp_path: Path, architecture: str, size_px: int
) -> None:
    sizes = plan_bytes(
        tensorrt, tmp_path / "net.onnx", architecture=architecture, colour="h-cb-cr", size_px=size_px
    )
    assert 0 < sizes["fp16"] < sizes["fp32"]
