from __future__ import annotations

import json

import pytest
import torch
from pydantic import BaseModel

from trainer.errors import RunError
from trainer.run import Checkpoint, RunDirectory


class Shown(BaseModel):
    answer: int


def checkpoint(value: float) -> Checkpoint:
    state = {"weight": torch.tensor([value])}
    return Checkpoint(epoch=0, network=state, serving=state, optimizer={}, best_score=value)


def test_a_second_run_in_the_same_directory_is_refused(tmp_path):
    RunDirectory.begin(tmp_path / "run", {"rate": 1}, resume=False)
    with pytest.raises(RunError, match="holds a run already"):
        RunDirectory.begin(tmp_path / "run", {"rate": 1}, resume=False)


def test_resuming_with_other_settings_names_what_differs(tmp_path):
    RunDirectory.begin(tmp_path / "run", {"rate": 1, "seed": 0}, resume=False)
    with pytest.raises(RunError, match=r"\(rate differ\)"):
        RunDirectory.begin(tmp_path / "run", {"rate": 2, "seed": 0}, resume=True)


def test_a_path_and_a_tuple_in_the_settings_do_not_stop_a_resume(tmp_path):
    settings = {"weights": tmp_path / "w.pth", "lists": ("train", "val")}
    RunDirectory.begin(tmp_path / "run", settings, resume=False)
    assert RunDirectory.begin(tmp_path / "run", settings, resume=True).configuration()["lists"] == [
        "train",
        "val",
    ]


def test_a_directory_that_is_no_run_is_told_apart(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        RunDirectory.open(tmp_path)


def test_a_line_torn_by_a_power_cut_is_forgotten(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    run.record(epoch=0, values={"loss": 1.0})
    run.record(epoch=1, values={"loss": float("nan")})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert run.metrics() == [{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": None}]
    run.rewind_metrics(epochs=1)
    run.record(epoch=1, values={"loss": 0.5})
    assert [row["loss"] for row in run.metrics()] == [1.0, 0.5]


def test_a_damaged_checkpoint_is_named(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    run.save("last", checkpoint(3.0))
    file = run.path / "last.pt"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(RunError, match=r"last\.pt is damaged"):
        run.load("last")


def test_a_checkpoint_comes_back_as_it_was_and_leaves_no_partial_file(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    assert run.load("best") is None
    run.save("best", checkpoint(3.0))
    assert run.require("best")["serving"]["weight"].tolist() == [3.0]
    assert not list(run.path.glob(".*"))


def test_facts_of_another_kind_are_refused(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    with pytest.raises(RunError, match="evaluate"):
        run.facts(Shown)
    run.save_facts(Shown(answer=42))
    assert run.facts(Shown).answer == 42
    (run.path / "facts.json").write_text(json.dumps({"answer": "many"}))
    with pytest.raises(RunError, match="not a Shown"):
        run.facts(Shown)


def test_curves_are_a_picture(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    for epoch in range(3):
        run.record(epoch=epoch, values={"loss": 1.0 / (epoch + 1)})
    run.draw_curves({"loss": ("loss", "never_recorded"), "empty": ("nothing",)})
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG")
