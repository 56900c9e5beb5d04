from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from trainer.classification.deploy import DeployableClassifier, Deployment, load
from trainer.classification.network import FEATURES, CellNetwork
from trainer.data.cells import CLASSES
from trainer.errors import RunError
from trainer.evaluation.distance import DistanceModel
from trainer.run import Checkpoint, RunDirectory


@pytest.fixture(scope="module")
def classifier() -> DeployableClassifier:
    torch.manual_seed(0)
    network = CellNetwork(classes=len(CLASSES)).eval()
    rng = np.random.default_rng(0)
    distance = DistanceModel(
        projection=rng.normal(size=(FEATURES, 12)).astype(np.float32),
        centers=rng.normal(size=(5, 12)).astype(np.float32),
    )
    return DeployableClassifier(
        network=network, deployment=Deployment(temperature=1.7, distance=distance)
    ).eval()


def cells(count: int, size_px: int = 64) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(count).integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8)
    )


@torch.no_grad()
def test_answers_probabilities_and_a_distance(classifier: DeployableClassifier):
    probabilities, distance = classifier(cells(3))
    assert probabilities.shape == (3, 7)
    assert distance.shape == (3,)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))
    assert (distance >= 0).all()


@torch.no_grad()
def test_temperature_and_distance_are_those_of_the_deployment(classifier: DeployableClassifier):
    asked = cells(4)
    features = classifier.network.features(asked.float())
    probabilities, distance = classifier(asked)
    expected = torch.softmax(classifier.network.head(features) / 1.7, dim=1)
    torch.testing.assert_close(probabilities, expected)
    model = DistanceModel(projection=classifier.projection.numpy(), centers=classifier.centers.numpy())
    np.testing.assert_allclose(distance.numpy(), model(features.numpy()), rtol=1e-4)


@torch.no_grad()
def test_onnx_answers_as_torch_does_for_any_batch(classifier: DeployableClassifier, tmp_path: Path):
    file = tmp_path / "classifier.onnx"
    batch = torch.export.Dim("n", min=1, max=256)
    program = torch.onnx.export(
        classifier,
        (cells(2),),
        dynamo=True,
        input_names=["cells"],
        output_names=["probabilities", "distance"],
        dynamic_shapes={"cells": {0: batch}},
        verbose=False,
    )
    assert program is not None
    program.save(file)
    assert file.stat().st_size < 6.5e6
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        probabilities, distance = session.run(None, {"cells": cells(count).numpy()})
        expected = classifier(cells(count))
        np.testing.assert_allclose(probabilities, expected[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(distance, expected[1].numpy(), rtol=1e-4)


def run_with_network(path: Path) -> RunDirectory:
    run = RunDirectory.begin(path, {}, resume=False)
    state = CellNetwork(classes=len(CLASSES), domains=4).state_dict()
    run.save("last", Checkpoint(epoch=0, network=state, serving=state, optimizer={}, best_score=0.0))
    return run


def test_a_run_is_served_without_its_laboratory_head(classifier: DeployableClassifier, tmp_path: Path):
    run = run_with_network(tmp_path / "run")
    kept = DistanceModel(projection=classifier.projection.numpy(), centers=classifier.centers.numpy())
    Deployment(temperature=2.5, distance=kept).save(run)
    served = load(tmp_path / "run")
    assert served.temperature == 2.5
    assert not any("domain" in name for name, _ in served.named_parameters())
    torch.testing.assert_close(served.centers, classifier.centers)


def test_a_run_that_was_not_evaluated_says_so(tmp_path: Path):
    run_with_network(tmp_path / "run")
    with pytest.raises(RunError, match="classifier evaluate"):
        load(tmp_path / "run")
