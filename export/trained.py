"""Finished runs of the trainer on their way out: the network, its facts, and the ONNX file made from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict

from edge.engine.agreement import Agreement
from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.engine.protocol import Engine
from edge.frame import Pixels
from export.onnx import export_onnx
from export.parity import TorchEngine, classifier_parity, demand_parity, detector_parity, picture_parity
from export.parts import Facts, classifier_part, detector_part, signature_of
from export.recipe_run import PictureFacts, PictureGraph
from export.remembered import RememberedEngine
from trainer.classification.deploy import load as load_classifier
from trainer.detection.deploy import load as load_detector
from trainer.experiment.kept_network import keeps_networks, kept_network
from trainer.facts import ClassifierFacts, DetectorFacts
from trainer.run import RunDirectory


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A network and what its evaluation found out."""

    network: torch.nn.Module
    facts: Facts

    @property
    def role(self) -> str:
        """``detector``, ``classifier``, or ``pictures`` for a recipe's network."""
        return self.facts.task


class _Task(BaseModel):
    """As much of a run's facts as is needed to know whose they are."""

    model_config = ConfigDict(extra="ignore")

    task: Literal["detector", "classifier"]


def read_trained(run: Path, *, experiment: str | None = None, fold: int | None = None) -> Trained:
    """The network and facts of a run of any kind. Raises RunError when ``run`` is not finished.

    ``experiment`` and ``fold`` (from 0) choose in a folder where a recipe's training kept several networks.
    """
    if keeps_networks(run):
        kept = kept_network(run, experiment=experiment, fold=fold)
        network = kept.network()
        return Trained(network=PictureGraph(network), facts=PictureFacts.of(network, classes=kept.classes))
    directory = RunDirectory.open(run)
    if directory.facts(_Task).task == "detector":
        return Trained(network=load_detector(run), facts=directory.facts(DetectorFacts))
    return Trained(network=load_classifier(run), facts=directory.facts(ClassifierFacts))


def export_trained(trained: Trained, *, path: Path, pictures: Mapping[str, Pixels]) -> Agreement:
    """Write the network to ``path`` and prove on ``pictures`` that ONNX Runtime answers as torch does.

    Raises GraphError, EngineError or ParityError, and then leaves no file.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        export_onnx(network=trained.network, signature=signature_of(trained.facts), path=partial)
        agreement = parity(trained, path=partial, pictures=pictures)
        demand_parity(agreement, role=trained.role)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return agreement


def parity(trained: Trained, *, path: Path, pictures: Mapping[str, Pixels], threads: int = 1) -> Agreement:
    """How far the ONNX file at ``path`` lies from the network on ``pictures``."""
    signature = signature_of(trained.facts)
    reference = TorchEngine(network=trained.network, signature=signature)
    with OnnxRuntimeEngine(path=path, signature=signature, threads=threads) as engine:
        return compare(trained.facts, reference=reference, engine=engine, pictures=pictures)


def parities(
    trained: Trained, *, files: Sequence[Path], pictures: Mapping[str, Pixels], threads: int = 1
) -> dict[str, Agreement]:
    """How far each of several ONNX files lies from the network on the same pictures, by the file's name."""
    signature = signature_of(trained.facts)
    reference = RememberedEngine(TorchEngine(network=trained.network, signature=signature))
    found = {}
    for file in files:
        with OnnxRuntimeEngine(path=file, signature=signature, threads=threads) as engine:
            found[file.name] = compare(trained.facts, reference=reference, engine=engine, pictures=pictures)
    return found


def compare(facts: Facts, *, reference: Engine, engine: Engine, pictures: Mapping[str, Pixels]) -> Agreement:
    """How far ``engine`` lies from ``reference``, whichever kind of network both run."""
    if isinstance(facts, PictureFacts):
        return picture_parity(reference=reference, engine=engine, facts=facts, pictures=pictures)
    if isinstance(facts, DetectorFacts):
        return detector_parity(
            reference=reference, engine=engine, detector=detector_part(facts), pictures=pictures
        )
    return classifier_parity(
        reference=reference, engine=engine, classifier=classifier_part(facts), pictures=pictures
    )
