"""A detector's figures, as a manifest quotes them and as a person reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edge.contract.manifest import DataSource, InputGeometry, Metric, Threshold
from edge.contract.taxonomy import ObjectKind
from trainer.data.bccd import Bccd
from trainer.data.cells import read_pbc_aml, sources
from trainer.data.frames import KINDS, LabelledFrame
from trainer.data.samples import Sample
from trainer.data.shared_ground import sharing_ground
from trainer.detection import training
from trainer.detection.compose import UM_PER_PX
from trainer.detection.deploy import MAX_OBJECTS, load
from trainer.detection.evaluation import Detect, Evaluation, central_recall, evaluate, find, torch_detect
from trainer.detection.network import HEIGHT_PX, WIDTH_PX
from trainer.detection.precision import F1_SLACK, Found, OperatingPoint
from trainer.detection.sources import central_cell_frames, held_out_cells, virtual_frames
from trainer.detection.training import Settings
from trainer.errors import RunError
from trainer.facts import DetectorFacts, combined_fingerprint, fingerprint
from trainer.run import RunDirectory
from trainer.statistics import Interval

_VIRTUAL_TEST_SEEDS: Final = range(2_000_000, 2_000_040)
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
    return _facts(
        run_dir,
        data_dir,
        metrics=metrics,
        thresholds={kind: _threshold(point) for kind, point in evaluation.operating.items()},
        recipe=(
            f"{' Then '.join(_recipe(run) for run in lineage(run_dir))} Scale, side, mosaic, stain, light, "
            "lens and file varied. Figures are those of the last epoch, not of the best."
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
    return _facts(
        run_dir,
        data_dir,
        metrics=facts.metrics,
        thresholds=facts.thresholds,
        recipe=(
            f"{facts.recipe} The network shipped went on from there: {_recipe(run)} Nothing was left to "
            "judge it on, so every figure and threshold is the earlier network's, on frames new to it."
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


def settings_of(run: RunDirectory) -> Settings:
    """The settings a run was begun with. Raises RunError when it is not a detector's."""
    found: dict[str, Any] = run.configuration()
    if "lists" not in found or not set(found) <= {field.name for field in dataclasses.fields(Settings)}:
        raise RunError(f"{run.path} is not a detector's run.", remedy="Name a run of `detector fit`.")
    begin_with = found.get("begin_with")
    return Settings(
        **{**found, "lists": tuple(found["lists"]), "begin_with": Path(begin_with) if begin_with else None}
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
    virtual = virtual_frames(_VIRTUAL_TEST_SEEDS)
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
            f"{each.low:.3f} to {each.high:.3f}",
            str(each.samples),
            each.measured_on,
        )
        for each in metrics
        if each.low is not None and each.high is not None
    ]
    rows.insert(0, ("figure", "value", "95% interval", "objects", "measured on"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def precision_metrics(evaluation: Evaluation, *, measured_on: str) -> list[Metric]:
    """Average precision by kind and its mean, as a manifest quotes them."""
    every = sum(evaluation.objects.values())
    named = [("mAP50", evaluation.mean, every)]
    named += [(f"AP50 {kind.value}", evaluation.precision[kind], evaluation.objects[kind]) for kind in KINDS]
    return [
        _metric(
            f"detector {name}",
            estimate,
            samples=samples,
            groups=evaluation.frames,
            grouped_by="frame",
            measured_on=measured_on,
        )
        for name, estimate, samples in named
    ]


def _metric(
    name: str, estimate: Interval, *, samples: int, groups: int | None, grouped_by: str, measured_on: str
) -> Metric:
    return Metric(
        name=name,
        value=round(estimate.value, 4),
        low=round(estimate.low, 4),
        high=round(estimate.high, 4),
        samples=samples,
        groups=groups,
        grouped_by=grouped_by,
        measured_on=measured_on,
    )


def _threshold(point: OperatingPoint) -> Threshold:
    return Threshold(
        value=math.floor(point.score * 1000) / 1000,
        operating_point=(
            f"lowest limit with an F1 within {F1_SLACK:g} of the best on BCCD's val list: F1 {point.f1:.3f}, "
            f"precision {point.precision:.3f}, recall {point.recall:.3f}"
        ),
    )


def _facts(
    run_dir: Path,
    data_dir: Path,
    *,
    metrics: tuple[Metric, ...],
    thresholds: Mapping[ObjectKind, Threshold],
    recipe: str,
) -> DetectorFacts:
    bccd = Bccd(folder=data_dir / "bccd")
    cells, _ = held_out_cells(read_pbc_aml(data_dir))
    seen = [settings_of(run) for run in lineage(run_dir)]
    names = sorted({name for each in seen for split in each.lists for name in bccd.names(split)})
    fields = max(each.virtual_fields for each in seen)
    virtual = DataSource(
        name="Leukoscope virtual slide",
        licence="Apache-2.0",
        attribution="generated by this software",
        samples=fields,
    )
    return DetectorFacts(
        input=InputGeometry(width_px=WIDTH_PX, height_px=HEIGHT_PX),
        um_per_px=UM_PER_PX,
        kinds=KINDS,
        max_objects=MAX_OBJECTS,
        thresholds=thresholds,
        metrics=metrics,
        sources=(bccd.source(samples=len(names)), *sources(tuple(cells)), virtual),
        fingerprint=_fingerprint(bccd, names, cells, fields),
        split=_SPLIT,
        limits=_LIMITS,
        recipe=recipe,
    )


def _fingerprint(bccd: Bccd, names: Sequence[str], cells: Sequence[Sample], fields: int) -> str:
    virtual = f"virtual slide, {fields} fields from seeds {training.VIRTUAL_SEED} and {training.CROWDED_SEED}"
    parts = [
        fingerprint((bccd.image_file(name), bccd.label_file(name).read_text("utf-8")) for name in names),
        fingerprint((cell.file, "WBC in the middle") for cell in cells),
        hashlib.sha256(virtual.encode()).hexdigest(),
    ]
    return combined_fingerprint(parts)


def _recipe(run: RunDirectory) -> str:
    settings, trained = settings_of(run), run.require("last")["epoch"] + 1
    planned = f" of {settings.epochs} planned" if trained < settings.epochs else ""
    begun = Path(settings.weights).name if settings.weights else "random weights"
    boxed = "boxed by stain"
    if settings.begin_with:
        begun, boxed = "there", "boxed by the network so far"
    return (
        f"{trained} epochs{planned} from {begun} on BCCD ({' and '.join(settings.lists)}), single cells "
        f"{boxed} and {settings.virtual_fields} virtual fields; a share of {settings.natural:g} in their "
        f"own colours, {settings.usual:g} near the usual scale; AdamW at {settings.rate:g}, cosine, moving "
        f"average {settings.average_decay:g}."
    )
