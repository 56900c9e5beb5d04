"""A run directory is read for what it is, and an export that does not answer alike leaves no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edge.frame import Pixels
from export.errors import AssemblyError, ParityError
from export.parts import signature_of
from export.pictures import draw_cells, draw_frames, read_folder
from export.testing import ColourClassifier, PurpleDetector, classifier_facts, detector_facts
from export.trained import Trained, export_trained, parity, read_trained
from trainer.classification.deploy import DeployableClassifier, Deployment
from trainer.classification.network import FEATURES, CellNetwork
from trainer.data.cells import CLASSES
from trainer.detection.deploy import DeployableDetector
from trainer.detection.network import CentreNetwork
from trainer.errors import RunError
from trainer.evaluation.distance import DistanceModel
from trainer.run import Checkpoint, RunDirectory


def named(pictures: tuple[Pixels, ...]) -> dict[str, Pixels]:
    return {f"picture {place}": each for place, each in enumerate(pictures)}


def checkpoint(network: torch.nn.Module) -> Checkpoint:
    weights = network.state_dict()
    return Checkpoint(epoch=0, network=weights, serving=weights, optimizer={}, best_score=0.0)


def test_a_detectors_run_is_read(tmp_path: Path) -> None:
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    run.save("last", checkpoint(CentreNetwork(weights=None)))
    run.save_facts(detector_facts())
    trained = read_trained(tmp_path / "run")
    assert (trained.role, type(trained.network)) == ("detector", DeployableDetector)
    assert trained.facts == detector_facts()


def test_a_classifiers_run_is_read(tmp_path: Path) -> None:
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    run.save("last", checkpoint(CellNetwork(classes=len(CLASSES))))
    distance = DistanceModel(
        projection=np.eye(FEATURES, 4, dtype=np.float32), centers=np.zeros((2, 4), np.float32)
    )
    Deployment(temperature=1.5, distance=distance).save(run)
    run.save_facts(classifier_facts())
    trained = read_trained(tmp_path / "run")
    assert (trained.role, type(trained.network)) == ("classifier", DeployableClassifier)
    assert not trained.network.training


def test_a_run_without_facts_says_what_to_do(tmp_path: Path) -> None:
    RunDirectory.begin(tmp_path / "run", {}, resume=False)
    with pytest.raises(RunError, match=r"facts\.json is missing\. Run `evaluate`"):
        read_trained(tmp_path / "run")


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_an_export_proves_itself(role: str, tmp_path: Path) -> None:
    if role == "detector":
        facts, network = detector_facts(), PurpleDetector()
        pictures = named(draw_frames(facts=facts, count=2))
    else:
        facts, network = classifier_facts(), ColourClassifier()
        pictures = named(draw_cells(facts=facts, count=3))
    trained = Trained(network=network, facts=facts)
    agreement = export_trained(trained, path=tmp_path / "net.onnx", pictures=pictures)
    assert agreement.differences
    assert agreement.largest_difference < 1e-4
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
    assert parity(trained, path=tmp_path / "net.onnx", pictures=pictures) == agreement


def test_an_export_that_answers_otherwise_leaves_no_file(tmp_path: Path) -> None:
    class Forgetful(ColourClassifier):
        """Answers otherwise once it is no longer traced, as an operator that was translated wrongly."""

        def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
            probabilities, distance = super().forward(cells)
            return probabilities, distance if torch.compiler.is_exporting() else distance + 0.1

    facts = classifier_facts()
    with pytest.raises(ParityError, match=r"The exported classifier differs from its network by 0\.17"):
        export_trained(
            Trained(network=Forgetful(), facts=facts),
            path=tmp_path / "net.onnx",
            pictures=named(draw_cells(facts=facts, count=2)),
        )
    assert not list(tmp_path.iterdir())


def test_the_signature_follows_the_facts() -> None:
    assert signature_of(detector_facts()).picture_shape == (320, 416, 3)
    assert signature_of(classifier_facts()).outputs["probabilities"] == ("float32", (3,))


@pytest.mark.data
def test_real_frames_are_read_evenly_and_to_size(data_dir: Path) -> None:
    size = detector_facts().input
    pictures = read_folder(data_dir / "bccd", size=size, limit=7)
    assert len(pictures) == 7
    assert {each.shape for each in pictures.values()} == {(320, 416, 3)}


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match="holds no image"):
        read_folder(tmp_path, size=detector_facts().input, limit=3)


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(AssemblyError, match=r"a\.png cannot be decoded"):
        read_folder(tmp_path, size=detector_facts().input, limit=3)
