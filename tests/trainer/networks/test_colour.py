"""The colour models against OpenCV's, on every kind of colour, and through ONNX Runtime."""

from __future__ import annotations

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from edge.engine.signature import Signature
from export.onnx import export_onnx
from trainer.networks.build import build_network
from trainer.networks.colour import colour_model
from trainer.recipes.recipe import NetworkRecipe

NAMES = ("rgb", "hsv", "ycbcr", "h-cb-cr")


@pytest.fixture(scope="module")
def colours():
    """A lattice of the whole cube, its grey diagonal and corners among it, as one picture (n, n, 3)."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return np.concatenate([lattice, greys])[None]


def through(name, colours):
    channels = colour_model(name)(torch.from_numpy(colours).float().permute(2, 0, 1)[None])
    return channels[0].permute(1, 2, 0).numpy()


def test_rgb_is_scaled_to_one(colours):
    np.testing.assert_allclose(through("rgb", colours), colours / 255, atol=1e-6)


def test_hsv_is_opencvs_on_a_circle_of_one(colours):
    wanted = cv2.cvtColor((colours / 255).astype(np.float32), cv2.COLOR_RGB2HSV) / (360, 1, 1)
    apart = np.abs(through("hsv", colours) - wanted)
    apart[..., 0] = np.minimum(apart[..., 0], 1 - apart[..., 0])
    assert apart.max() < 1e-5


def test_a_pixel_without_a_hue_has_hue_and_saturation_zero_and_sends_a_finite_gradient():
    greys = torch.tensor([0.0, 1.0, 127.0, 255.0]).reshape(1, 1, 2, 2).repeat(1, 3, 1, 1).requires_grad_()
    channels = colour_model("hsv")(greys)
    assert torch.equal(channels[:, :2], torch.zeros(1, 2, 2, 2))
    assert torch.equal(channels[:, 2:], greys.detach()[:, :1] / 255)
    channels.sum().backward()
    assert torch.isfinite(greys.grad).all()


def test_ycbcr_is_opencvs_brought_from_full_to_studio_range(colours):
    luma, red, blue = np.moveaxis(cv2.cvtColor(colours, cv2.COLOR_RGB2YCrCb).astype(float), -1, 0)
    wanted = np.stack(
        [16 + luma * 219 / 255, 128 + (blue - 128) * 224 / 255, 128 + (red - 128) * 224 / 255], -1
    )
    # OpenCV rounds to whole numbers, and clips the strongest red and blue difference at 255.
    assert np.abs(through("ycbcr", colours) * 255 - wanted).max() < 1.0


def test_ycbcr_spans_the_studio_range_of_bt_601():
    corners = np.array([[[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0]]], dtype=np.uint8)
    black, white, blue, red = through("ycbcr", corners)[0] * 255
    np.testing.assert_allclose(black, (16, 128, 128), atol=1e-3)
    np.testing.assert_allclose(white, (235, 128, 128), atol=1e-3)
    assert blue[1] == pytest.approx(240, abs=1e-3)
    assert red[2] == pytest.approx(240, abs=1e-3)


def test_h_cb_cr_takes_the_hue_of_one_and_the_differences_of_the_other(colours):
    mixed = through("h-cb-cr", colours)
    assert np.array_equal(mixed[..., 0], through("hsv", colours)[..., 0])
    assert np.array_equal(mixed[..., 1:], through("ycbcr", colours)[..., 1:])


@pytest.mark.parametrize("name", NAMES)
def test_the_exported_graph_takes_camera_bytes_and_answers_as_torch_does(name, tmp_path):
    torch.manual_seed(5)
    recipe = NetworkRecipe(architecture="plain-cnn", size_px=24, pretrained=False, maps=(4,), colour=name)
    network = build_network(recipe, classes=3, weights=None).eval()
    signature = Signature(
        role="classifier",
        width_px=24,
        height_px=24,
        outputs={"logits": ("float32", (3,)), "features": ("float32", (network.feature_count,))},
    )
    file = export_onnx(network=network, signature=signature, path=tmp_path / "network.onnx")
    pictures = np.random.default_rng(1).integers(0, 256, (3, 24, 24, 3), dtype=np.uint8)
    pictures[0, :12] = pictures[0, :12, :, :1]  # half of the first is grey
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    logits, features = session.run(["logits", "features"], {"pictures": pictures})
    with torch.no_grad():
        wanted = network(torch.from_numpy(pictures))
    np.testing.assert_allclose(logits, wanted.logits.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(features, wanted.features.numpy(), rtol=1e-4, atol=1e-4)
