"""Finds out what a run is of, refuses what is not finished, and reads quantized runs back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from trainer.classification import measurements
from trainer.classification.corpus import read_corpus
from trainer.classification.deploy import DeployableClassifier, Deployment, load_network
from trainer.detection import report as detection
from trainer.detection.deploy import DeployableDetector
from trainer.detection.deploy import load as load_detector
from trainer.errors import RunError
from trainer.quantization.classifier import ClassifierSubject
from trainer.quantization.detector import DetectorSubject
from trainer.quantization.layers import leave_float
from trainer.quantization.prepare import NetworkT, prepare
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
    calibration_pictures: int | None = None,
    tuning_pictures: int | None = None,
    learns: bool = True,
    drawn: Path | None = None,
) -> ClassifierSubject | DetectorSubject:
    """A finished run with its pictures.

    ``learns`` false spares the drawn cells of a classifier's training, which takes minutes and which only
    a fine-tuning needs; ``drawn`` keeps them between calls. Numbers of pictures are the task's own where
    none are given.

    Raises RunError when the run is of something else, or its training did not come to its end, DataError
    when its pictures are missing.
    """
    directory = RunDirectory.open(run)
    task = task_of(directory)
    asked = {"calibration_pictures": calibration_pictures, "tuning_pictures": tuning_pictures}
    counts = {name: count for name, count in asked.items() if count is not None}
    if task == "detector":
        _demand_finished(directory, epochs=detection.settings_of(directory).epochs)
        return DetectorSubject(run=run, data_dir=data_dir, **counts)
    recipe, _ = measurements.recipe_of(directory)
    _demand_finished(directory, epochs=recipe.epochs)
    corpus = read_corpus(
        data_dir,
        virtual_per_class=recipe.virtual_per_class if learns else 0,
        seed=recipe.seed,
        drawn=drawn if learns else None,
    )
    return ClassifierSubject(run=run, corpus=corpus, **counts)


def load_quantized(folder: Path) -> nn.Module:
    """The station's network of a quantized run as it is served, rounded layers within, in eval mode.

    The float run must still be where it was: the classifier's temperature and distances are kept there.
    Raises RunError where either is missing, or the float run is another one by now.
    """
    source = RunDirectory.open(Path(QuantizationReport.load(folder).run))
    if task_of(source) == "detector":
        finder = restored(
            load_detector(source.path).network, folder, example=_noise(1, 3, _SIDE_PX, _SIDE_PX)
        )
        return DeployableDetector(network=finder).eval()
    namer = restored(load_network(source), folder, example=_noise(1, _SIDE_PX, _SIDE_PX, 3))
    return DeployableClassifier(network=namer, deployment=Deployment.load(source)).eval()


def restored(network: NetworkT, folder: Path, *, example: Tensor) -> NetworkT:
    """A float run's network with the rounded layers that its quantized run in ``folder`` has.

    ``network`` is left as it is; ``example`` is a batch as it takes it. Raises RunError where the float run
    has been trained anew since.
    """
    report = QuantizationReport.load(folder)
    if weights_digest(Path(report.run)) != report.weights_digest:
        raise RunError(
            f"{report.run} has been trained anew since {folder} was made of it.",
            remedy="Quantize it again.",
        )
    prepared = prepare(network, example)
    prepared.load_state_dict(RunDirectory.open(folder).require("last")["serving"])
    leave_float(prepared, report.kept_float)
    return prepared


def _noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).byte()


def _demand_finished(run: RunDirectory, *, epochs: int) -> None:
    done = run.require("last")["epoch"] + 1
    if done < epochs:
        raise RunError(
            f"{run.path} is not finished: {done} of {epochs} epochs are trained.",
            remedy="Let its training come to its end (`fit --resume`).",
        )
