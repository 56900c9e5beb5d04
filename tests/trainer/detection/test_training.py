from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from edge.contract.taxonomy import ObjectKind
from trainer.data.frames import LabelledFrame
from trainer.detection import report, training
from trainer.detection.compose import Composer, Pool
from trainer.detection.deploy import DeployableDetector
from trainer.detection.evaluation import evaluate, find, torch_detect
from trainer.detection.network import CentreNetwork
from trainer.detection.training import Pictures, Settings
from trainer.errors import RunError
from trainer.run import RunDirectory


def smear(seed: int) -> LabelledFrame:
    """A small frame of one dark white cell, two pale red cells and a platelet on bright glass."""
    rng = np.random.default_rng(seed)
    pixels = np.full((128, 160, 3), 225, dtype=np.uint8)
    y, x = np.mgrid[:128, :160]
    boxes = []
    for (cx, cy, radius), colour in (
        ((45 + rng.integers(-5, 5), 60, 26), (90, 60, 150)),
        ((115, 36, 17), (205, 150, 150)),
        ((112 + rng.integers(-5, 5), 90, 17), (205, 150, 150)),
        ((75, 110, 9), (120, 90, 160)),
    ):
        pixels[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = colour
        boxes.append((cx - radius, cy - radius, cx + radius, cy + radius))
    return LabelledFrame(
        name=f"smear {seed}",
        pixels=pixels,
        um_per_px=0.22,
        boxes=np.array(boxes, dtype=np.float32),
        kinds=np.array([0, 1, 1, 2]),
    )


@pytest.fixture
def pictures() -> Pictures:
    frames = [smear(0), smear(1)]
    return Pictures(real=frames, virtual=[], cells=[], judged=frames, judged_cells=frames[:1])


SETTINGS = Settings(
    weights=None, epochs=2, batch_size=2, evaluate_every=2, warmup_steps=1, cell_share=0, virtual_share=0
)


@pytest.fixture
def small_scenes(monkeypatch):
    """Scenes a quarter as large: the same network and rules in a quarter of the time."""
    original = training.Composer

    def small(**given):
        return original(**given, width_px=192, height_px=160)

    monkeypatch.setattr(training, "Composer", small)


def test_the_loss_falls_when_two_frames_are_learnt_by_heart():
    torch.manual_seed(0)
    network = CentreNetwork(weights=None).train()
    composer = Composer(
        pools=[Pool(frames=[smear(0), smear(1)], share=1)],
        donors=[],
        natural=1.0,
        zoom=(0.5, 0.55),
        usual=0.0,
        mosaic=0.0,
        width_px=160,
        height_px=128,
    )
    optimizer = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=3e-3)
    (batch,) = composer.batches(np.random.default_rng(0), size=2, steps=1)
    seen = []
    for _ in range(25):
        loss = training.losses(network, batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < 0.5 * seen[0]


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path, pictures, small_scenes, monkeypatch):
    torch.set_num_threads(1)
    whole = RunDirectory.begin(tmp_path / "whole", {}, resume=False)
    training.train(SETTINGS, pictures, whole, quiet=True)

    stopped = RunDirectory.begin(tmp_path / "stopped", {}, resume=False)
    judge = training.judge
    monkeypatch.setattr(training, "judge", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        training.train(SETTINGS, pictures, stopped, quiet=True)
    monkeypatch.setattr(training, "judge", judge)
    assert stopped.require("last")["epoch"] == 0
    training.train(SETTINGS, pictures, stopped, quiet=True)

    first, second = (run.require("last")["serving"] for run in (whole, stopped))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert set(whole.metrics()[-1]) >= {"map50", "ap50_WBC", "ap50_RBC", "ap50_platelet", "cell_recall"}


def test_frozen_stages_stay_and_the_rest_learns(tmp_path, pictures, small_scenes):
    weights = tmp_path / "weights.pth"
    torch.manual_seed(1)
    state = {f"features.{key}": value for key, value in training_trunk().items()}
    torch.save(state, weights)
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    training.train(dataclasses.replace(SETTINGS, weights=str(weights), epochs=1), pictures, run, quiet=True)
    learnt = run.require("last")["network"]
    assert torch.equal(learnt["stages.0.0.0.weight"], state["features.0.0.weight"])
    assert not torch.equal(learnt["stages.1.4.conv.0.0.weight"], state["features.4.conv.0.0.weight"])


def training_trunk() -> dict[str, torch.Tensor]:
    from torchvision.models import mobilenet_v2

    return dict(mobilenet_v2(weights=None).features.state_dict())


def test_a_run_that_saw_the_judged_frames_is_not_measured_on_them(tmp_path):
    settings = dataclasses.replace(SETTINGS, lists=("train", "val"))
    RunDirectory.begin(tmp_path / "run", dataclasses.asdict(settings), resume=False)
    with pytest.raises(RunError, match="--figures-from"):
        report.measured_facts(tmp_path / "run", tmp_path)


def test_a_run_is_judged_by_all_that_it_goes_back_to(tmp_path):
    before = None
    for name, lists in (("first", ("train", "val")), ("second", ("train",)), ("third", ("train",))):
        settings = dataclasses.replace(SETTINGS, begin_with=before, lists=lists)
        RunDirectory.begin(tmp_path / name, dataclasses.asdict(settings), resume=False)
        before = tmp_path / name
    assert [run.path.name for run in report.lineage(tmp_path / "third")] == ["first", "second", "third"]
    with pytest.raises(RunError, match="trained on the frames"):
        report.refuse_if_seen(tmp_path / "third")


def test_figures_are_quoted_from_the_run_that_it_began_with_alone(tmp_path):
    for name in ("first", "other"):
        RunDirectory.begin(tmp_path / name, dataclasses.asdict(SETTINGS), resume=False)
    settings = dataclasses.replace(SETTINGS, begin_with=tmp_path / "first")
    RunDirectory.begin(tmp_path / "second", dataclasses.asdict(settings), resume=False)
    with pytest.raises(RunError, match="did not begin with"):
        report.inherited_facts(tmp_path / "second", tmp_path, measured=tmp_path / "other")


def test_settings_come_back_from_a_run_and_a_foreign_run_is_refused(tmp_path):
    settings = dataclasses.replace(SETTINGS, begin_with=tmp_path / "before", lists=("train", "val"))
    run = RunDirectory.begin(tmp_path / "run", dataclasses.asdict(settings), resume=False)
    assert report.settings_of(run) == settings
    other = RunDirectory.begin(tmp_path / "other", {"classes": 7}, resume=False)
    with pytest.raises(RunError, match="not a detector's run"):
        report.settings_of(other)


def test_an_evaluation_counts_every_object_and_its_figures_make_a_table(pictures):
    detect = torch_detect(DeployableDetector(network=CentreNetwork(weights=None)).eval())
    evaluation = evaluate(find(detect, pictures.judged), pictures.judged, replicates=20)
    assert evaluation.objects == {ObjectKind.WBC: 2, ObjectKind.RBC: 4, ObjectKind.PLATELET: 2}
    assert evaluation.frames == 2
    lines = report.table(report.precision_metrics(evaluation, measured_on="two smears")).splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "figure",
        "detector mAP50",
        "detector AP50 WBC",
        "detector AP50 RBC",
        "detector AP50 platelet",
    ]
    assert all(" to " in line and "two smears" in line for line in lines[1:])
