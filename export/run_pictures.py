"""A run's own pictures: those it learned from, to calibrate on, and those it never saw, to judge on."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.engine.protocol import Engine
from edge.frame import Pixels
from edge.vision.letterbox import letterboxed
from trainer.classification.corpus import Corpus, read_corpus
from trainer.classification.measurements import recipe_of
from trainer.classification.pictures import CellPicture, crops
from trainer.data.bccd import Bccd
from trainer.data.cells import CLASSES
from trainer.data.frames import KINDS, LabelledFrame
from trainer.detection import report as detection
from trainer.detection.evaluation import Answers, find, matched
from trainer.detection.network import HEIGHT_PX, WIDTH_PX
from trainer.detection.precision import Matches
from trainer.quantization.costs import classifier_costs, detector_costs, one_answer_points
from trainer.quantization.opening import task_of
from trainer.quantization.report import Judgement
from trainer.run import RunDirectory

T = TypeVar("T")
_BATCH: Final = 32


class RunPictures(Protocol):
    """The two sides of a finished run's data."""

    def learned(self, *, limit: int) -> dict[str, Pixels]:
        """At most ``limit`` training pictures as the network takes them, evenly over all, by name."""
        ...

    def cost(self, *, before: Engine, after: Engine) -> Judgement | None:
        """What one engine's answers to the held-out pictures lost against another's; None without any."""
        ...


def run_pictures(run: Path, data_dir: Path) -> RunPictures:
    """The pictures of a detector's or a classifier's run.

    Raises RunError for a run of something else, DataError where its pictures are missing.
    """
    directory = RunDirectory.open(run)
    if task_of(directory) == "detector":
        return FramePictures(run=directory, data_dir=data_dir)
    return CellPictures(run=directory, data_dir=data_dir)


class FramePictures:
    """BCCD's frames on the lists that a detector was trained on, and its val list where it was not."""

    def __init__(self, *, run: RunDirectory, data_dir: Path) -> None:
        self._bccd = Bccd(folder=data_dir / "bccd")
        self._lists = detection.settings_of(run).lists
        self._seen = {
            name for each in detection.lineage(run.path) for name in detection.settings_of(each).lists
        }

    def learned(self, *, limit: int) -> dict[str, Pixels]:
        """Whole frames, brought to the network's size."""
        frames = [frame for name in self._lists for frame in self._bccd.frames(name)]
        return {
            frame.name: letterboxed(frame.pixels, width_px=WIDTH_PX, height_px=HEIGHT_PX)[0]
            for frame in _evenly(frames, limit)
        }

    def cost(self, *, before: Engine, after: Engine) -> Judgement | None:
        """The loss of AP50 by kind, frames redrawn for both at once."""
        if "val" in self._seen:
            return None
        frames = self._bccd.frames("val")
        total, each = detector_costs(
            _matches(before, frames), _matches(after, frames), kinds=[kind.value for kind in KINDS]
        )
        return Judgement(
            figure="mAP50",
            total=total,
            by_class=each,
            measured_on="BCCD, val list",
            grouped_by="frame",
            groups=len(frames),
        )


class CellPictures:
    """The cells of a classifier's split as they are, neither varied nor drawn."""

    def __init__(self, *, run: RunDirectory, data_dir: Path) -> None:
        self._recipe, name = recipe_of(run)
        self._corpus: Corpus = read_corpus(data_dir, virtual_per_class=0, seed=self._recipe.seed)
        self._split = self._corpus.split(name)

    def learned(self, *, limit: int) -> dict[str, Pixels]:
        """Training cells cut as the station cuts them."""
        indices = _evenly(list(self._split.train), limit)
        pixels = self._crops(self._corpus.chosen(indices))
        return {f"cell {index}": each for index, each in zip(indices, pixels, strict=True)}

    def cost(self, *, before: Engine, after: Engine) -> Judgement | None:
        """The loss of balanced accuracy and of recalls, blocks redrawn for both at once."""
        held_out = self._split.held_out
        if not held_out:
            return None
        pictures = self._corpus.chosen(held_out)
        pixels = self._crops(pictures)
        groups = self._corpus.blocks_of(held_out)
        total, each = classifier_costs(
            [picture.label for picture in pictures],
            before=_named(before, pixels),
            after=_named(after, pixels),
            classes=CLASSES,
            groups=groups,
            strata=self._corpus.series_of(held_out),
        )
        return Judgement(
            figure="balanced accuracy",
            total=total,
            by_class=each,
            measured_on=f"held-out cells of the split {self._split.name}",
            grouped_by="block of neighbouring file names",
            groups=len(np.unique(groups)),
            one_answer_points=one_answer_points(each),
        )

    def _crops(self, pictures: tuple[CellPicture, ...]) -> Pixels:
        return crops(pictures, margin=self._recipe.crop_margin, size_px=self._recipe.size_px)


def _matches(engine: Engine, frames: list[LabelledFrame]) -> list[Matches]:
    def detect(batch: Pixels) -> Answers:
        outputs = engine.run(batch)
        return outputs["boxes"], outputs["scores"], outputs["kinds"]

    return matched(find(detect, frames), frames)


def _named(engine: Engine, pixels: Pixels) -> NDArray[np.int64]:
    parts = [pixels[begin : begin + _BATCH] for begin in range(0, len(pixels), _BATCH)]
    return np.concatenate([engine.run(part)["probabilities"].argmax(axis=1) for part in parts])


def _evenly(items: list[T], limit: int) -> list[T]:
    """At most ``limit`` of them, spread over all."""
    count = len(items)
    return items if count <= limit else [items[place * count // limit] for place in range(limit)]
