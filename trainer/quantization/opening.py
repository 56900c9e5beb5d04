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
from trainer.experiment.kept_network import KeptNetwork, keeps_networks, kept_network
from trainer.experiment.protocol import Part
from trainer.quantization.classifier import ClassifierSubject
from trainer.quantization.detector import DetectorSubject
from trainer.quantization.layers import leave_float
from trainer.quantization.pictures import LabelledPictures, PictureSubject
from trainer.quantization.prepare import NetworkT, prepare
from trainer.quantization.quantize import weights_digest
from trainer.quantization.report import QuantizationReport
from trainer.run import RunDirectory

_FOREIGN: Final = "Name a run of `detector fit` or `classifier fit`, or a folder that `train RECIPE` made."
_SIDE_PX: Final = 64
"""Any size does to see which BatchNorm follows which layer."""


def source_run(place: Path, *, experiment: str | None = None, fold: int | None = None) -> Path:
    """The run directory that ``place`` means: itself, or the kept network's in a folder of a recipe.

    Raises RunError where such a folder keeps no network, or several and none is chosen.
    """
    if keeps_networks(place):
        return kept_network(place, experiment=experiment, fold=fold).run.path
    if experiment is not None or fold is not None:
        raise RunError(
            f"{place} is no folder of a recipe's training: it has no experiments or folds.",
            remedy="Leave --experiment and --fold away.",
        )
    return place


def task_of(run: RunDirectory) -> str:
    """``detector``, ``classifier``, or ``pictures`` for a recipe's. Raises RunError for a run of neither."""
    found = run.configuration()
    if "cell" in found and keeps_networks(run.path):
        return "pictures"
    if "lists" in found:
        return "detector"
    if {"split", "recipe"} <= found.keys():
        return "classifier"
    raise RunError(f"{run.path} is no run of a detector, a classifier or a recipe.", remedy=_FOREIGN)


def open_subject(
    run: Path,
    data_dir: Path,
    *,
    calibration_pictures: int | None = None,
    tuning_pictures: int | None = None,
    drawn: Path | None = None,
) -> ClassifierSubject | DetectorSubject | PictureSubject:
    """A finished run with its pictures; ``data_dir`` is for the station's own, a recipe's run knows its own.

    ``drawn`` keeps the drawn cells of a classifier's training between calls: to draw them takes minutes.
    Numbers of pictures are the task's own where none are given.

    Raises RunError when the run is of something else, its training did not come to its end, or what it
    held out is not honestly so; DataError when its pictures are missing or have changed.
    """
    directory = RunDirectory.open(run)
    task = task_of(directory)
    asked = {"calibration_pictures": calibration_pictures, "tuning_pictures": tuning_pictures}
    counts = {name: count for name, count in asked.items() if count is not None}
    if task == "pictures":
        return _recipes_subject(kept_network(run), counts)
    if task == "detector":
        _demand_finished(directory, epochs=detection.settings_of(directory).epochs)
        return DetectorSubject(run=run, data_dir=data_dir, **counts)
    recipe, _ = measurements.recipe_of(directory)
    _demand_finished(directory, epochs=recipe.epochs)
    corpus = read_corpus(
        data_dir,
        virtual_per_class=recipe.virtual_per_class,
        seed=recipe.seed,
        drawn=drawn,
    )
    return ClassifierSubject(run=run, corpus=corpus, **counts)


def _recipes_subject(kept: KeptNetwork, counts: dict[str, int]) -> PictureSubject:
    if kept.request.protocol != "honest":
        raise RunError(
            f"{kept.folder} follows the {kept.request.protocol} protocol: pictures of one group stand on "
            "both sides, and no cost measured on such a side would be true.",
            remedy="Train it honestly: `leukoscope-trainer train RECIPE --data DIR --out OUT`.",
        )
    network = kept.network()
    subject, sides = kept.pictures()
    return PictureSubject(
        network=network,
        recipe=kept.recipe,
        classes=kept.classes,
        train=_labelled(sides.train),
        held_out=_labelled(sides.held_out),
        grouped_by=subject.grouped_by,
        measured_on=f"held-out pictures of {subject.collection}, {kept.experiment}, fold {kept.fold}",
        **counts,
    )


def _labelled(part: Part) -> LabelledPictures:
    return LabelledPictures(pixels=part.pixels, labels=part.labels, groups=part.groups)


def load_quantized(folder: Path) -> nn.Module:
    """The network of a quantized run as it is served, rounded layers within, in eval mode.

    A recipe's is its `PictureNetwork`; the station's two come with all that follows the network. The float
    run must still be where it was. Raises RunError where it, or what is served with it, is missing, or the
    float run is another one by now.
    """
    source = RunDirectory.open(Path(QuantizationReport.load(folder).run))
    task = task_of(source)
    if task == "pictures":
        kept = kept_network(source.path)
        size_px = kept.recipe.network.size_px
        return restored(kept.network(), folder, example=_noise(2, size_px, size_px, 3)).eval()
    if task == "detector":
        finder = restored(
            load_detector(source.path).network, folder, example=_noise(1, 3, _SIDE_PX, _SIDE_PX)
        )
        return DeployableDetector(network=finder).eval()
    namer = restored(load_network(source), folder, example=_noise(1, _SIDE_PX, _SIDE_PX, 3))
    # Nothing was fitted anew of a float run that had nothing: it may have been evaluated since.
    fitted = source if QuantizationReport.load(folder).refit is None else RunDirectory.open(folder)
    return DeployableClassifier(network=namer, deployment=Deployment.load(fitted)).eval()


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
