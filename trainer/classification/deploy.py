"""The classifier as it is served: camera bytes in, honest probabilities and a distance out."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from trainer.classification.network import CellNetwork
from trainer.data.cells import CLASSES
from trainer.errors import RunError
from trainer.evaluation.distance import DistanceModel
from trainer.run import RunDirectory

_FILE: Final = "deployment.pt"


@dataclass(frozen=True, kw_only=True, eq=False)
class Deployment:
    """What evaluation adds to a network before it is served."""

    temperature: float
    distance: DistanceModel

    @staticmethod
    def is_in(run: RunDirectory) -> bool:
        """Whether evaluation has left one there, whole or not."""
        return (run.path / _FILE).is_file()

    def save(self, run: RunDirectory) -> None:
        """Replace the run's ``deployment.pt``."""
        partial = run.path / f".{_FILE}.partial"
        torch.save(
            {
                "temperature": self.temperature,
                "projection": torch.from_numpy(self.distance.projection),
                "centers": torch.from_numpy(self.distance.centers),
            },
            partial,
        )
        partial.replace(run.path / _FILE)

    @classmethod
    def load(cls, run: RunDirectory) -> Deployment:
        """The run's deployment. Raises RunError where evaluation has not left one."""
        file = run.path / _FILE
        try:
            kept = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise RunError(
                f"{file} is missing or damaged: {error}.",
                remedy="Run `leukoscope-trainer classifier evaluate` on this run.",
            ) from error
        return cls(
            temperature=float(kept["temperature"]),
            distance=DistanceModel(projection=kept["projection"].numpy(), centers=kept["centers"].numpy()),
        )


class DeployableClassifier(nn.Module):
    """Cells to probabilities and distance; everything between is in the graph."""

    projection: Tensor
    centers: Tensor

    def __init__(self, *, network: CellNetwork, deployment: Deployment) -> None:
        super().__init__()
        self.network = network
        self.temperature = deployment.temperature
        self.register_buffer("projection", torch.from_numpy(deployment.distance.projection))
        self.register_buffer("centers", torch.from_numpy(deployment.distance.centers))

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities float32 (n, classes) and distance float32 (n) of cells uint8 (n, S, S, 3) RGB."""
        features = self.network.features(cells.float())
        probabilities = torch.softmax(self.network.head(features) / self.temperature, dim=1)
        away = (features @ self.projection).unsqueeze(1) - self.centers.unsqueeze(0)
        distance = away.square().sum(dim=2).sqrt().amin(dim=1)
        return probabilities, distance


def load_network(run: RunDirectory) -> CellNetwork:
    """The network of a run with its serving weights, in eval mode, without a laboratory head."""
    network = CellNetwork(classes=len(CLASSES))
    weights = run.require("last")["serving"]
    network.load_state_dict(
        {key: value for key, value in weights.items() if not key.startswith("domain_head.")}
    )
    return network.eval()


def load(run_dir: str | os.PathLike[str]) -> DeployableClassifier:
    """The classifier of an evaluated run, in eval mode. Raises RunError when the run is not ready."""
    run = RunDirectory.open(Path(run_dir))
    return DeployableClassifier(network=load_network(run), deployment=Deployment.load(run)).eval()
