"""From the folds on disk to evaluations, and from these to one report."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch

from trainer.errors import RunError
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.evaluation import Evaluation
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.shifts import SHIFTS, Shifted
from trainer.experiment.comparison import Outcome, Row, compared, losses_in_words, rows
from trainer.experiment.plan import begun_cells
from trainer.experiment.protocol import fold_count, split_in_words
from trainer.experiment.request import Request
from trainer.experiment.runner import MISTAKES, Kept
from trainer.experiment.subject import Subject, read_subject
from trainer.recipes.recipe import Recipe
from trainer.recipes.shelf import find_experiment
from trainer.report.mistakes import AT_MOST
from trainer.report.report import (
    ClassCount,
    DataFacts,
    Mistake,
    Report,
    RunFacts,
    Section,
    training_panels,
)
from trainer.run import RunDirectory
from trainer.sweep.run import Found, collect

EVALUATION: Final = "evaluation.json"
PREDICTIONS: Final = "predictions.npz"
_SOFTWARE: Final = ("leukoscope", "torch", "torchvision", "scikit-learn", "numpy", "opencv-python")
_PANELS: Final = {
    "Loss": ("train_loss", "held_out_loss"),
    "Accuracy": ("train_accuracy", "held_out_accuracy"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Assembled:
    """What one folder holds: its request, the recipe, and the outcome of every complete experiment."""

    folder: Path
    request: Request
    recipe: Recipe
    found: dict[str, tuple[Found, ...]]
    outcomes: dict[str, Outcome]

    def rows(self) -> tuple[Row, ...]:
        """The paper's figures beside ours."""
        return rows(self.recipe, self.outcomes)


def assemble(folder: Path) -> Assembled:
    """Evaluate every experiment of a folder of which all folds are done; keeps predictions and evaluations.

    Raises RunError where there is no such experiment.
    """
    request = Request.load(folder)
    recipe = request.loaded()
    by_experiment: defaultdict[str, dict[int, Found]] = defaultdict(dict)
    # A fold that was run twice, alone and as a part of a longer training, gave the same answers.
    for each in collect(begun_cells(request, folder), out=folder).found:
        by_experiment[each.experiment][each.fold] = each
    complete = {
        each.name: tuple(found for _, found in sorted(by_experiment[each.name].items()))
        for each in recipe.experiments
        if len(by_experiment[each.name]) == fold_count(request, request.resolved(each.name))
    }
    if not complete:
        raise RunError(
            f"{folder} holds no experiment of which every fold is done.",
            remedy="Run the same command again: it goes on where it was.",
        )
    return Assembled(
        folder=folder,
        request=request,
        recipe=recipe,
        found=complete,
        outcomes={
            name: Outcome(
                evaluation=_evaluation(folder, request, name, folds),
                folds=tuple(each.finding.figures for each in folds),
            )
            for name, folds in complete.items()
        },
    )


def predictions_of(folder: Path, experiment: str) -> Predictions:
    """All folds' answers of an experiment. Raises RunError where it was not assembled."""
    return Predictions.load(folder / experiment / PREDICTIONS)


def report_of(assembled: Sequence[Assembled], *, command: str) -> Report:
    """One report of one or more folders of one recipe: the honest protocol beside the published one, say.

    Raises RunError for folders of different recipes or collections.
    """
    first = assembled[0]
    if others := {each.recipe.name for each in assembled} - {first.recipe.name}:
        raise RunError(
            f"One report cannot tell of {first.recipe.name} and of {', '.join(sorted(others))}.",
            remedy="Name folders of one recipe.",
        )
    if elsewhere := {each.request.data for each in assembled} - {first.request.data}:
        # Its page describes one collection, and counts its pictures.
        raise RunError(
            f"One report cannot tell of {first.request.data} and of "
            f"{', '.join(sorted(map(str, elsewhere)))}.",
            remedy="Name folders of one collection.",
        )
    found = [(each, each.rows()) for each in assembled]
    sections = [_section(each, name, shown, command) for each, shown in found for name in each.outcomes]
    return Report(
        title=first.recipe.title,
        recipe=first.recipe.name,
        reference=first.recipe.reference,
        summary=_summary(assembled),
        command=command,
        data=_data(first),
        experiments=tuple(sections),
        compared=tuple(
            row
            for each, shown in found
            if each.request.hold_out is None  # the paper's figures have no such column
            for row in compared(shown, protocol=each.request.protocol)
        ),
        assumptions=first.recipe.assumptions,
        limits=_limits(assembled),
    )


def _evaluation(folder: Path, request: Request, name: str, folds: Sequence[Found]) -> Evaluation:
    kept = Kept(experiment=name)
    joined = Predictions.joined([Predictions.load(each.directory / kept.predictions) for each in folds])
    shifted: list[Shifted] = []
    if all(kept.shifted in each.finding.files for each in folds):
        logits = np.concatenate([np.load(each.directory / kept.shifted) for each in folds], axis=1)
        shifted = [Shifted(shift=shift, logits=each) for shift, each in zip(SHIFTS, logits, strict=True)]
    positive = request.task(request.resolved(name)).positive
    evaluation = evaluate(joined, positive=positive, leaky=request.protocol == "published", shifted=shifted)
    (folder / name).mkdir(exist_ok=True)
    joined.save(folder / name / PREDICTIONS)
    evaluation.save(folder / name / EVALUATION)
    return evaluation


def _section(assembled: Assembled, name: str, found: Sequence[Row], command: str) -> Section:
    request, folds = assembled.request, assembled.found[name]
    recipe = request.resolved(name)
    subject = read_subject(request, recipe)
    experiment = find_experiment(assembled.recipe, name)
    records = {f"fold {each.fold + 1}": RunDirectory.open(each.directory).metrics() for each in folds}
    remarks = list(losses_in_words(found, experiment=name))
    if request.small and assembled.recipe.small is not None:
        remarks.insert(0, f"At the small size: {assembled.recipe.small.differs}")
    if request.from_scratch and recipe.network.pretrained:
        remarks.insert(0, "The network began with noise, where the recipe begins with pretrained weights.")
    return Section(
        name=name,
        title=experiment.title,
        task=recipe.tasks[experiment.task].title,
        network=_network_in_words(recipe),
        protocol=request.protocol,
        split=split_in_words(request, recipe, subject),
        evaluation=assembled.outcomes[name].evaluation,
        run=RunFacts(
            command=command,
            seed=recipe.training.seed,
            epochs=folds[0].epochs,
            wall_s=sum(float(row.get("seconds") or 0) for rows in records.values() for row in rows),
            device=f"{platform.machine()}, {torch.get_num_threads()} threads"
            if not torch.cuda.is_available()
            else torch.cuda.get_device_name(),
            software={each: version(each) for each in _SOFTWARE} | {"python": platform.python_version()},
            fingerprint=subject.fingerprint(),
        ),
        training=() if folds[0].epochs is None else training_panels(records, _PANELS),
        mistakes=_mistakes(folds, name),
        remarks=tuple(remarks),
    )


def _mistakes(folds: Sequence[Found], name: str) -> tuple[Mistake, ...]:
    every = [
        mistake
        for each in folds
        for mistake in MISTAKES.validate_json((each.directory / Kept(experiment=name).mistakes).read_bytes())
    ]
    return tuple(sorted(every, key=lambda each: -each.confidence)[:AT_MOST])


def _network_in_words(recipe: Recipe) -> str:
    network, classical = recipe.network, recipe.experiments[0].classical
    words = f"{network.architecture}, {network.size_px} px, {network.colour.upper()}"
    if network.hidden:
        words += ", new layers of " + ", ".join(str(each.units) for each in network.hidden)
    if classical is None:
        return words
    of = f"the features of {words}" if classical.features == "network" else f"pixels at {network.size_px} px"
    return f"{classical.classifier.replace('-', ' ')} over {of}"


def _data(assembled: Assembled) -> DataFacts:
    request = assembled.request
    subject = read_subject(request, request.resolved(next(iter(assembled.outcomes))))
    return DataFacts(
        name=subject.collection,
        format=subject.format,
        pictures=len(subject.samples),
        groups=len(np.unique(subject.groups)),
        grouping=subject.grouping,
        licence=subject.licence,
        classes=tuple(
            ClassCount(
                name=name,
                labels=subject.words_of(label),
                pictures=int((subject.labels == label).sum()),
                groups=len(np.unique(subject.groups[subject.labels == label])),
            )
            for label, name in enumerate(subject.classes)
        ),
        left_out=subject.left_out,
        warnings=(*subject.warnings, *_other_tasks(assembled, subject)),
    )


def _other_tasks(assembled: Assembled, subject: Subject) -> tuple[str, ...]:
    """What a reader must know of experiments that tell other classes apart than those counted."""
    request = assembled.request
    sentences: dict[str, None] = {}
    for name in assembled.outcomes:
        other = read_subject(request, request.resolved(name))
        if other.classes != subject.classes:
            words = ", ".join(
                f"{int((other.labels == label).sum())} {each}" for label, each in enumerate(other.classes)
            )
            sentences[f"The counts are those of {' and '.join(subject.classes)}; {name} has {words}."] = None
            sentences |= dict.fromkeys(each for each in other.warnings if each not in subject.warnings)
    return tuple(sentences)


def _summary(assembled: Sequence[Assembled]) -> str:
    first = assembled[0]
    count = sum(len(each.outcomes) for each in assembled)
    protocols = " and ".join(dict.fromkeys(each.request.protocol for each in assembled))
    words = (
        f"The recipe {first.recipe.name} on {first.request.data.resolve().name}: {count} experiments under "
        f"the {protocols} protocol. It was published on, or is meant for: {first.recipe.data}."
    )
    missing = [
        name
        for name in (each.name for each in first.recipe.experiments)
        if not any(name in each.outcomes for each in assembled)
    ]
    return f"{words} Not run: {', '.join(missing)}." if missing else words


def _limits(assembled: Sequence[Assembled]) -> tuple[str, ...]:
    limits = []
    if any(each.request.small for each in assembled):
        limits.append("Runs at the small size say that a system works, not how well it does at full size.")
    if any(each.request.protocol == "published" for each in assembled):
        limits.append(
            "Figures of the published protocol count pictures of one group on both sides: no laboratory "
            "should expect them."
        )
    return tuple(limits)
