"""The station's own runs, small and hardly trained: quantized by command, read back, fine-tuned."""

import copy
import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from trainer.classification.batches import BatchRecipe
from trainer.classification.corpus import Corpus
from trainer.classification.deploy import DeployableClassifier, Deployment
from trainer.classification.evaluated import answers
from trainer.classification.fit import ClassifierRecipe, features_of, logits_of_features
from trainer.classification.network import CellNetwork
from trainer.classification.pictures import picture_of
from trainer.data.cells import CLASSES
from trainer.data.samples import Sample
from trainer.detection.deploy import DeployableDetector
from trainer.detection.network import CentreNetwork
from trainer.detection.training import Settings
from trainer.errors import DataError, RunError, TrainerError
from trainer.evaluation.calibration import fit_temperature, negative_log_likelihood
from trainer.quantization.classifier import ClassifierSubject
from trainer.quantization.cli import app
from trainer.quantization.layers import quantized_layers
from trainer.quantization.opening import load_quantized, open_subject
from trainer.quantization.quantize import Choice, aware_training, post_training
from trainer.quantization.report import QuantizationReport, table
from trainer.quantization.subject import FineTuning
from trainer.run import Checkpoint, RunDirectory

SETTINGS = Settings(weights=None, epochs=1, batch_size=2, cell_share=0, virtual_share=0, virtual_fields=0)
RECIPE = ClassifierRecipe(epochs=1, size_px=32, batch=BatchRecipe(size=4, steps=2))
VOC = {"WBC": (60, 60, 26), "RBC": (150, 40, 18), "Platelets": (120, 110, 9)}


def finished(path: Path, configuration: dict, network: torch.nn.Module, *, epoch: int = 0) -> Path:
    run = RunDirectory.begin(path, configuration, resume=False)
    state = network.state_dict()
    run.save("last", Checkpoint(epoch=epoch, network=state, serving=state, optimizer={}, best_score=0.0))
    return path


def write_bccd(folder: Path) -> None:
    """Twelve small frames in BCCD's layout: eight to train on, four to judge on."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    names = [f"frame_{number:02}" for number in range(12)]
    (folder / "ImageSets/Main/train.txt").write_text("\n".join(names[:8]))
    (folder / "ImageSets/Main/val.txt").write_text("\n".join(names[8:]))
    y, x = np.mgrid[:160, :208]
    for number, name in enumerate(names):
        pixels = np.full((160, 208, 3), 220, dtype=np.uint8)
        objects = ""
        for kind, (cx, cy, radius) in VOC.items():
            pixels[(x - cx - number) ** 2 + (y - cy) ** 2 < radius**2] = (150, 60, 90)
            box = (cx + number - radius, cy - radius, cx + number + radius, cy + radius)
            edges = "".join(
                f"<{key}>{at}</{key}>" for key, at in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            )
            objects += f"<object><name>{kind}</name><bndbox>{edges}</bndbox></object>"
        cv2.imwrite(str(folder / f"JPEGImages/{name}.jpg"), pixels)
        (folder / f"Annotations/{name}.xml").write_text(f"<annotation>{objects}</annotation>")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_bccd(folder / "bccd")
    return folder


@pytest.fixture
def detector_run(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return finished(tmp_path / "detector", dataclasses.asdict(SETTINGS), CentreNetwork(weights=None))


def call(*arguments: object):
    few = ["--calibration-pictures", "8", "--tuning-pictures", "8", "--ranges", "max"]
    return CliRunner().invoke(app, [*(str(each) for each in arguments), *few])


@pytest.fixture(scope="module")
def quantized(data: Path, tmp_path_factory: pytest.TempPathFactory):
    """A detector's run, quantized by command; and what the command said."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("quantized")
    run = finished(folder / "detector", dataclasses.asdict(SETTINGS), CentreNetwork(weights=None))
    return run, call("ptq", run, "--data", data, "--no-search", "--budget", 100)


def test_a_detector_is_quantized_by_command_and_read_back(quantized, data):
    run, result = quantized
    assert result.exit_code == 0, result.output
    assert "62 of 62 layers in eight bits" in result.output
    assert "mAP50 on BCCD, val list" in result.output
    out = run.with_name("detector-ptq")
    report = QuantizationReport.load(out)
    assert [cost.of for cost in report.judgement.by_class] == ["WBC", "RBC", "platelet"]
    served = load_quantized(out)
    assert isinstance(served, DeployableDetector)
    layers = quantized_layers(served)
    assert len(layers) == 62
    assert all(float(layer.range) > 0 for layer in layers.values())
    boxes, _, _ = served(torch.zeros((1, 64, 64, 3), dtype=torch.uint8))
    assert torch.isfinite(boxes).all()

    again = call("ptq", run, "--data", data, "--no-search", "--budget", 100)
    assert isinstance(again.exception, RunError)
    assert "holds a run already" in str(again.exception)


def test_a_run_that_was_trained_anew_is_not_mixed_with_its_quantized_past(quantized, tmp_path):
    run, _ = quantized
    for name in ("detector", "detector-ptq"):
        shutil.copytree(run.with_name(name), tmp_path / name)
    report = QuantizationReport.load(tmp_path / "detector-ptq")
    report.model_copy(update={"run": str(tmp_path / "detector")}).save(tmp_path / "detector-ptq")
    load_quantized(tmp_path / "detector-ptq")
    state = CentreNetwork(weights=None).state_dict()
    RunDirectory.open(tmp_path / "detector").save(
        "last", Checkpoint(epoch=0, network=state, serving=state, optimizer={}, best_score=0.0)
    )
    with pytest.raises(RunError, match="trained anew"):
        load_quantized(tmp_path / "detector-ptq")


def test_a_detector_that_trained_on_the_judged_frames_has_no_cost(tmp_path, data):
    settings = dataclasses.replace(SETTINGS, lists=("train", "val"))
    run = finished(tmp_path / "seen", dataclasses.asdict(settings), CentreNetwork(weights=None))
    subject = open_subject(run, data, calibration_pictures=8, tuning_pictures=8)
    assert subject.judge(subject.network) is None


def test_an_unfinished_run_is_refused_by_its_epochs(tmp_path, data):
    configuration = dataclasses.asdict(dataclasses.replace(SETTINGS, epochs=4))
    run = finished(tmp_path / "begun", configuration, CentreNetwork(weights=None), epoch=1)
    result = call("qat", run, "--data", data)
    assert isinstance(result.exception, RunError)
    assert "2 of 4 epochs" in str(result.exception)
    assert not run.with_name("begun-qat").exists()


@pytest.mark.parametrize(
    ("configuration", "message"),
    [({"classes": 7}, "no run of a detector, a classifier or a recipe"), (None, "not a run")],
)
def test_what_is_no_such_run_is_refused(tmp_path, data, configuration, message):
    if configuration is not None:
        RunDirectory.begin(tmp_path / "run", configuration, resume=False)
    result = call("ptq", tmp_path / "run", "--data", data)
    assert isinstance(result.exception, RunError)
    assert message in str(result.exception)


def test_missing_data_names_the_file(detector_run, tmp_path):
    result = call("ptq", detector_run, "--data", tmp_path / "nowhere")
    assert isinstance(result.exception, DataError)
    assert "train.txt" in str(result.exception)
    assert not detector_run.with_name("detector-ptq").exists()


def test_an_unknown_way_to_choose_ranges_names_those_there_are(detector_run, data):
    result = CliRunner().invoke(app, ["ptq", str(detector_run), "--data", str(data), "--ranges", "guess"])
    assert isinstance(result.exception, TrainerError)
    assert "max, percentile, mse, entropy" in str(result.exception)


def corpus_of(per_class: int = 100) -> Corpus:
    """Discs of a colour for each class, in one series each of four blocks."""
    samples, blocks, pictures = [], [], []
    y, x = np.mgrid[:60, :60]
    for label, name in enumerate(CLASSES):
        for number in range(per_class):
            rng = np.random.default_rng([label, number])
            pixels = np.full((60, 60, 3), 225, dtype=np.uint8)
            pixels[(x - 30) ** 2 + (y - 30) ** 2 < 18**2] = (40 + 25 * label, 60, 180 - 20 * label)
            pixels = (pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype(np.uint8)
            samples.append(
                Sample(
                    file=Path(f"{name}_{number}.png"),
                    label=name,
                    laboratory="lmu",
                    series=name,
                    number=number,
                )
            )
            blocks.append(4 * label + number * 4 // per_class)
            pictures.append(picture_of(pixels, (12.0, 12.0, 48.0, 48.0), label=label, domain=0))
    return Corpus(samples=tuple(samples), blocks=tuple(blocks), pictures=tuple(pictures), virtual=())


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return corpus_of(per_class=8)


@pytest.fixture
def classifier_run(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    configuration = {"split": "house", "weights": None, "recipe": RECIPE.configuration()}
    return finished(tmp_path / "classifier", configuration, CellNetwork(classes=len(CLASSES)))


def test_a_classifier_learns_on_with_rounded_layers_on_its_own_cells(classifier_run, corpus, tmp_path):
    subject = ClassifierSubject(
        run=classifier_run, corpus=corpus, calibration_pictures=14, tuning_pictures=14
    )
    run = RunDirectory.begin(tmp_path / "qat", {}, resume=False)
    choice = Choice(budget_points=100.0, method="max", search=False)
    report = aware_training(subject, run, choice, FineTuning(epochs=1), source=classifier_run, quiet=True)
    assert report.steps == RECIPE.batch.steps
    assert report.judgement is not None
    assert report.judgement.measured_on == "held-out cells of the split house"
    assert report.judgement.total.samples == 14
    assert [cost.of for cost in report.judgement.by_class] == list(CLASSES)
    learnt = run.require("last")["serving"]
    began = RunDirectory.open(classifier_run).require("last")["serving"]
    assert not torch.equal(learnt["head.layer.weight"], began["head.weight"])
    with pytest.raises(RunError, match=r"deployment\.pt"):
        load_quantized(run.path)


@pytest.fixture
def evaluated_run(classifier_run, corpus) -> Path:
    """As far as it is served: these cells are too few for all the figures of an evaluation."""
    run = RunDirectory.open(classifier_run)
    found = answers(run, corpus, corpus.split("house"), RECIPE)
    Deployment(temperature=1.3, distance=found.distance).save(run)
    return classifier_run


def test_a_rounded_classifier_is_served_with_distances_of_its_own(evaluated_run, corpus, tmp_path):
    subject = ClassifierSubject(run=evaluated_run, corpus=corpus, calibration_pictures=14, tuning_pictures=14)
    began = Deployment.load(RunDirectory.open(evaluated_run))
    run = RunDirectory.begin(tmp_path / "ptq", {}, resume=False)
    choice = Choice(budget_points=100.0, method="max", search=False)
    report = post_training(subject, run, choice, source=evaluated_run, quiet=True)
    assert report.refit is not None
    assert report.refit.likelihood is not None
    assert "-log p(true class)" in table(report)

    served = load_quantized(run.path)
    assert isinstance(served, DeployableClassifier)
    assert served.temperature == report.refit.temperature == began.temperature
    cells = subject._crops(corpus.chosen(corpus.split("house").train))
    with torch.no_grad():
        _, distances = served(torch.from_numpy(cells))
    # The limit is the float run's: half of what was learnt lies as far as it did.
    before = began.distance(features_of(subject.network, cells))
    assert float(distances.median()) == pytest.approx(float(np.median(before)), rel=0.1)
    assert not np.array_equal(Deployment.load(run).distance.projection, began.distance.projection)


class Twice(torch.nn.Module):
    """Gives twice what it is given."""

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return 2 * signal


def test_a_version_whose_features_grew_is_measured_by_the_same_limit(evaluated_run, corpus, tmp_path):
    subject = ClassifierSubject(run=evaluated_run, corpus=corpus, calibration_pictures=14, tuning_pictures=14)
    began = Deployment.load(RunDirectory.open(evaluated_run))
    grown = copy.deepcopy(subject.network)
    grown.trunk.append(Twice())
    kept = RunDirectory.begin(tmp_path / "grown", {}, resume=False)
    refit = subject.refit(grown, kept)
    assert refit is not None

    cells = subject._crops(corpus.chosen(corpus.split("house").train))
    features = features_of(grown, cells)
    plain = began.distance(features_of(subject.network, cells))
    assert float(np.median(began.distance(features))) > 1.5 * float(np.median(plain)), "nothing to mend"
    np.testing.assert_allclose(Deployment.load(kept).distance(features), plain, rtol=0.02)

    assert refit.temperature == began.temperature
    assert refit.likelihood is not None
    labels = np.array([each.label for each in corpus.chosen(corpus.split("house").held_out)])
    held_out = subject._crops(corpus.chosen(corpus.split("house").held_out))
    logits = logits_of_features(grown, features_of(grown, held_out))
    assert refit.likelihood.rounded == pytest.approx(
        negative_log_likelihood(logits, labels, temperature=began.temperature), rel=1e-3
    )
    assert refit.likelihood.wanted_temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-2)


def test_a_run_that_was_not_evaluated_has_nothing_to_fit_anew(classifier_run, corpus, tmp_path):
    subject = ClassifierSubject(run=classifier_run, corpus=corpus)
    kept = RunDirectory.begin(tmp_path / "kept", {}, resume=False)
    assert subject.refit(subject.network, kept) is None
    assert not Deployment.is_in(kept)


def test_a_classifier_without_held_out_cells_is_quantized_without_a_figure(tmp_path, corpus):
    configuration = {"split": "all", "weights": None, "recipe": RECIPE.configuration()}
    run = finished(tmp_path / "all", configuration, CellNetwork(classes=len(CLASSES)))
    subject = ClassifierSubject(run=run, corpus=corpus)
    assert subject.judge(subject.network) is None


def test_calibration_and_tuning_cells_come_from_different_blocks(classifier_run, corpus):
    subject = ClassifierSubject(
        run=classifier_run, corpus=corpus, calibration_pictures=28, tuning_pictures=28
    )
    assert subject.calibration().pictures == 28
    assert subject.calibration().digest == subject.calibration().digest
    first = {batch.numpy().tobytes() for batch in subject.calibration().batches[0]}
    assert not first & {cell.tobytes() for cell in subject._tuning[0]}


def test_a_classifiers_pictures_must_be_there(classifier_run, tmp_path):
    with pytest.raises(DataError):
        open_subject(classifier_run, tmp_path, calibration_pictures=8, tuning_pictures=8)
