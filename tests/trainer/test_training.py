from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.trainer.scale.networks import CLASSES, network, pictures, recipe
from trainer.data.cells import read_pbc_aml
from trainer.errors import TrainerError
from trainer.fabric import FabricSettings
from trainer.networks.build import build_network
from trainer.pictures.store import load_pictures
from trainer.recipes.recipe import AugmentationRecipe, NetworkRecipe
from trainer.run import RunDirectory
from trainer.training import answer, train


def begin(tmp_path, name: str = "run") -> RunDirectory:
    return RunDirectory.begin(tmp_path / name, {}, resume=True)


MIRRORED = AugmentationRecipe(mirror_horizontal=True, mirror_vertical=True)
"""Where something is to be learnt in a moment."""


def trained(run, *, changes=None, held_out: int = 9, settings: FabricSettings | None = None, **training):
    """Records of a small training; the first pictures are held out."""
    pixels, labels = pictures()
    made, wanted = network(), recipe(**training)
    records = train(
        made,
        recipe=wanted.model_copy(update={"augmentation": changes or wanted.augmentation}),
        pixels=pixels[held_out:],
        labels=labels[held_out:],
        held_out_pixels=pixels[:held_out],
        held_out_labels=labels[:held_out],
        run=run,
        fabric=settings or FabricSettings(accelerator="cpu"),
        quiet=True,
    )
    return made, records


def test_an_epoch_leaves_a_record_of_everything_that_was_watched(tmp_path):
    _, records = trained(begin(tmp_path), rate=0.001, schedule="steps", decay=0.5, decay_every_steps=5)
    assert [record["epoch"] for record in records] == [0, 1]
    # 34 pictures in batches of 8 are five steps.
    assert [record["rate"] for record in records] == pytest.approx([0.001, 0.0005])
    for record in records:
        assert 0 <= record["train_accuracy"] <= 1
        assert 0 <= record["held_out_accuracy"] <= 1
        assert record["train_loss"] > 0
        assert record["held_out_loss"] > 0
        assert 0 <= record["waited_seconds"] <= record["seconds"]
        assert 20 < record["peak_memory_mib"] < 20_000


def test_a_separable_task_is_learnt(tmp_path):
    pixels, labels = pictures()
    made, records = trained(begin(tmp_path), changes=MIRRORED, optimizer="adam", rate=0.01, epochs=8)
    assert records[-1]["train_loss"] < records[0]["train_loss"] / 2
    assert records[-1]["held_out_accuracy"] > 0.8
    assert (answer(made, pixels).logits.argmax(axis=1) == labels).mean() > 0.8


def test_what_is_watched_is_what_the_trained_network_answers(tmp_path):
    pixels, labels = pictures()
    made, records = trained(begin(tmp_path), average_decay=0.8)
    logits = answer(made, pixels[:9]).logits
    assert records[-1]["held_out_accuracy"] == pytest.approx((logits.argmax(axis=1) == labels[:9]).mean())
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels[:9]))
    assert records[-1]["held_out_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_the_last_epochs_weights_are_used_and_no_best_ones_are_chosen(tmp_path):
    run = begin(tmp_path)
    made, _ = trained(run)
    assert run.load("best") is None
    last = run.require("last")
    assert last["epoch"] == 1
    assert not made.training
    assert all(torch.equal(value, last["serving"][key]) for key, value in made.state_dict().items())


def test_a_moving_average_is_used_where_the_recipe_keeps_one(tmp_path):
    run = begin(tmp_path)
    made, _ = trained(run, average_decay=0.9)
    last = run.require("last")
    assert torch.equal(made.head.weight, last["serving"]["head.weight"])
    assert not torch.equal(made.head.weight, last["network"]["head.weight"])


def test_a_finished_run_is_answered_from_its_file_without_training(tmp_path):
    pixels, _ = pictures()
    first, records = trained(begin(tmp_path))
    again, same = trained(begin(tmp_path))
    assert same == records
    assert np.array_equal(answer(first, pixels).logits, answer(again, pixels).logits)


def test_no_held_out_pictures_are_no_obstacle(tmp_path):
    _, records = trained(begin(tmp_path), held_out=0)
    assert "held_out_loss" not in records[-1]


def test_smoothed_labels_and_equalised_classes_change_what_is_learnt(tmp_path):
    plain, _ = trained(begin(tmp_path, "plain"), epochs=1)
    for name, changed in {"smoothed": {"label_smoothing": 0.2}, "equal": {"equalise_classes": True}}.items():
        other, _ = trained(begin(tmp_path, name), epochs=1, **changed)
        assert not torch.equal(plain.head.weight, other.head.weight), name


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"channels_last": True}, 1e-5),
        ({"precision": "bf16-mixed"}, 0.05),
        # Needs a C++ compiler, and half a minute of it.
        pytest.param({"compile": True}, 1e-5, marks=pytest.mark.nightly),
    ],
    ids=["channels last", "bf16", "compiled"],
)
def test_a_way_of_computing_changes_the_result_by_rounding_alone(tmp_path, settings, tolerance):
    wanted, _ = trained(begin(tmp_path, "plain"))
    found, _ = trained(
        begin(tmp_path, "other"), settings=FabricSettings(accelerator="cpu", devices=1, **settings)
    )
    pixels, _ = pictures()
    assert found.head.weight.dtype == torch.float32
    if "precision" in settings:
        assert not torch.equal(found.head.weight, wanted.head.weight), "16 bits must round"
    assert np.allclose(answer(found, pixels).logits, answer(wanted, pixels).logits, atol=tolerance)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU")
def test_16_bit_floats_without_a_gpu_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(TrainerError, match="bf16-mixed"):
        trained(begin(tmp_path), settings=FabricSettings(precision="16-mixed"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU")
def test_an_accelerator_that_is_not_there_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(TrainerError, match="cannot train as asked"):
        trained(begin(tmp_path), settings=FabricSettings(accelerator="cuda"))


def test_answers_come_in_batches_and_leave_the_network_in_its_mode():
    made = network(batch_norm=True).train()
    pixels, _ = pictures()
    before = made.trunk[1].running_mean.clone()
    whole, parts = answer(made, pixels), answer(made, pixels, batch=5)
    assert whole.logits.shape == (len(pixels), CLASSES)
    assert whole.features.shape == (len(pixels), made.feature_count)
    assert np.allclose(whole.logits, parts.logits, atol=1e-5)
    assert made.training
    assert torch.equal(made.trunk[1].running_mean, before)


def test_nothing_to_answer_for_is_no_obstacle():
    found = answer(network(), np.empty((0, 16, 16, 3), dtype=np.uint8))
    assert found.logits.shape == (0, CLASSES)


@pytest.mark.data
def test_a_pretrained_network_tells_real_cells_apart(tmp_path, data_dir):
    """Blasts from neutrophils, of one laboratory."""
    cells = [each for each in read_pbc_aml(data_dir) if each.label in ("blast", "neutrophil")][::6]
    pixels = load_pictures(cells, 64)
    labels = np.array([each.label == "blast" for each in cells], dtype=np.int64)
    network_recipe = NetworkRecipe(architecture="mobilenet_v2", size_px=64, frozen_trunk=True)
    torch.manual_seed(0)
    made = recipe(optimizer="adam", rate=0.003, batch=8, epochs=4)
    records = train(
        build_network(network_recipe, classes=2, weights=data_dir / "weights" / "mobilenet_v2.pth"),
        recipe=made.model_copy(update={"network": network_recipe, "augmentation": MIRRORED}),
        pixels=pixels[::2],
        labels=labels[::2],
        held_out_pixels=pixels[1::2],
        held_out_labels=labels[1::2],
        run=begin(tmp_path),
        quiet=True,
    )
    assert records[-1]["held_out_accuracy"] > 0.8
