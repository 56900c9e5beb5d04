"""The one command, whole: in processes of its own, killed, and given again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.conftest import REPOSITORY
from tests.trainer.experiment import tiny
from trainer.cli import app
from trainer.errors import DataError
from trainer.evaluation.predictions import Predictions
from trainer.experiment.assemble import PREDICTIONS

ROW = "after-8"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(autouse=True)
def one_thread():
    """As in the processes that these tests start: sums of several threads differ in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a recipe and a collection."""
    folder = tmp_path_factory.mktemp("command")
    tiny.collection(folder / "data")
    tiny.recipe(folder, tiny.experiment(ROW, '"training.epochs" = 8'), rest=tiny.HOLDOUT)
    return folder


def options(out: str) -> tuple[str, ...]:
    return ("tiny.toml", "--data", "data", "--accelerator", "cpu", "--out", out)


def begun(place: Path, *words: str, out: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "trainer.entry", *words, *options(out)],
        cwd=place,
        env=os.environ | ONE_THREAD | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> str:
    printed, complaint = process.communicate(timeout=200)
    assert process.returncode == 0, complaint
    return printed


def reproduced(place: Path, out: str) -> str:
    return told(begun(place, "reproduce", "--protocol", "honest", out=out))


def invoked(*words: str, out: str) -> str:
    """What the command prints in this process, whose imports are done."""
    result = CliRunner().invoke(app, ["reproduce", *options(out), *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def states(folder: Path) -> dict[Path, int]:
    """When every file of the cells was changed."""
    return {each: each.stat().st_mtime_ns for each in (folder / "cells").rglob("*") if each.is_file()}


@pytest.fixture(scope="module")
def whole(place) -> tuple[Path, str]:
    """What an undisturbed command left and printed."""
    return place / "whole", reproduced(place, "whole")


def assert_same_figures(one: Path, other: Path) -> None:
    first, second = (Predictions.load(folder / ROW / PREDICTIONS) for folder in (one, other))
    assert first.names == second.names
    assert np.array_equal(first.logits, second.logits)
    evaluations = [
        json.loads((folder / "report.json").read_text())["experiments"][0]["evaluation"]
        for folder in (one, other)
    ]
    assert evaluations[0] == evaluations[1]


def test_a_recipe_on_a_folder_gives_a_report_and_the_papers_table_beside_its_own(whole):
    out, printed = whole
    assert "91.25" in printed
    assert "1/1 done" in printed
    page = (out / "report.html").read_text("utf-8")
    assert "A tiny recipe" in page
    assert "91.25" in page
    (section,) = json.loads((out / "report.json").read_text())["experiments"]
    assert section["name"] == ROW
    assert section["protocol"] == "honest"
    assert not list(out.rglob("*.pt"))


def test_the_same_command_again_runs_nothing_and_tells_the_same(place, whole, monkeypatch):
    out, printed = whole
    before = states(out)
    monkeypatch.chdir(place)
    again = invoked("--protocol", "honest", out="whole")
    assert "1 of 1 cells had ended before" in again
    assert again.partition("honest protocol")[2] == printed.partition("honest protocol")[2]
    assert states(out) == before


@pytest.mark.crash
def test_a_command_that_was_killed_ends_with_the_same_figures_when_it_is_given_again(
    place, whole, monkeypatch
):
    process = begun(place, "reproduce", "--protocol", "honest", out="killed")
    metrics = place / "killed" / "cells" / ROW / "fold-0" / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (place / "killed" / ROW).exists()
    monkeypatch.chdir(place)
    invoked("--protocol", "honest", out="killed")
    assert_same_figures(place / "killed", whole[0])


def test_one_experiment_of_several_that_are_one_training_can_be_run_alone(tmp_path, monkeypatch):
    tiny.collection(tmp_path / "data")
    rows = (tiny.experiment("short"), tiny.experiment("long", '"training.epochs" = 2'))
    tiny.recipe(tmp_path, *rows, rest=tiny.HOLDOUT)
    monkeypatch.chdir(tmp_path)
    printed = invoked("--protocol", "honest", "--only", "short", out="out")
    assert "short: balanced accuracy" in printed
    assert "long: balanced accuracy" not in printed


def test_what_is_wrong_with_a_collection_is_told_once_and_before_anything_is_begun(tmp_path, monkeypatch):
    data = tiny.collection(tmp_path / "data")
    (data / "blast" / "003.png").write_bytes(b"")
    tiny.recipe(tmp_path, tiny.experiment(ROW), rest=tiny.HOLDOUT)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"003\.png: is empty") as told:
        invoked("--protocol", "honest", out="out")
    assert "--skip-broken" in told.value.remedy
    assert not (tmp_path / "out").exists()
    assert "1 broken or mislabelled files" in page_of(tmp_path, "--skip-broken")


def page_of(place: Path, *words: str) -> str:
    invoked("--protocol", "honest", *words, out="out")
    return (place / "out" / "report.html").read_text()
