"""Finds out what a run is of, refuses what is not finished, and reads quantized runs back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import nn

from trainer.classification import measurements
from trainer.classification.corpus import read_corpus
from trainer.classification.deploy import DeployableClassifier, Deployment, load_network
from trainer.classification.network import CellNetwork
from trainer.detection import report as detection
from trainer.detection.deploy import DeployableDetector
from trainer.detection.deploy import load as load_detector
from trainer.detection.network import CentreNetwork
from trainer.errors import RunError
from trainer.quantization.classifier import ClassifierSubject
from trainer.quantization.detector import DetectorSubject
from trainer.quantization.layers import leave_float
from trainer.quantization.prepare import prepare
from trainer.quantization.quantize import weights_digest
from trainer.quantization.report import QuantizationReport
from trainer.run import RunDirectory

_FOREIGN: Final = "Name a run of `detector fit` or `classifier fit`."
_SIDE_PX: Final = 64
"""Any size does to see which BatchNorm follows which layer."""


def task_of(run: RunDirectory) -> str:
    """``detector`` or ``classifier``. Raises RunError for a run of neither."""
    found = run.configuration()
    if "lists" in found:
        return "detector"
    if {"split", "recipe"} <= found.keys():
        return "classifier"
    raise RunError(f"{run.path} is no run of a detector or a classifier.", remedy=_FOREIGN)


def open_subject(
    run: Path,
    data_dir: Path,
    *,
    calibration_pictures: int,
    tuning_pictures: int,
    drawn: Path | None = None,
) -> ClassifierSubject | DetectorSubject:
    """A finished run with its pictures; ``drawn`` keeps the drawn cells of a classifier's training.

    Raises RunError when the run is of something else, or its training did not come to its end, DataError
    when its pictures are missing.
    """
    directory = RunDirectory.open(run)
    task = task_of(directory)
    if task == "detector":
        _demand_finished(directory, epochs=detection.settings_of(directory).epochs)
        return DetectorSubject(
            run=run,
            data_dir=data_dir,
            calibration_pictures=calibration_pictures,
            tuning_pictures=tuning_pictures,
        )
    recipe, _ = measurements.recipe_of(directory)
    _demand_finished(directory, epochs=recipe.epochs)
    corpus = read_corpus(data_dir, virtual_per_class=recipe.virtual_per_class, seed=recipe.seed, drawn=drawn)
    return ClassifierSubject(
        run=run,
        corpus=corpus,
        calibration_pictures=calibration_pictures,
        tuning_pictures=tuning_pictures,
    )


def load_quantized(folder: Path) -> nn.Module:
    """The network of a quantized run as it is served, its rounded layers within, in eval mode.

    The float run must still be where it was: the classifier's temperature and distances are kept there.
    Raises RunError where either is missing, or the float run is another one by now.
    """
    report = QuantizationReport.load(folder)
    source = RunDirectory.open(Path(report.run))
    if weights_digest(source.path) != report.weights_digest:
        raise RunError(
            f"{source.path} has been trained anew since {folder} was made of it.",
            remedy="Quantize it again.",
        )
    state = RunDirectory.open(folder).require("last")["serving"]
    if report.task == "detector":
        finder = _restored(load_detector(source.path).network, (1, 3, _SIDE_PX, _SIDE_PX), state, report)
        if not isinstance(finder, CentreNetwork):
            raise TypeError("a detector's copy is a CentreNetwork")
        return DeployableDetector(network=finder).eval()
    namer = _restored(load_network(source), (1, _SIDE_PX, _SIDE_PX, 3), state, report)
    if not isinstance(namer, CellNetwork):
        raise TypeError("a classifier's copy is a CellNetwork")
    return DeployableClassifier(network=namer, deployment=Deployment.load(source)).eval()


def _restored(
    network: nn.Module,
    shape: tuple[int, ...],
    state: dict[str, torch.Tensor],
    report: QuantizationReport,
) -> nn.Module:
    noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).byte()
    prepared = prepare(network, noise)
    prepared.load_state_dict(state)
    leave_float(prepared, report.kept_float)
    return prepared


def _demand_finished(run: RunDirectory, *, epochs: int) -> None:
    done = run.require("last")["epoch"] + 1
    if done < epochs:
        raise RunError(
            f"{run.path} is not finished: {done} of {epochs} epochs are trained.",
            remedy="Let its training come to its end (`fit --resume`).",
        )
