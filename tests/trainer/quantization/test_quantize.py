import copy
import json

import numpy as np
import pytest
import torch

from tests.trainer.quantization.conftest import (
    BAD_LAYER,
    RECIPE,
    coloured,
    subject_of,
    with_a_useless_large_weight,
    with_an_outlier_channel,
)
from trainer.errors import DataError, RunError, TrainerError
from trainer.fit import fit
from trainer.quantization import quantize
from trainer.quantization.opening import restored
from trainer.quantization.pictures import LabelledPictures, PictureSubject
from trainer.quantization.quantize import Choice, aware_training, post_training
from trainer.quantization.report import QuantizationReport, table
from trainer.quantization.subject import FineTuning
from trainer.run import RunDirectory

WITHOUT_SEARCH = Choice(budget_points=0.6, method="max", search=False)
WITH_SEARCH = Choice(budget_points=0.6, method="max")
LEARN_ON = FineTuning(epochs=6, rate=0.2)


def begin(tmp_path, name="quantized"):
    return RunDirectory.begin(tmp_path / name, {}, resume=True)


def test_a_sound_network_costs_little_and_keeps_no_layer_in_float(colour_network, tmp_path, source):
    run = begin(tmp_path)
    report = post_training(
        subject_of(colour_network), run, Choice(budget_points=2.0), source=source, quiet=True
    )
    assert report.judgement is not None
    assert report.judgement.total.before > 60, "the network has learnt nothing that could be lost"
    assert abs(report.judgement.total.points) < 2
    assert report.kept_float == ()
    assert report.met
    assert report.to_blame == ()
    assert [each.of for each in report.judgement.by_class] == ["red", "green", "blue"]
    assert QuantizationReport.load(run.path) == report


def test_the_search_finds_the_planted_layer_and_leaves_it_alone_in_float(colour_network, tmp_path, source):
    subject = subject_of(with_an_outlier_channel(colour_network))
    report = post_training(subject, begin(tmp_path), WITH_SEARCH, source=source, quiet=True)
    assert report.sensitivity[0].layer == BAD_LAYER
    assert report.sensitivity[0].points > 10
    assert report.kept_float == (BAD_LAYER,)
    assert report.search[0].points > 10
    assert report.search[-1].points <= 0.6
    assert report.judgement is not None
    assert abs(report.judgement.total.points) < 3


def test_without_a_search_the_planted_layer_is_blamed(colour_network, tmp_path, source):
    subject = subject_of(with_an_outlier_channel(colour_network))
    report = post_training(subject, begin(tmp_path), WITHOUT_SEARCH, source=source, quiet=True)
    assert report.met is False
    assert report.kept_float == ()
    assert report.to_blame[0].layer == BAD_LAYER
    said = table(report)
    assert "budget 0.6 points: MISSED" in said
    assert said.index("To blame") < said.index(BAD_LAYER)


def test_a_search_that_was_interrupted_asks_nothing_twice(colour_network, tmp_path, source, monkeypatch):
    subject = subject_of(with_an_outlier_channel(colour_network))
    whole = post_training(subject, begin(tmp_path, "whole"), WITH_SEARCH, source=source, quiet=True)

    asked = []
    tune = PictureSubject.tune

    def counted(self, network):
        asked.append(network)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return tune(self, network)

    monkeypatch.setattr(PictureSubject, "tune", counted)
    run = begin(tmp_path, "stopped")
    with pytest.raises(KeyboardInterrupt):
        post_training(subject, run, WITH_SEARCH, source=source, quiet=True)
    kept = (run.path / "search.jsonl").read_text()
    (run.path / "search.jsonl").write_text(kept + '{"name": "alone he')  # a power cut's torn line
    first = len(asked)
    assert post_training(subject, run, WITH_SEARCH, source=source, quiet=True) == whole
    # The float network, two layers that were waiting, and two steps of the search.
    assert len(asked) - first == 1 + 2 + 2
    assert (run.path / "search.jsonl").read_text() == (tmp_path / "whole" / "search.jsonl").read_text()


def test_training_on_recovers_what_rounding_lost(colour_network, tmp_path, source):
    subject = subject_of(with_a_useless_large_weight(colour_network))
    lost = post_training(subject, begin(tmp_path, "ptq"), WITHOUT_SEARCH, source=source, quiet=True)
    recovered = aware_training(
        subject, begin(tmp_path, "qat"), WITHOUT_SEARCH, LEARN_ON, source=source, quiet=True
    )
    assert lost.judgement is not None
    assert recovered.judgement is not None
    assert lost.judgement.total.points > 50
    assert recovered.judgement.total.points < 20
    assert recovered.kept_float == ()
    assert recovered.steps == 6 * 15
    # Said because it is so, not because the test wants it: who misses the budget names layers.
    assert bool(recovered.to_blame) == (recovered.met is False)


def test_an_interrupted_fine_tuning_ends_with_the_same_weights(colour_network, tmp_path, source, monkeypatch):
    subject = subject_of(colour_network)
    tuning = FineTuning(epochs=2, rate=0.1)
    whole = begin(tmp_path, "whole")
    aware_training(subject, whole, WITHOUT_SEARCH, tuning, source=source, quiet=True)

    stopped = begin(tmp_path, "stopped")
    record = RunDirectory.record

    def stop(self, *, epoch, values):
        if epoch == 1:
            raise KeyboardInterrupt
        record(self, epoch=epoch, values=values)

    monkeypatch.setattr(RunDirectory, "record", stop)
    with pytest.raises(KeyboardInterrupt):
        aware_training(subject, stopped, WITHOUT_SEARCH, tuning, source=source, quiet=True)
    monkeypatch.setattr(RunDirectory, "record", record)
    assert stopped.require("last")["epoch"] == 0
    aware_training(subject, stopped, WITHOUT_SEARCH, tuning, source=source, quiet=True)

    first, second = (run.require("last")["serving"] for run in (whole, stopped))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(key.endswith(".range") for key in first), "ranges are part of what is resumed"
    assert (whole.path / "quantization.json").read_text() == (stopped.path / "quantization.json").read_text()


def test_an_interrupted_comparison_goes_on_where_it_was(colour_network, tmp_path, source, monkeypatch):
    subject = subject_of(colour_network)
    tuning = FineTuning(epochs=2, rate=0.5)
    whole = begin(tmp_path, "whole")
    wanted = aware_training(subject, whole, WITHOUT_SEARCH, tuning, source=source, quiet=True)

    stopped = begin(tmp_path, "stopped")
    record = RunDirectory.record

    def stop(self, *, epoch, values):
        if self.path.name == "continued" and epoch == 1:
            raise KeyboardInterrupt
        record(self, epoch=epoch, values=values)

    monkeypatch.setattr(RunDirectory, "record", stop)
    with pytest.raises(KeyboardInterrupt):
        aware_training(subject, stopped, WITHOUT_SEARCH, tuning, source=source, quiet=True)
    monkeypatch.setattr(RunDirectory, "record", record)
    assert not (stopped.path / "quantization.json").exists()
    assert aware_training(subject, stopped, WITHOUT_SEARCH, tuning, source=source, quiet=True) == wanted
    first, second = (
        RunDirectory.open(run.path / "continued").require("last")["serving"] for run in (whole, stopped)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_gain_by_training_longer_does_not_hide_what_eight_bits_cost(colour_network, tmp_path, source):
    # Begun from a network that has forgotten: learning on gains much, and rounding's cost drowns in it.
    tired = copy.deepcopy(colour_network)
    with torch.no_grad():
        tired.head.weight += 0.5 * torch.randn(
            tired.head.weight.shape, generator=torch.Generator().manual_seed(1)
        )
    report = aware_training(
        subject_of(tired), begin(tmp_path), WITHOUT_SEARCH, LEARN_ON, source=source, quiet=True
    )
    assert report.judgement is not None
    assert report.continued is not None
    assert report.judgement.total.points < -1, "it gained: eight bits seem to cost less than nothing"
    assert report.continued.total.before > report.judgement.total.before + 1, (
        "more training alone gains it, too"
    )
    assert abs(report.continued.total.points) < abs(report.judgement.total.points)
    said = table(report)
    assert said.index("budget 0.6 points: met") < said.index("trained on for as long")
    assert "against it the budget of 0.6 points is" in said


def test_ranges_follow_for_the_first_part_of_the_steps_alone(colour_network, tmp_path, source, monkeypatch):
    given = []

    def spied(recipe, run, **how):
        layers = quantize.quantized_layers(recipe.network).values()
        given.extend(int(layer.following) for layer in layers if layer.active)
        return fit(recipe, run, **how)

    monkeypatch.setattr(quantize, "fit", spied)
    run = begin(tmp_path)
    tuning = FineTuning(epochs=2, rate=0.1, following=0.5)
    aware_training(subject_of(colour_network), run, WITHOUT_SEARCH, tuning, source=source, quiet=True)
    assert given == [15, 15, 15]
    left = [int(value) for key, value in run.require("last")["serving"].items() if key.endswith("following")]
    assert left == [0, 0, 0]


def test_a_quantized_recipes_network_comes_back_as_it_was_judged(colour_network, tmp_path, source):
    run = begin(tmp_path)
    choice = Choice(budget_points=0.6, method="max", always_float=("head",), search=False)
    subject = subject_of(colour_network)
    report = post_training(subject, run, choice, source=source, quiet=True)
    back = restored(colour_network, run.path, example=subject.example())
    assert subject.judge(back) == report.judgement
    (source / "last.pt").write_bytes(b"other weights")
    with pytest.raises(RunError, match="trained anew"):
        restored(colour_network, run.path, example=subject.example())


def test_the_calibration_is_named_by_what_its_pictures_hold(colour_network, tmp_path, source):
    run = begin(tmp_path)
    report = post_training(subject_of(colour_network), run, WITHOUT_SEARCH, source=source, quiet=True)
    calibration = subject_of(colour_network).calibration()
    assert report.calibration.digest == calibration.digest
    assert report.calibration.pictures == 128
    changed = calibration.batches[0].clone()
    changed[0, 0, 0, 0] += 1
    other = type(calibration)(batches=[changed, *calibration.batches[1:]], source=calibration.source)
    assert other.digest != calibration.digest


def test_calibration_and_tuning_share_no_group(colour_network):
    train = coloured(240, seed=0)
    # A group's pictures carry its number, so that each drawn picture tells where it came from.
    marked = train.pixels.copy()
    marked[:, 0, 0, 0] = train.groups
    subject = PictureSubject(
        network=colour_network,
        recipe=RECIPE,
        classes=("red", "green", "blue"),
        train=LabelledPictures(pixels=marked, labels=train.labels, groups=train.groups),
        held_out=train,
        grouped_by="slide",
    )
    calibrated = {int(each) for batch in subject.calibration().batches for each in batch[:, 0, 0, 0]}
    tuned = set(subject._tuning.pixels[:, 0, 0, 0].tolist())
    assert tuned == {0, 4}
    assert calibrated == {1, 2, 3, 5, 6, 7}


def test_every_class_calibrates_and_those_of_several_groups_tune(colour_network):
    # Three patients of the first class, two of the second, one of the third: numbered class after class.
    groups = np.repeat([0, 1, 2, 3, 4, 5], 6)
    labels = np.repeat([0, 0, 0, 1, 1, 2], 6)
    pixels = np.zeros((36, 16, 16, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = groups
    pictures = LabelledPictures(pixels=pixels, labels=labels, groups=groups)
    subject = PictureSubject(
        network=colour_network,
        recipe=RECIPE,
        classes=("red", "green", "blue"),
        train=pictures,
        held_out=pictures,
        grouped_by="patient",
    )
    calibrated = {int(each) for batch in subject.calibration().batches for each in batch[:, 0, 0, 0]}
    assert calibrated == {1, 2, 4, 5}
    assert set(subject._tuning.pixels[:, 0, 0, 0].tolist()) == {0, 3}


def test_where_each_class_is_one_patient_one_of_them_is_put_aside(colour_network):
    labels = np.repeat([0, 1, 2], 6)
    pixels = np.zeros((18, 16, 16, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = labels
    pictures = LabelledPictures(pixels=pixels, labels=labels, groups=labels)
    subject = PictureSubject(
        network=colour_network,
        recipe=RECIPE,
        classes=("red", "green", "blue"),
        train=pictures,
        held_out=pictures,
        grouped_by="patient",
    )
    calibrated = {int(each) for batch in subject.calibration().batches for each in batch[:, 0, 0, 0]}
    assert calibrated == {1, 2}
    assert set(subject._tuning.pixels[:, 0, 0, 0].tolist()) == {0}


def test_with_nothing_held_out_the_cost_is_not_known(colour_network, tmp_path, source):
    subject = subject_of(colour_network, held_out=0)
    report = post_training(subject, begin(tmp_path), WITHOUT_SEARCH, source=source, quiet=True)
    assert report.judgement is None
    assert report.met is None
    assert "not known" in table(report)


def test_a_layer_that_a_person_wants_in_float_stays_so(colour_network, tmp_path, source):
    choice = Choice(budget_points=50.0, method="mse", always_float=("head",))
    report = post_training(subject_of(colour_network), begin(tmp_path), choice, source=source, quiet=True)
    assert report.kept_float == ("head",)
    unknown = Choice(budget_points=1.0, always_float=("neck",))
    with pytest.raises(TrainerError, match="no layer 'neck'"):
        post_training(
            subject_of(colour_network), begin(tmp_path, "other"), unknown, source=source, quiet=True
        )


def test_the_ranges_are_those_with_the_least_noise(colour_network, tmp_path, source):
    run = begin(tmp_path)
    choice = Choice(budget_points=2.0, search=False)
    report = post_training(subject_of(colour_network), run, choice, source=source, quiet=True)
    lines = [json.loads(line) for line in (run.path / "search.jsonl").read_text().splitlines()]
    noise = {line["name"].removeprefix("ranges by "): line["noise"] for line in lines}
    assert set(noise) == {"max", "percentile", "mse", "entropy"}
    assert report.calibration.method == min(noise, key=noise.__getitem__)


def test_pictures_of_one_group_alone_are_refused(colour_network):
    pictures = coloured(24, seed=0, groups=1)
    with pytest.raises(DataError, match="one group"):
        PictureSubject(
            network=colour_network,
            recipe=RECIPE,
            classes=("red", "green", "blue"),
            train=pictures,
            held_out=pictures,
            grouped_by="slide",
        )
    assert len(np.unique(pictures.groups)) == 1
