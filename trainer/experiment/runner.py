"""One fold of one experiment (or of several that are one training): train, answer, keep what was answered."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.special import softmax

from trainer.classical.answers import fit_and_answer
from trainer.classical.features import pixel_features
from trainer.evaluation.baselines import colour_statistics, nearest_neighbour
from trainer.evaluation.distance import relative_distances
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.shifts import SHIFTS
from trainer.experiment.protocol import Part, Sides, sides
from trainer.experiment.request import Request
from trainer.experiment.subject import Subject, read_subject
from trainer.fabric import FabricSettings, begin_run
from trainer.networks.build import build_network, chosen_weights
from trainer.networks.picture import PictureNetwork
from trainer.pictures.store import load_pictures
from trainer.recipes.recipe import ClassicalRecipe, Recipe
from trainer.report.gallery import shown_mistakes
from trainer.report.mistakes import worst_mistakes
from trainer.report.report import Mistake
from trainer.report.saliency import saliency
from trainer.run import RunDirectory
from trainer.statistics import balanced_accuracy
from trainer.sweep.cell import Cell, Finding
from trainer.sweep.run import CELLS
from trainer.training import answer, train

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]

MISTAKES: Final = TypeAdapter(tuple[Mistake, ...])
_PICTURES: Final = "pictures"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The files that an experiment leaves in its run directory."""

    experiment: str

    @property
    def predictions(self) -> str:
        """`Predictions` of the held-out pictures."""
        return f"{self.experiment}.predictions.npz"

    @property
    def shifted(self) -> str:
        """Logits (shifts, n, classes) under each of `SHIFTS`."""
        return f"{self.experiment}.shifted.npy"

    @property
    def mistakes(self) -> str:
        """The worst mistakes, with pictures."""
        return f"{self.experiment}.mistakes.json"


def run_fold(cell: Cell, directory: Path, *, fabric: FabricSettings | None = None) -> Mapping[str, Finding]:
    """The work of a sweep's cell. Goes on where ``directory`` shows that an earlier attempt ended.

    Every experiment of the cell's rows finds figures (shares, not percent) and leaves the files of `Kept`.
    """
    request = Request.model_validate(cell.arguments["request"])
    recipe = request.resolved(cell.rows[-1].experiment)
    subject = read_subject(request, recipe)
    pixels = load_pictures(
        subject.samples, recipe.network.size_px, cache=_above(directory, CELLS) / _PICTURES
    )
    fold = _Fold(
        subject=subject,
        sides=sides(pixels, subject, request=request, recipe=recipe, fold=cell.fold),
        number=cell.fold,
        request=request,
        recipe=recipe,
        directory=directory,
    )
    classical = recipe.experiments[0].classical
    if classical is not None:
        return {cell.rows[-1].experiment: fold.fit_classical(classical)}
    return fold.fit_network(cell, fabric or request.fabric())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fold:
    subject: Subject
    sides: Sides
    number: int
    request: Request
    recipe: Recipe
    directory: Path

    def fit_network(self, cell: Cell, fabric: FabricSettings) -> dict[str, Finding]:
        """Train to each checkpoint in turn, and answer there."""
        recipe, held, learned = self.recipe, self.sides.held_out, self.sides.train
        torch.manual_seed(recipe.training.seed)
        network = build_network(recipe.network, classes=len(self.subject.classes), weights=self._weights())
        run = begin_run(self.directory, {"cell": json.loads(cell.document())}, resume=True, fabric=fabric)
        findings: dict[str, Finding] = {}
        for row in cell.rows:
            finding = self._known(row.experiment)
            if finding is None:
                training = recipe.training.model_copy(update={"epochs": row.epochs})
                records = train(
                    network,
                    recipe=recipe.model_copy(update={"training": training}),
                    pixels=learned.pixels,
                    labels=learned.labels,
                    held_out_pixels=held.pixels,
                    held_out_labels=held.labels,
                    run=run,
                    fabric=fabric,
                    quiet=True,
                )
                finding = self._answered(row.experiment, network, records[-1])
            findings[row.experiment] = finding
        if not self.request.keep_networks:
            # An AlexNet with its optimiser's state is half a gigabyte, and a grid has hundreds of folds.
            run.forget_checkpoints()
        return findings

    def fit_classical(self, recipe: ClassicalRecipe) -> Finding:
        """Fit a classical classifier and answer."""
        experiment = self.recipe.experiments[0].name
        run = RunDirectory.begin(self.directory, {"classical": recipe.model_dump()}, resume=True)
        began = time.perf_counter()
        learned, asked = self._features(recipe, self.sides.train), self._features(recipe, self.sides.held_out)
        honest = self.request.protocol == "honest"
        answers = fit_and_answer(
            recipe,
            features=learned,
            labels=self.sides.train.labels,
            groups=self.sides.train.groups if honest else np.arange(len(learned)),
            asked=asked,
            classes=len(self.subject.classes),
            seed=self.recipe.training.seed,
        )
        run.rewind_metrics(epochs=0)
        run.record(epoch=0, values={"seconds": time.perf_counter() - began})
        predictions = self._predictions(answers.logits, np.full(len(asked), np.nan, dtype=np.float32))
        predictions.save(self.directory / Kept(experiment=experiment).predictions)
        self._keep_mistakes(experiment, predictions, None)
        return self._finding(experiment, predictions, {})

    def _features(self, recipe: ClassicalRecipe, part: Part) -> Scores:
        if recipe.features == "pixels":
            return pixel_features(part.pixels, size_px=recipe.size_px)
        network = build_network(
            self.recipe.network, classes=len(self.subject.classes), weights=self._weights()
        )
        return answer(network, part.pixels).features

    def _weights(self) -> str | Path | None:
        return chosen_weights(
            self.recipe.network, weights=self.request.weights, from_scratch=self.request.from_scratch
        )

    def _answered(self, experiment: str, network: PictureNetwork, record: Mapping[str, Any]) -> Finding:
        held = self.sides.held_out.pixels
        said = answer(network, held)
        learned = answer(network, self.sides.train.pixels).features
        try:
            distances = relative_distances(learned, self.sides.train.labels, said.features)
        except ValueError:  # too few pictures of every class to measure a spread from
            distances = np.full(len(held), np.nan, dtype=np.float32)
        predictions = self._predictions(said.logits, distances)
        kept = Kept(experiment=experiment)
        predictions.save(self.directory / kept.predictions)
        if self.request.protocol == "honest":
            shifted = np.stack([answer(network, shift(held)).logits for shift in SHIFTS])
            np.save(self.directory / kept.shifted, shifted)
        self._keep_mistakes(experiment, predictions, network)
        figures = {
            "training_accuracy": record.get("train_accuracy"),
            "training_loss": record.get("train_loss"),
            "loss": record.get("held_out_loss"),
        }
        finding = self._finding(experiment, predictions, figures)
        note = {"figures": dict(finding.figures), "files": list(finding.files)}
        (self.directory / f"{experiment}.finding.json").write_text(json.dumps(note), "utf-8")
        return finding

    def _known(self, experiment: str) -> Finding | None:
        """What an earlier attempt found at this checkpoint, if it came so far."""
        file = self.directory / f"{experiment}.finding.json"
        try:
            note = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return Finding(figures=note["figures"], files=tuple(note["files"]))

    def _predictions(self, logits: Scores, distances: Scores) -> Predictions:
        train_part, held = self.sides.train, self.sides.held_out
        trained_on = np.unique(train_part.groups)
        return Predictions(
            classes=self.subject.classes,
            names=held.names,
            grouped_by=self.subject.grouped_by,
            labels=held.labels,
            logits=logits,
            groups=held.groups,
            folds=np.full(len(held.names), self.number, dtype=np.int64),
            distances=distances,
            colour_named=nearest_neighbour(
                colour_statistics(train_part.pixels), train_part.labels, colour_statistics(held.pixels)
            ),
            train_groups=trained_on,
            train_folds=np.full(len(trained_on), self.number, dtype=np.int64),
        )

    def _keep_mistakes(
        self, experiment: str, predictions: Predictions, network: PictureNetwork | None
    ) -> None:
        chosen = worst_mistakes(predictions.labels, softmax(predictions.logits.astype(np.float64), axis=1))
        rows = [each.index for each in chosen]
        pictures = np.array(self.sides.held_out.pixels[rows]) if rows else self.sides.held_out.pixels[:0]
        maps = None
        if network is not None and rows:
            maps = saliency(network.cpu(), pictures, [each.named for each in chosen])
        shown = shown_mistakes(
            chosen, classes=predictions.classes, names=predictions.names, pictures=pictures, maps=maps
        )
        (self.directory / Kept(experiment=experiment).mistakes).write_bytes(MISTAKES.dump_json(shown))

    def _finding(self, experiment: str, predictions: Predictions, figures: Mapping[str, Any]) -> Finding:
        named = predictions.logits.argmax(axis=1)
        kept = Kept(experiment=experiment)
        files = [kept.predictions, kept.mistakes]
        if (self.directory / kept.shifted).exists():
            files.append(kept.shifted)
        return Finding(
            figures={
                "accuracy": float((named == predictions.labels).mean()),
                "balanced_accuracy": balanced_accuracy(predictions.labels, named),
                **figures,
            },
            files=tuple(files),
        )


def _above(directory: Path, name: str) -> Path:
    """The folder that holds the folder ``name`` above ``directory``; itself where there is none."""
    for each in directory.parents:
        if each.name == name:
            return each.parent
    return directory
