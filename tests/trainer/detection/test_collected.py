from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edge.contract.taxonomy import ObjectKind
from tests.trainer.detection import boxed
from trainer.cli import app
from trainer.data.bccd import Bccd
from trainer.detection import collected_report, report, training
from trainer.detection.collected import BoxedCollection, part_pictures
from trainer.errors import DataError, RunError, TrainerError
from trainer.facts import DetectorFacts
from trainer.quantization.report import QuantizationReport
from trainer.run import RunDirectory

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def bccd(data_dir) -> Bccd:
    return Bccd(folder=data_dir / "bccd")


@pytest.fixture(scope="module")
def voc(bccd, tmp_path_factory):
    return boxed.voc(bccd, tmp_path_factory.mktemp("own") / "smears")


@pytest.fixture
def small_scenes(monkeypatch):
    """Scenes a quarter as large: the same network and rules in a quarter of the time."""
    original = training.Composer
    monkeypatch.setattr(training, "Composer", lambda **given: original(**given, width_px=192, height_px=160))
    torch.set_num_threads(1)


def fit(folder, out, *more):
    words = ["detector", "fit", "--collection", str(folder), "--out", str(out), "--from-scratch"]
    words += ["--epochs", "1", "--batch-size", "2", "--evaluate-every", "1", "--held-out", "0.3", *more]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_three_layouts_of_the_same_boxes_give_the_same_frames_on_the_same_sides(bccd, voc, tmp_path):
    layouts = (voc, boxed.as_coco(voc, tmp_path / "coco"), boxed.as_yolo(voc, tmp_path / "yolo"))
    found = [part_pictures(BoxedCollection(folder=each, held_out=0.3)) for each in layouts]
    assert [each.collection.format for each in found] == ["voc", "coco", "yolo"]
    for parted in found:
        for side, first in (("train_frames", found[0].train_frames()), ("held_out_frames", None)):
            frames = getattr(parted, side)()
            for frame, expected in zip(frames, first or found[0].held_out_frames(), strict=True):
                assert frame.name == expected.name
                assert np.allclose(frame.boxes, expected.boxes, atol=1e-3)
                assert frame.kinds.tolist() == expected.kinds.tolist()
    for frame in found[0].train_frames():
        assert frame.boxes.tolist() == bccd.frame(frame.name).boxes.tolist()


def test_slides_are_never_parted_and_no_picture_is_lost(voc):
    for seed in range(5):
        parted = part_pictures(BoxedCollection(folder=voc, held_out=0.3, seed=seed))
        train, held = ({each.slide for each in side} for side in (parted.train, parted.held_out))
        assert train | held == {"a", "b", "c"}
        assert not train & held
        assert len(parted.train) + len(parted.held_out) == len(boxed.SLIDES)
        assert parted.grouping.kind == "slide"
        assert "no group stands on both sides" in parted.in_words()


def test_a_picture_that_stands_in_two_slides_welds_them(voc, tmp_path):
    folder = shutil.copytree(voc, tmp_path / "own")
    first, *_, last = sorted((folder / "JPEGImages").iterdir())
    shutil.copyfile(first, last)
    for seed in range(5):
        held = part_pictures(BoxedCollection(folder=folder, held_out=0.3, seed=seed)).held_out
        assert ("a" in {each.slide for each in held}) == ("c" in {each.slide for each in held})


def test_neighbours_of_an_unknown_slide_are_one_block_that_cannot_be_parted(bccd, tmp_path):
    folder = boxed.voc(bccd, tmp_path / "own", slides=None)
    with pytest.raises(DataError, match="stands in 1 group") as told:
        part_pictures(BoxedCollection(folder=folder))
    assert "more patients or slides" in told.value.remedy


def test_red_cells_tell_the_scale_that_nobody_states(voc):
    parted = part_pictures(BoxedCollection(folder=voc))
    assert parted.um_per_px == pytest.approx(0.0715, rel=0.1)
    assert "red cells' boxes" in parted.scale
    with pytest.raises(DataError, match="0 red cells have a box") as told:
        part_pictures(BoxedCollection(folder=voc, kinds={"RBC": None}))
    assert "--um-per-px" in told.value.remedy
    assert part_pictures(BoxedCollection(folder=voc, kinds={"RBC": None}, um_per_px=0.1)).um_per_px == 0.1


def test_a_collection_without_boxes_is_refused(data_dir):
    with pytest.raises(DataError, match="has no boxes"):
        part_pictures(BoxedCollection(folder=data_dir / "cnmc_sample"))


def test_a_detector_of_a_person_s_own_pictures_is_judged_by_the_slides_held_out(voc, tmp_path, small_scenes):
    run = tmp_path / "run"
    answer = fit(voc, run, "--virtual-fields", "0", "--seed", "1")
    assert answer.exit_code == 0, answer.output
    assert "smears: 4 pictures of 2 groups to train on, 2 of 1 held out" in answer.output
    answer = CliRunner().invoke(app, ["detector", "evaluate", str(run)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    facts = RunDirectory.open(run).facts(DetectorFacts)
    assert [each.name for each in facts.metrics] == [
        "detector mAP50",
        "detector AP50 WBC",
        "detector AP50 RBC",
        "detector AP50 platelet",
    ]
    for each in facts.metrics:
        assert (each.grouped_by, each.groups) == ("slide", 1)
        assert each.low is None, "one slide tells nothing of others"
    assert set(facts.thresholds) == set(ObjectKind)
    (source,) = facts.sources
    assert (source.name, source.samples) == ("smears", 4)
    assert source.licence == "not told by the collection"
    assert "1 group was held out" in " ".join(facts.limits)
    assert "from random weights on smears;" in facts.recipe
    settings = report.settings_of(RunDirectory.open(run))
    assert settings.collection == BoxedCollection(folder=voc, held_out=0.3, seed=1)
    again = fit(voc, run, "--virtual-fields", "0", "--seed", "1", "--resume")
    assert again.exit_code == 0, "what its configuration says is what was asked"


def test_its_cost_in_eight_bits_is_measured_on_the_slides_held_out(voc, tmp_path, small_scenes):
    run, few = tmp_path / "run", ["--calibration-pictures", "8", "--tuning-pictures", "8", "--ranges", "max"]
    assert fit(voc, run, "--virtual-fields", "0", "--seed", "1").exit_code == 0
    words = ["quantize", "ptq", str(run), "--out", str(tmp_path / "int8"), "--no-search", "--budget", "100"]
    answer = CliRunner().invoke(app, [*words, *few], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    judged = QuantizationReport.load(tmp_path / "int8").judgement
    assert (judged.measured_on, judged.grouped_by, judged.groups) == ("smears, held-out groups", "slide", 1)
    assert judged.total.low is None, "one slide tells nothing of others"


def test_kinds_that_nobody_boxed_are_taught_and_measured_on_the_virtual_slide(
    voc, tmp_path, small_scenes, monkeypatch
):
    alone = ("--kind", "RBC=nothing,Platelets=nothing", "--um-per-px", "0.0715")
    with pytest.raises(DataError, match="Nothing teaches what RBC and platelet look like"):
        fit(voc, tmp_path / "run", *alone, "--virtual-fields", "0")
    assert not (tmp_path / "run").exists()
    assert fit(voc, tmp_path / "run", *alone, "--virtual-fields", "2").exit_code == 0
    monkeypatch.setattr(collected_report, "VIRTUAL_TEST_SEEDS", range(2_000_000, 2_000_004))
    facts = collected_report.measured_facts(tmp_path / "run", tmp_path)
    own = [each.name for each in facts.metrics if each.measured_on.startswith("smears")]
    assert own == ["detector mAP50", "detector AP50 WBC"]
    chosen = {kind: each.operating_point.partition(" on ")[2] for kind, each in facts.thresholds.items()}
    assert chosen[ObjectKind.WBC].startswith("smears, held-out groups")
    assert chosen[ObjectKind.RBC].startswith("unseen fields of the virtual slide")
    assert "boxes no RBC and no platelet" in " ".join(facts.limits)


def test_a_network_that_saw_a_held_out_picture_before_is_not_measured(bccd, data_dir, voc, tmp_path):
    asked = BoxedCollection(folder=voc, held_out=0.3, seed=1)
    settings = training.Settings(weights=None, collection=asked, lists=())
    # The same pictures elsewhere, each of a slide of its own: one is held out, so one of the two is learnt.
    folder = shutil.copytree(voc, tmp_path / "elsewhere")
    boxed.tell_slides(folder, {each.name: each.stem for each in (folder / "JPEGImages").iterdir()})
    earlier = dataclasses.replace(settings, collection=BoxedCollection(folder=folder, held_out=0.17))
    RunDirectory.begin(tmp_path / "first", dataclasses.asdict(earlier), resume=False)
    second = dataclasses.replace(settings, begin_with=tmp_path / "first")
    RunDirectory.begin(tmp_path / "second", dataclasses.asdict(second), resume=False)
    with pytest.raises(RunError, match=r"first trained on [12] of the 2 pictures that are held out"):
        collected_report.measured_facts(tmp_path / "second", data_dir)

    of_bccd = dataclasses.replace(settings, collection=None, lists=("train",))
    RunDirectory.begin(tmp_path / "bccd", dataclasses.asdict(of_bccd), resume=False)
    third = dataclasses.replace(settings, begin_with=tmp_path / "bccd")
    RunDirectory.begin(tmp_path / "third", dataclasses.asdict(third), resume=False)
    with pytest.raises(RunError, match="bccd trained on 2 of the 2"):
        collected_report.measured_facts(tmp_path / "third", data_dir)


def test_options_that_contradict_each_other_are_told_before_anything_is_made(voc, tmp_path):
    with pytest.raises(TrainerError, match="--list is of BCCD"):
        fit(voc, tmp_path / "run", "--list", "train")
    with pytest.raises(TrainerError, match="--kind, --um-per-px speaks of a collection"):
        CliRunner().invoke(
            app,
            ["detector", "fit", "--out", str(tmp_path / "run"), "--kind", "a=WBC", "--um-per-px", "0.1"],
            catch_exceptions=False,
        )
    assert not (tmp_path / "run").exists()
