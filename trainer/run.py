"""A run directory: everything one training leaves behind.

``configuration.json`` what was asked for; ``metrics.jsonl`` one line an epoch; ``last.pt`` and ``best.pt``
checkpoints; ``curves.png``; ``facts.json`` what a bundle's manifest will quote. Every file but the growing
``metrics.jsonl`` is replaced atomically, so a run killed at any moment is a run that can go on.
"""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from typing_extensions import NotRequired

from trainer.errors import RunError

FactsT = TypeVar("FactsT", bound=BaseModel)
CheckpointName = Literal["last", "best"]
MetricValue = float | int | None
_CONFIGURATION: Final = "configuration.json"
_METRICS: Final = "metrics.jsonl"
_CURVES: Final = "curves.png"
_FACTS: Final = "facts.json"


class Checkpoint(TypedDict):
    """All that is needed to go on after ``epoch`` as if nothing had happened, or to use the network.

    ``serving`` holds the weights to evaluate and ship: the moving average where one is kept.
    """

    epoch: int
    network: dict[str, Any]
    serving: dict[str, Any]
    optimizer: dict[str, Any]
    best_score: float
    precision: NotRequired[dict[str, Any]]
    """The scale of 16-bit gradients, where there is one."""


@dataclass(frozen=True, kw_only=True)
class RunDirectory:
    """One training's directory; made by :meth:`begin`, found again by :meth:`open`."""

    path: Path

    @classmethod
    def begin(cls, path: Path, configuration: Mapping[str, Any], *, resume: bool) -> RunDirectory:
        """Make the directory, or go on in it when ``resume`` and the configuration is the same.

        Raises RunError when the directory holds another run, or the same one and ``resume`` is false.
        """
        run = cls(path=path)
        wanted = json.loads(json.dumps(dict(configuration), default=str))
        if (path / _CONFIGURATION).exists():
            if not resume:
                raise RunError(
                    f"{path} holds a run already.", remedy="Choose another directory, or --resume it."
                )
            found = run.configuration()
            if found != wanted:
                changed = sorted(
                    key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)
                )
                raise RunError(
                    f"{path} was begun with another configuration ({', '.join(changed)} differ).",
                    remedy="Resume with the same settings, or choose another directory.",
                )
            return run
        path.mkdir(parents=True, exist_ok=True)
        run._replace(_CONFIGURATION, (json.dumps(wanted, indent=2, sort_keys=True) + "\n").encode())
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run. Raises RunError when ``path`` is none."""
        if not (path / _CONFIGURATION).is_file():
            raise RunError(
                f"{path} is not a run directory: it has no {_CONFIGURATION}.",
                remedy="Name a directory that `leukoscope-trainer ... fit --out` made.",
            )
        return cls(path=path)

    def configuration(self) -> dict[str, Any]:
        """What the run was begun with. Raises RunError when the file is damaged."""
        try:
            return dict(json.loads((self.path / _CONFIGURATION).read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path / _CONFIGURATION} cannot be read: {error}.", remedy="Train the run anew."
            ) from error

    def metrics(self) -> list[dict[str, MetricValue]]:
        """One mapping for each finished epoch, in order; a line torn by a power cut is left out."""
        file = self.path / _METRICS
        if not file.exists():
            return []
        whole, _, _torn = file.read_text("utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def rewind_metrics(self, *, epochs: int) -> None:
        """Forget the metrics of epochs from ``epochs`` on: they will be trained again."""
        kept = [row for row in self.metrics() if int(row["epoch"] or 0) < epochs]
        self._replace(_METRICS, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def record(self, *, epoch: int, values: Mapping[str, float]) -> None:
        """Append one epoch's metrics; a value that is not finite is recorded as null."""
        clean = {key: value if math.isfinite(value) else None for key, value in values.items()}
        with (self.path / _METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, **clean}) + "\n")

    def save(self, name: CheckpointName, checkpoint: Checkpoint) -> None:
        """Replace a checkpoint atomically."""
        partial = self.path / f".{name}.pt.partial"
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / f"{name}.pt")

    def load(self, name: CheckpointName) -> Checkpoint | None:
        """A checkpoint on the CPU, or None when there is none yet. Raises RunError when it is damaged."""
        file = self.path / f"{name}.pt"
        if not file.exists():
            return None
        try:
            checkpoint: Checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise RunError(
                f"{file} is damaged: {error}.",
                remedy="Remove it; the other checkpoint may serve, else train anew.",
            ) from error
        return checkpoint

    def require(self, name: CheckpointName) -> Checkpoint:
        """A checkpoint that must be there. Raises RunError when it is not."""
        checkpoint = self.load(name)
        if checkpoint is None:
            raise RunError(
                f"{self.path} has no {name} checkpoint.", remedy="Let its training finish an epoch first."
            )
        return checkpoint

    def forget_checkpoints(self) -> None:
        """Remove the checkpoints of a training whose answers are all that is wanted."""
        for name in ("last", "best"):
            (self.path / f"{name}.pt").unlink(missing_ok=True)

    def save_facts(self, facts: BaseModel) -> None:
        """Replace ``facts.json``."""
        self._replace(_FACTS, (facts.model_dump_json(indent=2) + "\n").encode())

    def facts(self, kind: type[FactsT]) -> FactsT:
        """The facts that the run's evaluation left. Raises RunError when they are missing or foreign."""
        file = self.path / _FACTS
        try:
            return kind.model_validate_json(file.read_bytes())
        except OSError as error:
            raise RunError(f"{file} is missing.", remedy="Run `evaluate` on this run first.") from error
        except ValidationError as error:
            raise RunError(
                f"{file} is not a {kind.__name__}: {error}.", remedy="Run `evaluate` on this run again."
            ) from error

    def draw_curves(self, panels: Mapping[str, Sequence[str]]) -> None:
        """Draw ``curves.png``: a panel a title, with one line for each named metric that was recorded."""
        # Imported here: matplotlib costs a second that evaluation and export need not pay.
        from matplotlib.figure import Figure  # noqa: PLC0415

        rows = self.metrics()
        figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (title, names) in zip(axes, panels.items(), strict=True):
            for name in names:
                points = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
                if points:
                    axis.plot(*zip(*points, strict=True), label=name)
            axis.set(title=title, xlabel="epoch")
            axis.grid(visible=True, alpha=0.3)
            if axis.lines:
                axis.legend()
        partial = self.path / f".{_CURVES}.partial"
        figure.savefig(partial, format="png", dpi=110)
        partial.replace(self.path / _CURVES)

    def _replace(self, name: str, content: bytes) -> None:
        partial = self.path / f".{name}.partial"
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path / name)
