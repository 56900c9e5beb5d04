"""One fold of one experiment (or of several that are one training): train, answer, keep what was answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from joblib import Memory
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import TypeAdapter
from scipy.special import softmax

from trainer.classical.answers import fit_and_answer
from trainer.classical.features import pixel_features
from trainer.errors import RunError
from trainer.evaluation.baselines import colour_statistics, nearest_neighbour
from trainer.evaluation.distance import relative_distances
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.shifts import SHIFTS
from trainer.experiment.noted import note, noted, replaced
from trainer.experiment.protocol import Sides, sides
from trainer.experiment.request import Request
from trainer.experiment.subject import Subject, read_subject
from trainer.fabric import FabricSettings, begin_run
from trainer.facts import fingerprint
from trainer.networks.build import build_network, chosen_weights
from trainer.networks.picture import PictureNetwork
from trainer.pictures.store import load_pictures
from trainer.recipes.recipe import ClassicalRecipe, NetworkRecipe, Recipe
from trainer.report.gallery import shown_mistakes
from trainer.report.mistakes import worst_mistakes
from trainer.report.report import Mistake
from trainer.report.saliency import saliency
from trainer.run import RunDirectory
from trainer.statistics import balanced_accuracy
from trainer.sweep.cell import Cell, Finding, Row
from trainer.sweep.plan import point_of
from trainer.sweep.run import CELLS
from trainer.training import answer, train

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]

MISTAKES: Final = TypeAdapter(tuple[Mistake, ...])
PICTURES: Final = "pictures"
"""The folder of an experiment's decoded pictures, and of features that its rows share."""


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

    Every experiment of the cell's rows finds figures (shares, not percent) and leaves the files of `Kept`. Of
    several processes the first one reads and writes ``directory``, and all of them answer the same. Raises
    RunError where the recipe, or what the collection holds, is no longer what the cell was begun with.
    """
    request = Request.model_validate(cell.arguments["request"])
    fabric = fabric or request.fabric()
    processes = fabric.launch()
    known = _known(cell, directory, processes)
    if len(known) == len(cell.rows):
        if processes.is_global_zero and not request.keep_networks:
            RunDirectory(path=directory).forget_checkpoints()
        return known
    recipe = request.resolved(cell.rows[-1].experiment)
    _demand_settings(cell, recipe)
    subject = read_subject(request, recipe)
    pixels = load_pictures(subject.samples, recipe.network.size_px, cache=_above(directory, CELLS) / PICTURES)
    fold = _Fold(
        subject=subject,
        sides=sides(pixels, subject, request=request, recipe=recipe, fold=cell.fold),
        number=cell.fold,
        request=request,
        recipe=recipe,
        directory=directory,
        processes=processes,
    )
    run = begin_run(
        directory,
        {"cell": json.loads(cell.document()), "pictures": subject.listing()},
        resume=True,
        fabric=fabric,
    )
    classical = recipe.experiments[0].classical
    if classical is not None:
        return {cell.rows[-1].experiment: fold.fit_classical(classical, run)}
    return fold.fit_network(cell.rows, known, run, fabric)


def _known(cell: Cell, directory: Path, processes: Fabric) -> dict[str, Finding]:
    """What earlier attempts found, as the first process reads it."""
    noted_there = {each.experiment: noted(directory, each.experiment) for each in cell.rows}
    known: dict[str, Finding] = processes.broadcast(
        {name: finding for name, finding in noted_there.items() if finding is not None}
    )
    return known


def _demand_settings(cell: Cell, recipe: Recipe) -> None:
    """Refuse a recipe that was changed since the cell was planned."""
    planned = point_of(recipe, arguments={}).arguments["settings"]
    if planned != cell.arguments["settings"]:
        raise RunError(
            f"Recipe {recipe.name} has other settings now than {cell.name} was planned with.",
            remedy="Put the recipe back as it was, or begin anew in another --out.",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fold:
    subject: Subject
    sides: Sides
    number: int
    request: Request
    recipe: Recipe
    directory: Path
    processes: Fabric

    def fit_network(
        self, rows: Sequence[Row], known: Mapping[str, Finding], run: RunDirectory, fabric: FabricSettings
    ) -> dict[str, Finding]:
        """Train to each checkpoint in turn, and answer there, but for what is ``known``."""
        network = self._network()
        findings = {
            row.experiment: known.get(row.experiment) or self._trained_to(row, network, run, fabric)
            for row in rows
        }
        if self.processes.is_global_zero and not self.request.keep_networks:
            # An AlexNet with its optimiser's state is half a gigabyte, and a grid has hundreds of folds.
            run.forget_checkpoints()
        return findings

    def fit_classical(self, recipe: ClassicalRecipe, run: RunDirectory) -> Finding:
        """Fit a classical classifier and answer."""
        return self._first_alone(partial(self._fitted, recipe, run))

    def _first_alone(self, work: Callable[[], Finding]) -> Finding:
        """What ``work`` finds, done by the first of the processes and told to the others."""
        found = self.processes.broadcast(work() if self.processes.is_global_zero else None)
        return cast("Finding", found)

    def _trained_to(
        self, row: Row, network: PictureNetwork, run: RunDirectory, fabric: FabricSettings
    ) -> Finding:
        """Train from wherever the run stands to the row's end, and answer."""
        if self.processes.is_global_zero and len(run.metrics()) > (row.epochs or 0):
            # A finding was lost that was there once: the network of the row's end is gone, so begin anew.
            run.forget_checkpoints()
        training = self.recipe.training.model_copy(update={"epochs": row.epochs})
        records = train(
            network,
            recipe=self.recipe.model_copy(update={"training": training}),
            pixels=self.sides.train.pixels,
            labels=self.sides.train.labels,
            held_out_pixels=self.sides.held_out.pixels,
            held_out_labels=self.sides.held_out.labels,
            run=run,
            fabric=fabric,
            quiet=True,
        )
        return self._first_alone(partial(self._answered, row.experiment, network, records[-1]))

    def _fitted(self, recipe: ClassicalRecipe, run: RunDirectory) -> Finding:
        experiment = self.recipe.experiments[0].name
        began = time.perf_counter()
        learned, asked = self._features(recipe)
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
        return self._finding(experiment, predictions, {}, shifted=False)

    def _features(self, recipe: ClassicalRecipe) -> tuple[Scores, Scores]:
        """Of the training pictures, and of the held-out ones."""
        learned, asked = self.sides.train.pixels, self.sides.held_out.pixels
        if recipe.features == "pixels":
            return (
                pixel_features(learned, size_px=recipe.size_px),
                pixel_features(asked, size_px=recipe.size_px),
            )
        # Every classical row of a fold asks for the same features, each in a cell of its own.
        kept = Memory(_above(self.directory, CELLS) / PICTURES, verbose=0)
        both = kept.cache(_network_features, ignore=["processes"])(
            learned,
            asked,
            network=self.recipe.network.model_dump_json(),
            classes=len(self.subject.classes),
            weights=self._weights(),
            weights_digest=self._weights_digest(),
            seed=self.recipe.training.seed,
            processes=self.processes,
        )
        return cast("tuple[Scores, Scores]", both)

    def _network(self) -> PictureNetwork:
        return _drawn(
            self.recipe.network,
            classes=len(self.subject.classes),
            weights=self._weights(),
            seed=self.recipe.training.seed,
        )

    def _weights(self) -> str | Path | None:
        return chosen_weights(
            self.recipe.network, weights=self.request.weights, from_scratch=self.request.from_scratch
        )

    def _weights_digest(self) -> str | None:
        """Of a file of weights, so that another one under its name gives other features; None for a name."""
        weights = self._weights()
        if weights is None or not Path(weights).is_file():
            return None
        return fingerprint([(Path(weights), "weights")])

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
            with replaced(self.directory / kept.shifted) as stream:
                np.save(stream, shifted)
        self._keep_mistakes(experiment, predictions, network)
        figures = {
            "training_accuracy": record.get("train_accuracy"),
            "training_loss": record.get("train_loss"),
            "loss": record.get("held_out_loss"),
        }
        return self._finding(experiment, predictions, figures, shifted=self.request.protocol == "honest")

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
        with replaced(self.directory / Kept(experiment=experiment).mistakes) as stream:
            stream.write(MISTAKES.dump_json(shown))

    def _finding(
        self, experiment: str, predictions: Predictions, figures: Mapping[str, Any], *, shifted: bool
    ) -> Finding:
        """The finding, noted: from here on this experiment need not be run again."""
        named = predictions.logits.argmax(axis=1)
        kept = Kept(experiment=experiment)
        files = [kept.predictions, kept.mistakes]
        if shifted:
            files.append(kept.shifted)
        finding = Finding(
            figures={
                "accuracy": float((named == predictions.labels).mean()),
                "balanced_accuracy": balanced_accuracy(predictions.labels, named),
                **figures,
            },
            files=tuple(files),
        )
        note(self.directory, experiment, finding)
        return finding


def _drawn(recipe: NetworkRecipe, *, classes: int, weights: str | Path | None, seed: int) -> PictureNetwork:
    """A network before its training; what is not pretrained in it is drawn from the seed."""
    torch.manual_seed(seed)
    return build_network(recipe, classes=classes, weights=weights)


def _network_features(
    learned: Pixels,
    asked: Pixels,
    *,
    network: str,
    classes: int,
    weights: str | Path | None,
    weights_digest: str | None,  # noqa: ARG001 - part of what the features are kept under
    seed: int,
    processes: Fabric,
) -> tuple[Scores, Scores]:
    """Features of two sets of pictures by one network, told by its recipe's JSON."""
    recipe = NetworkRecipe.model_validate_json(network)
    built = processes.to_device(_drawn(recipe, classes=classes, weights=weights, seed=seed))
    return answer(built, learned).features, answer(built, asked).features


def _above(directory: Path, name: str) -> Path:
    """The folder that holds the folder ``name`` above ``directory``; itself where there is none."""
    for each in directory.parents:
        if each.name == name:
            return each.parent
    return directory
