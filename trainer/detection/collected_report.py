"""What a detector of one's own collection reached on the groups that were held out of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from edge.contract.manifest import Metric, Threshold
from edge.contract.taxonomy import ObjectKind
from trainer.data.bccd import Bccd
from trainer.data.frames import KINDS, LabelledFrame
from trainer.data.shared_ground import sharing_ground
from trainer.detection.collected import PartedPictures, digests, part_pictures
from trainer.detection.deploy import load
from trainer.detection.evaluation import Evaluation, evaluate, find, torch_detect
from trainer.detection.precision import Found
from trainer.detection.report import (
    VIRTUAL_TEST_SEEDS,
    facts_of,
    lineage,
    lineage_in_words,
    precision_metrics,
    settings_of,
    threshold,
)
from trainer.detection.sources import virtual_frames
from trainer.errors import RunError
from trainer.facts import DetectorFacts
from trainer.run import RunDirectory

_FEW_GROUPS: Final = 10


def measured_facts(run_dir: Path, data_dir: Path) -> DetectorFacts:
    """Measure a run on the groups that it held out of its collection, and on unseen virtual fields.

    A kind that the collection does not box has its limit, and its figures, from virtual fields alone. Raises
    RunError for a run without a collection, and where it, or one that it goes back to, was taught with a
    picture that is held out; DataError where pictures are missing.
    """
    settings = settings_of(RunDirectory.open(run_dir))
    if settings.collection is None:
        raise RunError(
            f"{run_dir} was trained on no collection of its own.", remedy="Evaluate it on BCCD's val list."
        )
    parted = part_pictures(settings.collection)
    refuse_if_taught(run_dir, data_dir, parted)
    detect = torch_detect(load(run_dir))
    frames = parted.held_out_frames()
    found = find(detect, frames)
    evaluation = evaluate(found, frames, groups=parted.groups)
    where = f"{parted.collection.name}, held-out groups"
    metrics = precision_metrics(evaluation, measured_on=where, grouped_by=parted.grouping.kind)
    thresholds = _thresholds(evaluation, chosen_on=where)
    if parted.grouping.kind == "block":
        # Blocks of neighbours only stand in for slides, so a smear may reach from one side to the other.
        metrics += _on_new_ground(parted, frames, found)
    if settings.virtual_share and settings.virtual_fields:
        virtual = virtual_frames(VIRTUAL_TEST_SEEDS)
        drawn = evaluate(find(detect, virtual), virtual)
        metrics += precision_metrics(drawn, measured_on="virtual slide, unseen fields")
        thresholds = _thresholds(drawn, chosen_on="unseen fields of the virtual slide") | thresholds
    return facts_of(
        run_dir,
        data_dir,
        metrics=tuple(metrics),
        thresholds=thresholds,
        recipe=(
            f"{lineage_in_words(run_dir)} Scale, side, mosaic, stain, light, lens and file varied. Figures "
            "are those of the last epoch, not of the best."
        ),
        split=parted.in_words(),
        limits=_limits(parted, evaluation),
    )


def refuse_if_taught(run_dir: Path, data_dir: Path, parted: PartedPictures) -> None:
    """Raises RunError where a run, or one that it goes back to, trained on a file that is held out."""
    held = digests(parted.held_out)
    for run in lineage(run_dir):
        settings = settings_of(run)
        taught: frozenset[str] = frozenset()
        if settings.collection is not None:
            taught |= digests(part_pictures(settings.collection).train)
        bccd = Bccd(folder=data_dir / "bccd")
        for name in (each for split in settings.lists for each in bccd.names(split)):
            taught |= {hashlib.sha256(bccd.image_file(name).read_bytes()).hexdigest()}
        if both := held & taught:
            raise RunError(
                f"{run.path} trained on {len(both)} of the {len(held)} pictures that are held out.",
                remedy="Begin with a run that did not see them, or hold out the same groups in both: "
                "the same --held-out and --seed.",
            )


def _on_new_ground(parted: PartedPictures, frames: list[LabelledFrame], found: list[Found]) -> list[Metric]:
    """The same figures without the frames that show a place which the training frames show too."""
    known = {id(frame) for frame in sharing_ground(frames, others=parted.train_frames())}
    rows = [row for row, frame in enumerate(frames) if id(frame) not in known]
    if not rows or len(rows) == len(frames):
        return []
    kept = evaluate([found[row] for row in rows], [frames[row] for row in rows], groups=parted.groups[rows])
    return precision_metrics(
        kept,
        measured_on=f"{parted.collection.name}, held-out groups less {len(known)} frames that show ground of "
        "the training frames",
        grouped_by=parted.grouping.kind,
    )


def _thresholds(evaluation: Evaluation, *, chosen_on: str) -> dict[ObjectKind, Threshold]:
    return {kind: threshold(point, chosen_on=chosen_on) for kind, point in evaluation.operating.items()}


def _limits(parted: PartedPictures, evaluation: Evaluation) -> tuple[str, ...]:
    limits = [
        "Trained around 0.11 um a pixel at its input, from half to 1.8 times that scale.",
        "Judged on pictures of the collection that it was trained on: another laboratory's are not measured.",
        "The limits were chosen on the same held-out pictures as the figures.",
    ]
    if evaluation.groups < _FEW_GROUPS:
        held = "1 group was" if evaluation.groups == 1 else f"{evaluation.groups} groups were"
        limits.append(f"{held} held out: too few for an interval to be relied on.")
    if unlabelled := [kind.value for kind in KINDS if kind not in parted.labelled]:
        limits.append(
            f"The collection boxes no {' and no '.join(unlabelled)}: what finds them was taught and measured "
            "on the virtual slide alone."
        )
    if parted.collection.problems:
        limits.append(
            f"{len(parted.collection.problems)} broken or mislabelled files or boxes were left out."
        )
    return tuple(limits)
