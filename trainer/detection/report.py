"""A detector's figures, as a manifest quotes them and as a person reads them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from edge.contract.manifest import InputGeometry, Metric, Threshold
from edge.contract.taxonomy import ObjectKind
from trainer.data.bccd import Bccd
from trainer.data.cells import read_pbc_aml
from trainer.data.frames import KINDS, LabelledFrame
from trainer.data.shared_ground import sharing_ground
from trainer.detection.collected import BoxedCollection
from trainer.detection.compose import UM_PER_PX
from trainer.detection.deploy import MAX_OBJECTS, load
from trainer.detection.evaluation import Detect, Evaluation, central_recall, evaluate, find, torch_detect
from trainer.detection.network import HEIGHT_PX, WIDTH_PX
from trainer.detection.precision import F1_SLACK, Found, OperatingPoint
from trainer.detection.provenance import provenance, recipe_in_words
from trainer.detection.sources import central_cell_frames, held_out_cells, virtual_frames
from trainer.detection.training import Settings
from trainer.errors import RunError
from trainer.facts import DetectorFacts
from trainer.run import RunDirectory
from trainer.statistics import Interval

VIRTUAL_TEST_SEEDS: Final = range(2_000_000, 2_000_040)
_COLLECTION: Final[TypeAdapter[BoxedCollection | None]] = TypeAdapter(BoxedCollection | None)
_SPLIT: Final = (
    "BCCD's own lists: trained on `train`, judged on `val`. Frames of one smear may be in both; the "
    "dataset does not say, but registration finds val frames that overlap with train frames, and the "
    "figures are given without them too. Of each folder of single cells the last fifth in the order of "
    "acquisition was held out, to count how many white cells of those laboratories are found."
)
_LIMITS: Final = (
    "Trained around 0.11 um a pixel at its input, from half to 1.8 times that scale.",
    "Red cells in piles are counted too low, as they were labelled too low.",
    "BCCD's labels lack many red cells and platelets that can be seen; finding those counts as false here.",
    (
        "The recipe was shaped while looking at BCCD's val list, and of two last stages the one that was "
        "better on it was kept: the figures on it are flattered."
    ),
    (
        "The rule for the limits was changed after the recall on other laboratories' white cells had been "
        "seen at the best F1's limit (0.939 Barcelona, 0.817 LMU, an earlier stage): the recalls are "
        "flattered."
    ),
    "Outside of BCCD no person drew the white cells' boxes: stain drew them, then an earlier network.",
)


def measured_facts(run_dir: Path, data_dir: Path) -> DetectorFacts:
    """Measure a run whose frames of BCCD's val list were held out.

    Raises RunError when they may not have been.
    """
    refuse_if_seen(run_dir)
    metrics, evaluation = measure(torch_detect(load(run_dir)), data_dir)
    return facts_of(
        run_dir,
        data_dir,
        metrics=metrics,
        thresholds={
            kind: threshold(point, chosen_on="BCCD's val list")
            for kind, point in evaluation.operating.items()
        },
        recipe=(
            f"{lineage_in_words(run_dir)} Scale, side, mosaic, stain, light, lens and file varied. Figures "
            "are those of the last epoch, not of the best."
        ),
    )


def inherited_facts(run_dir: Path, data_dir: Path, *, measured: Path) -> DetectorFacts:
    """Facts of a run that went on with the judged frames too: its own sources, the other run's figures."""
    run = RunDirectory.open(run_dir)
    begin_with = settings_of(run).begin_with
    if begin_with is None or begin_with.resolve() != measured.resolve():
        raise RunError(
            f"{run_dir} did not begin with {measured}.",
            remedy="Quote the figures of the run that it began with.",
        )
    facts = RunDirectory.open(measured).facts(DetectorFacts)
    return facts_of(
        run_dir,
        data_dir,
        metrics=facts.metrics,
        thresholds=facts.thresholds,
        recipe=(
            f"{facts.recipe} The network shipped went on from there: {_in_words(run)} Nothing was left "
            "to judge it on, so every figure and threshold is the earlier network's, on frames new to it."
        ),
    )


def refuse_if_seen(run_dir: Path) -> None:
    """Raises RunError when a run, or one that it goes back to, trained on BCCD's val list."""
    if any("val" in settings_of(run).lists for run in lineage(run_dir)):
        raise RunError(
            f"{run_dir} trained on the frames that it would be judged on.",
            remedy="Evaluate the run that it began with, and give that as --figures-from.",
        )


def lineage(run_dir: Path) -> list[RunDirectory]:
    """A run after those that it goes back to, the first one first."""
    runs = [RunDirectory.open(run_dir)]
    while (before := settings_of(runs[0]).begin_with) is not None:
        runs.insert(0, RunDirectory.open(before))
    return runs


def lineage_in_words(run_dir: Path) -> str:
    """How a run, and before it those that it goes back to, were trained."""
    return " Then ".join(_in_words(run) for run in lineage(run_dir))


def settings_of(run: RunDirectory) -> Settings:
    """The settings a run was begun with. Raises RunError when it is not a detector's."""
    found: dict[str, Any] = run.configuration()
    if "lists" not in found or not set(found) <= {field.name for field in dataclasses.fields(Settings)}:
        raise RunError(f"{run.path} is not a detector's run.", remedy="Name a run of `detector fit`.")
    begin_with = found.get("begin_with")
    try:
        collection = _COLLECTION.validate_python(found.get("collection"))
    except ValidationError as error:
        raise RunError(
            f"{run.path} does not tell its collection: {error}.", remedy="Train the run anew."
        ) from error
    return Settings(
        **{
            **found,
            "lists": tuple(found["lists"]),
            "begin_with": Path(begin_with) if begin_with else None,
            "collection": collection,
        }
    )


def measure(detect: Detect, data_dir: Path) -> tuple[tuple[Metric, ...], Evaluation]:
    """Every figure: on BCCD's val list, other laboratories' held-out cells, and unseen virtual fields."""
    bccd = Bccd(folder=data_dir / "bccd")
    judged = bccd.frames("val")
    answers = find(detect, judged)
    evaluation = evaluate(answers, judged)
    metrics = precision_metrics(evaluation, measured_on="BCCD, val list")
    metrics += _on_new_ground(answers, judged, taught=bccd.frames("train"))
    score = evaluation.operating[ObjectKind.WBC].score
    _, held = held_out_cells(read_pbc_aml(data_dir))
    for laboratory in sorted({each.laboratory for each in held}):
        cells = central_cell_frames([each for each in held if each.laboratory == laboratory])
        recall = central_recall(find(detect, cells), cells, score=score)
        metrics.append(
            _metric(
                "detector recall WBC",
                recall.estimate,
                samples=recall.pictures,
                groups=None,
                grouped_by="picture",
                measured_on=f"held-out single cells, {laboratory}: a box over the middle",
            )
        )
    virtual = virtual_frames(VIRTUAL_TEST_SEEDS)
    metrics += precision_metrics(
        evaluate(find(detect, virtual), virtual), measured_on="virtual slide, unseen fields"
    )
    return tuple(metrics), evaluation


def _on_new_ground(
    answers: Sequence[Found], judged: Sequence[LabelledFrame], *, taught: Sequence[LabelledFrame]
) -> list[Metric]:
    """The same figures without the frames that show a place which the training frames show too."""
    known = {frame.name for frame in sharing_ground(judged, others=taught)}
    kept = [(found, frame) for found, frame in zip(answers, judged, strict=True) if frame.name not in known]
    evaluation = evaluate([found for found, _ in kept], [frame for _, frame in kept])
    return precision_metrics(
        evaluation, measured_on=f"BCCD, val list less {len(known)} frames that show ground of the train list"
    )


def table(metrics: Sequence[Metric]) -> str:
    """The figures as a plain text table."""
    rows = [
        (
            each.name,
            f"{each.value:.3f}",
            "-" if each.low is None or each.high is None else f"{each.low:.3f} to {each.high:.3f}",
            str(each.samples),
            each.measured_on,
        )
        for each in metrics
    ]
    rows.insert(0, ("figure", "value", "95% interval", "objects", "measured on"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def precision_metrics(evaluation: Evaluation, *, measured_on: str, grouped_by: str = "frame") -> list[Metric]:
    """Average precision by kind and its mean, as a manifest quotes them."""
    every = sum(evaluation.objects.values())
    named = [("mAP50", evaluation.mean, every)]
    named += [
        (f"AP50 {kind.value}", evaluation.precision[kind], evaluation.objects[kind])
        for kind in evaluation.precision
    ]
    return [
        _metric(
            f"detector {name}",
            estimate,
            samples=samples,
            groups=evaluation.groups,
            grouped_by=grouped_by,
            measured_on=measured_on,
        )
        for name, estimate, samples in named
    ]


def _metric(
    name: str, estimate: Interval, *, samples: int, groups: int | None, grouped_by: str, measured_on: str
) -> Metric:
    alone = groups == 1  # redrawing one group tells nothing
    return Metric(
        name=name,
        value=round(estimate.value, 4),
        low=None if alone else round(estimate.low, 4),
        high=None if alone else round(estimate.high, 4),
        samples=samples,
        groups=groups,
        grouped_by=grouped_by,
        measured_on=measured_on,
    )


def threshold(point: OperatingPoint, *, chosen_on: str) -> Threshold:
    """A limit as a manifest states it, never rounded up."""
    return Threshold(
        value=math.floor(point.score * 1000) / 1000,
        operating_point=(
            f"lowest limit with an F1 within {F1_SLACK:g} of the best on {chosen_on}: F1 {point.f1:.3f}, "
            f"precision {point.precision:.3f}, recall {point.recall:.3f}"
        ),
    )


def facts_of(
    run_dir: Path,
    data_dir: Path,
    *,
    metrics: tuple[Metric, ...],
    thresholds: Mapping[ObjectKind, Threshold],
    recipe: str,
    split: str = _SPLIT,
    limits: tuple[str, ...] = _LIMITS,
) -> DetectorFacts:
    """The facts of a run beside its figures: input, sources, fingerprint."""
    seen = provenance([settings_of(run) for run in lineage(run_dir)], data_dir)
    return DetectorFacts(
        input=InputGeometry(width_px=WIDTH_PX, height_px=HEIGHT_PX),
        um_per_px=UM_PER_PX,
        kinds=KINDS,
        max_objects=MAX_OBJECTS,
        thresholds=thresholds,
        metrics=metrics,
        sources=seen.sources,
        fingerprint=seen.fingerprint,
        split=split,
        limits=limits,
        recipe=recipe,
    )


def _in_words(run: RunDirectory) -> str:
    return recipe_in_words(settings_of(run), trained=run.require("last")["epoch"] + 1)
