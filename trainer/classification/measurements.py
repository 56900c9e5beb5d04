"""Evaluates runs on disk: a cross-validation's, and the one that is to be served."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from edge.contract.manifest import Metric
from trainer.augment.recipe import Recipe as Look
from trainer.classification import report
from trainer.classification.batches import BatchRecipe
from trainer.classification.corpus import FOLDS, HOUSE, Corpus
from trainer.classification.deploy import Deployment
from trainer.classification.evaluated import Evaluated, OperatingPoint, answers, operating_point
from trainer.classification.fit import ClassifierRecipe
from trainer.classification.variation import CellVariation
from trainer.errors import RunError
from trainer.facts import ClassifierFacts
from trainer.run import RunDirectory

MEASURED: Final = "measured.json"
_METRICS: Final = TypeAdapter(tuple[Metric, ...])


def recipe_of(run: RunDirectory) -> tuple[ClassifierRecipe, str]:
    """The recipe and the name of the split that a run was begun with. Raises RunError where it has none."""
    kept = run.configuration()
    try:
        values: dict[str, Any] = dict(kept["recipe"])
        variation = dict(values.pop("variation"))
        look = Look(**variation.pop("look"))
        batch = BatchRecipe(**values.pop("batch"))
        recipe = ClassifierRecipe(batch=batch, variation=CellVariation(look=look, **variation), **values)
        return recipe, str(kept["split"])
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{run.path} was not made by `classifier fit` of this version: {error}.", remedy="Train it anew."
        ) from error


def evaluated(run: RunDirectory, corpus: Corpus) -> Evaluated:
    """A run's answers for its own split."""
    recipe, split = recipe_of(run)
    return answers(run, corpus, corpus.split(split), recipe)


def measure_folds(folder: Path, corpus: Corpus) -> tuple[Metric, ...]:
    """Measure the house run and everything left out; keeps the figures in ``measured.json``."""
    house = evaluated(RunDirectory.open(folder / HOUSE), corpus)
    point = operating_point(house)
    metrics = list(report.house_metrics(house, point))
    for name in FOLDS:
        metrics += report.fold_metrics(name, evaluated(RunDirectory.open(folder / name), corpus), point)
    content = {"point": asdict(point), "metrics": [each.model_dump(mode="json") for each in metrics]}
    partial = folder / f".{MEASURED}.partial"
    partial.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    partial.replace(folder / MEASURED)
    return tuple(metrics)


def read_measured(folder: Path) -> tuple[OperatingPoint, tuple[Metric, ...]]:
    """What `measure_folds` kept. Raises RunError where it is missing or damaged."""
    file = folder / MEASURED
    try:
        content = json.loads(file.read_text("utf-8"))
        return OperatingPoint(**content["point"]), _METRICS.validate_python(content["metrics"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise RunError(
            f"{file} cannot be read: {error}.",
            remedy="Run `leukoscope-trainer classifier cross-validate` first.",
        ) from error


def make_ready(run: RunDirectory, corpus: Corpus, *, folds: Path | None) -> ClassifierFacts:
    """Fit what is fitted after training, and write the run's deployment and facts.

    Without ``folds`` the run must itself have held blocks out. Raises RunError otherwise.
    """
    recipe, split_name = recipe_of(run)
    served = evaluated(run, corpus)
    if folds is None:
        house, point = served, operating_point(served)
        metrics = report.house_metrics(house, point)
    else:
        house = evaluated(RunDirectory.open(folds / HOUSE), corpus)
        point, metrics = read_measured(folds)
    Deployment(temperature=point.temperature, distance=served.distance).save(run)
    found = report.facts(
        corpus,
        recipe,
        split=corpus.split(split_name),
        house=house,
        served=served,
        point=point,
        metrics=metrics,
    )
    run.save_facts(found)
    return found
