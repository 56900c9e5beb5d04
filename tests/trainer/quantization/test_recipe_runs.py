"""What `train RECIPE` left, in eight bits by command: a network on real cells, a plain one in two colours."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from tests.trainer.experiment import tiny
from trainer.cli import app
from trainer.errors import DataError, RecipeError, RunError
from trainer.experiment import subject
from trainer.experiment.kept_network import kept_network
from trainer.experiment.request import Request
from trainer.networks.colour import Hsv, Rgb
from trainer.quantization.layers import quantized_layers
from trainer.quantization.opening import load_quantized, open_subject, source_run
from trainer.quantization.pictures import PictureSubject
from trainer.quantization.report import QuantizationReport
from trainer.run import RunDirectory
from trainer.statistics import balanced_accuracy
from trainer.training import answer

FEW = ("--calibration-pictures", "32", "--tuning-pictures", "32", "--ranges", "max")
PER_CLASS = 100
"""Four blocks of neighbouring names in each class."""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def done(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.exception
    return result.stdout


def trained(out: Path, recipe: str | Path, data: Path, *options: str) -> Path:
    done("train", recipe, "--data", data, "--out", out, "--accelerator", "cpu", *options)
    return out


@pytest.fixture(scope="module")
def cells(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of one laboratory, the first files of each."""
    folder = tmp_path_factory.mktemp("cells")
    for label in ("myeloblast", "seg_neutrophil"):
        (folder / label).mkdir()
        for file in sorted((data_dir / "pbc_aml" / label).iterdir())[:PER_CLASS]:
            (folder / label / file.name).symlink_to(file)
    return folder


@pytest.fixture(scope="module")
def mobilenet(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A house recipe's own network, small and hardly trained."""
    settings = ("network.size_px=32", "training.epochs=2", "training.warmup_steps=2", "training.batch=16")
    changes = [word for each in settings for word in ("--set", each)]
    out = tmp_path_factory.mktemp("mobilenet") / "out"
    return trained(out, "mobilenet-v2", cells, "--experiment", "leukemia", "--from-scratch", *changes)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures of twelve patients."""
    return tiny.collection(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain CNN, and the same with another colour model."""
    rows = (
        tiny.experiment("rgb", '"training.epochs" = 8'),
        tiny.experiment("hsv", '"training.epochs" = 8, "network.colour" = "hsv"'),
    )
    return tiny.recipe(tmp_path_factory.mktemp("recipe"), *rows)


@pytest.fixture(scope="module")
def both(recipe: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with the networks of both experiments."""
    out = tmp_path_factory.mktemp("both") / "out"
    for experiment in ("rgb", "hsv"):
        trained(out, recipe, drawn, "--experiment", experiment)
    return out


@pytest.mark.data
def test_a_house_recipes_network_is_quantized_by_command_and_judged_by_block(mobilenet, tmp_path):
    out = tmp_path / "ptq"
    said = done("quantize", "ptq", mobilenet, "--out", out, "--no-search", "--budget", 100, *FEW)
    assert "53 of 53 layers in eight bits" in said
    report = QuantizationReport.load(out)
    assert report.task == "pictures"
    assert report.judgement is not None
    assert report.judgement.grouped_by == "block"
    assert report.judgement.groups >= 2
    assert [cost.of for cost in report.judgement.by_class] == ["leukemia", "normal"]
    assert all(cost.low is not None and cost.high is not None for cost in report.judgement.by_class)
    assert "training pictures" in report.calibration.source

    kept = kept_network(mobilenet)
    assert report.run == str(kept.run.path)
    _, sides = kept.pictures()
    assert report.judgement.total.samples == len(sides.held_out.labels)
    assert not set(sides.held_out.names) & set(sides.train.names)


@pytest.mark.data
def test_it_learns_on_with_rounded_layers(mobilenet, tmp_path):
    out = tmp_path / "qat"
    done("quantize", "qat", mobilenet, "--out", out, "--epochs", 1, "--budget", 100, "--no-continued", *FEW)
    report = QuantizationReport.load(out)
    began, learnt = (
        RunDirectory.open(each).require("last")["serving"] for each in (kept_network(mobilenet).run.path, out)
    )
    assert report.steps == _steps_an_epoch(mobilenet)
    assert not torch.equal(began["head.weight"], learnt["head.layer.weight"])
    # Within the last half of the steps no range moved any more.
    assert {int(each) for name, each in learnt.items() if name.endswith("following")} == {0}


def _steps_an_epoch(out: Path) -> int:
    kept = kept_network(out)
    _, sides = kept.pictures()
    return math.ceil(len(sides.train.labels) / kept.recipe.training.batch)


def test_what_more_training_gives_is_told_apart_from_what_eight_bits_cost(both, tmp_path):
    words = (
        "quantize",
        "qat",
        both,
        "--experiment",
        "rgb",
        "--epochs",
        2,
        "--rate",
        1,
        "--budget",
        100,
        *FEW,
    )
    said = done(*words, "--out", tmp_path / "compared")
    report = QuantizationReport.load(tmp_path / "compared")
    assert report.judgement is not None
    assert report.continued is not None
    assert report.continued.total.after == report.judgement.total.after
    assert "The same over the float run trained on for as long" in said

    kept = kept_network(both, experiment="rgb")
    _, sides = kept.pictures()
    longer = kept.network()  # BatchNorm would have been folded: this network has none
    longer.load_state_dict(_unwrapped(tmp_path / "compared" / "continued"))
    named = answer(longer, sides.held_out.pixels).logits.argmax(axis=1)
    assert report.continued.total.before == pytest.approx(
        100 * balanced_accuracy(sides.held_out.labels, named)
    )
    assert not torch.equal(longer.head.weight, kept.network().head.weight), "it learnt nothing more"

    alone = done(*words, "--out", tmp_path / "alone", "--no-continued")
    assert "Not compared with the float run" in alone
    assert QuantizationReport.load(tmp_path / "alone").judgement == report.judgement


def _unwrapped(run: Path) -> dict[str, torch.Tensor]:
    """The weights of a network whose layers were wrapped for rounding, by the names that they had before."""
    state = RunDirectory.open(run).require("last")["serving"]
    ranges = ("range", "largest", "following")
    return {name.replace(".layer.", "."): each for name, each in state.items() if not name.endswith(ranges)}


@pytest.mark.parametrize(("experiment", "colour"), [("rgb", Rgb), ("hsv", Hsv)])
def test_each_experiment_of_a_folder_is_rebuilt_from_its_request(both, tmp_path, experiment, colour):
    out = tmp_path / "ptq"
    done("quantize", "ptq", both, "--experiment", experiment, "--out", out, "--budget", 100, *FEW)
    report = QuantizationReport.load(out)
    assert {each.layer for each in report.sensitivity} == {"trunk.0", "trunk.3", "head"}
    served = load_quantized(out)
    assert isinstance(served.get_submodule("colour"), colour)
    assert len(quantized_layers(served)) == 3
    _, sides = kept_network(both, experiment=experiment).pictures()
    with torch.inference_mode():
        named = served(torch.from_numpy(sides.held_out.pixels)).logits.argmax(dim=1).numpy()
    assert report.judgement is not None
    assert 100 * balanced_accuracy(sides.held_out.labels, named) == pytest.approx(
        report.judgement.total.after
    )


def test_a_folder_with_several_networks_asks_which(both, tmp_path):
    result = call("quantize", "ptq", both, "--out", tmp_path / "ptq", *FEW)
    assert isinstance(result.exception, RunError)
    assert "hsv (fold 0), rgb (fold 0)" in str(result.exception)
    assert "--experiment" in str(result.exception)
    assert not (tmp_path / "ptq").exists()


def test_a_run_directory_of_the_folder_says_which_by_itself(both):
    run = kept_network(both, experiment="hsv").run.path
    assert source_run(run) == run
    assert kept_network(run).experiment == "hsv"


def test_an_unknown_experiment_names_those_of_the_recipe(both, tmp_path):
    result = call("quantize", "ptq", both, "--experiment", "cmyk", "--out", tmp_path / "ptq")
    assert isinstance(result.exception, RecipeError)
    assert "It has rgb, hsv" in str(result.exception)


def test_a_fold_that_was_not_run_names_those_that_were(both):
    with pytest.raises(RunError, match=r"no network of rgb, fold 3.*hsv \(fold 0\), rgb \(fold 0\)"):
        source_run(both, experiment="rgb", fold=3)


def test_a_folder_that_kept_only_answers_says_what_keeps_networks(recipe, drawn, tmp_path):
    done(
        "reproduce", recipe, "--data", drawn, "--out", tmp_path / "out", "--protocol", "honest",
        "--folds", 1, "--only", "rgb", "--accelerator", "cpu", "--set", "training.epochs=1",
    )  # fmt: skip
    result = call("quantize", "qat", tmp_path / "out", "--out", tmp_path / "qat")
    assert isinstance(result.exception, RunError)
    assert "keeps no network" in str(result.exception)
    assert "leukoscope-trainer train" in str(result.exception)


def test_what_the_published_protocol_held_out_is_no_measure(tmp_path, drawn):
    asked = tiny.request(
        tiny.recipe(tmp_path, rest=tiny.HOLDOUT), drawn, protocol="published", folds=None, keep_networks=True
    )
    asked.save(tmp_path / "out")
    cell = tiny.only_cell(asked)
    (tmp_path / "out" / "cells" / cell.name).mkdir(parents=True)
    (tmp_path / "out" / "cells" / cell.name / "cell.json").write_text(cell.document())
    tiny.run(tmp_path / "out", cell)
    with pytest.raises(RunError, match=r"published protocol.*both sides"):
        open_subject(source_run(tmp_path / "out"), tmp_path)


def test_experiments_are_for_folders_of_a_recipe(tmp_path):
    with pytest.raises(RunError, match="Leave --experiment and --fold away"):
        source_run(tmp_path, experiment="rgb")


def test_a_collection_that_has_changed_is_refused(recipe, tmp_path):
    data = tiny.collection(tmp_path / "data")
    out = trained(tmp_path / "out", recipe, data, "--set", "training.epochs=1")
    (data / "blast" / "003.png").unlink()
    table = (data / "samples.csv").read_text().splitlines()
    (data / "samples.csv").write_text("\n".join(row for row in table if "blast/003" not in row) + "\n")
    subject._read.cache_clear()  # as in a process of its own
    result = call("quantize", "ptq", out, "--out", tmp_path / "ptq")
    assert isinstance(result.exception, DataError)
    assert "other pictures now" in str(result.exception)


def test_a_recipe_that_was_edited_since_is_refused(drawn, tmp_path):
    recipe = tiny.recipe(tmp_path)
    out = trained(tmp_path / "out", recipe, drawn)
    recipe.write_text(recipe.read_text().replace("maps = [2, 4]", "maps = [4, 4]"))
    with pytest.raises(RunError, match="as that recipe stands now"):
        source_run(out)


def test_an_unfinished_training_is_refused_by_its_epochs(both, tmp_path):
    shutil.copytree(both, tmp_path / "out")
    run = kept_network(tmp_path / "out", experiment="rgb").run
    run.save("last", {**run.require("last"), "epoch": 2})
    with pytest.raises(RunError, match="3 of 8 epochs"):
        open_subject(run.path, tmp_path)


def test_calibration_sees_no_held_out_picture(both):
    kept = kept_network(both, experiment="rgb")
    _, sides = kept.pictures()
    opened = open_subject(kept.run.path, Path(), calibration_pictures=64, tuning_pictures=32)
    assert isinstance(opened, PictureSubject)
    held_out = {each.tobytes() for each in sides.held_out.pixels}
    learnt = {each.tobytes() for each in sides.train.pixels}
    seen = {each.numpy().tobytes() for batch in opened.calibration().batches for each in batch}
    assert seen <= learnt, "this recipe changes no picture"
    assert not seen & held_out
    assert Request.load(both).protocol == "honest"
