"""A detector's run as quantization sees it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from edge.frame import Pixels
from trainer.data.cells import read_pbc_aml
from trainer.data.frames import KINDS, LabelledFrame
from trainer.detection import report, training
from trainer.detection.collected import PartedPictures, part_pictures
from trainer.detection.collected_report import refuse_if_taught
from trainer.detection.compose import UM_PER_PX, Composer
from trainer.detection.deploy import DeployableDetector, load
from trainer.detection.evaluation import find, matched, torch_detect
from trainer.detection.network import HEIGHT_PX, WIDTH_PX, Answer, CentreNetwork
from trainer.detection.precision import Matches, average_precision
from trainer.detection.sources import central_cell_frames, held_out_cells
from trainer.detection.targets import Batch
from trainer.detection.training import Pictures, Settings
from trainer.errors import DataError
from trainer.fit import Recipe
from trainer.quantization.costs import detector_costs
from trainer.quantization.report import Judgement, Refit
from trainer.quantization.subject import Calibration, FineTuning, Tuned
from trainer.run import RunDirectory

_BATCH: Final = 4
_SEED: Final = 17
_TUNING_EVERY: Final = 4
"""Of the training frames every fourth gives tuning scenes, the others calibration scenes."""
_CELLS_EVERY: Final = 8
"""So many of the other laboratories' single cells suffice to find ranges on."""


class DetectorSubject:
    """Calibrates and tunes on scenes as the training draws them, of different frames.

    It is judged on what the training held out: groups of a person's own collection, or BCCD's val list. A run
    that trained on that list has nothing to be judged on. Raises DataError where the pictures are missing,
    RunError where the network has seen what is held out.
    """

    def __init__(
        self, *, run: Path, data_dir: Path, calibration_pictures: int = 96, tuning_pictures: int = 48
    ) -> None:
        self._run = run
        self._data_dir = data_dir
        self._settings = report.settings_of(RunDirectory.open(run))
        self._seen = {name for each in report.lineage(run) for name in report.settings_of(each).lists}
        self._parted = self._parted_collection()
        self._frames, self._held_out = training.taught_and_judged(self._settings, data_dir)
        self._calibration_pictures = calibration_pictures
        self._tuning_pictures = tuning_pictures

    task: Final = "detector"

    @cached_property
    def network(self) -> CentreNetwork:
        """The network in float, in eval mode, without the decoding of its answers."""
        return load(self._run).network

    def example(self) -> Tensor:
        """A small batch of noise."""
        shape = (1, 3, HEIGHT_PX, WIDTH_PX)
        return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).byte()

    def calibration(self) -> Calibration:
        """Scenes of training frames and of other laboratories' training cells."""
        cells, _ = held_out_cells(read_pbc_aml(self._data_dir)) if self._settings.cell_share else ([], [])
        composer = self._composer(tuning=False, cells=central_cell_frames(cells[::_CELLS_EVERY]))
        rng = np.random.default_rng([_SEED, 0])
        scenes = [composer.scene(rng).pixels for _ in range(self._calibration_pictures)]
        return Calibration(
            batches=[_channels_first(scenes[at : at + _BATCH]) for at in range(0, len(scenes), _BATCH)],
            source="scenes of three of four training frames and of single cells, drawn as in training",
        )

    def tune(self, network: nn.Module) -> Tuned:
        """Heat maps, and boxes where there is heat, of scenes of the other training frames; their mAP50."""
        heat, boxes, matches = self._answers(network, self._tuning)
        each = [average_precision(kind) for kind in matches]
        # Where the float network sees nothing, nobody reads the box.
        return Tuned(signals=(heat, boxes * self._seen_places), points=100 * float(np.nanmean(each)))

    def judge(self, network: nn.Module, *, against: nn.Module | None = None) -> Judgement | None:
        """The loss of AP50 on the frames held out."""
        if self._parted is None and "val" in self._seen:
            return None
        groups = np.arange(len(self._held_out)) if self._parted is None else self._parted.groups
        total, each = detector_costs(
            self._answers(against or self.network, self._held_out)[2],
            self._answers(network, self._held_out)[2],
            kinds=[kind.value for kind in KINDS],
            groups=groups,
        )
        named = None if self._parted is None else self._parted.collection.name
        return Judgement(
            figure="mAP50",
            total=total,
            by_class=each,
            measured_on="BCCD, val list" if named is None else f"{named}, held-out groups",
            grouped_by="frame" if self._parted is None else self._parted.grouping.kind,
            groups=len(np.unique(groups)),
        )

    def refit(self, network: nn.Module, run: RunDirectory) -> Refit | None:  # noqa: ARG002 - as every subject
        """Nothing: thresholds on scores are chosen by the station's bundle."""
        return None

    def recipe(self, network: nn.Module, tuning: FineTuning) -> Recipe[Batch]:
        """The run's own frames, scenes and losses, at a lower rate."""
        if not isinstance(network, CentreNetwork):
            raise TypeError("a detector's training needs a CentreNetwork")
        settings = self._slowed(tuning)
        if settings.weights or settings.begin_with:
            network.stages[: settings.frozen_stages].requires_grad_(requires_grad=False)
        return dataclasses.replace(training.recipe(settings, self._pictures, network), score=None)

    def _parted_collection(self) -> PartedPictures | None:
        if self._settings.collection is None:
            return None
        parted = part_pictures(self._settings.collection)
        refuse_if_taught(self._run, self._data_dir, parted)
        return parted

    def _slowed(self, tuning: FineTuning) -> Settings:
        return dataclasses.replace(
            self._settings,
            epochs=tuning.epochs,
            rate=tuning.rate * self._settings.rate,
            evaluate_every=tuning.epochs,
        )

    @cached_property
    def _pictures(self) -> Pictures:
        return training.read(self._settings, self._data_dir)

    @cached_property
    def _tuning(self) -> list[LabelledFrame]:
        composer = self._composer(tuning=True, cells=[])
        rng = np.random.default_rng([_SEED, 1])
        scenes = [composer.scene(rng) for _ in range(self._tuning_pictures)]
        return [
            LabelledFrame(
                name=f"tuning scene {place}",
                pixels=scene.pixels,
                um_per_px=UM_PER_PX,
                boxes=scene.boxes,
                kinds=scene.kinds,
            )
            for place, scene in enumerate(scenes)
        ]

    def _composer(self, *, tuning: bool, cells: list[LabelledFrame]) -> Composer:
        mine = [frame for place, frame in enumerate(self._frames) if (place % _TUNING_EVERY == 0) == tuning]
        if not mine:
            raise DataError(
                "There are no frames to calibrate on.", remedy="Name the data that it trained on."
            )
        pictures = Pictures(real=mine, virtual=[], cells=cells, judged=[], judged_cells=[])
        return training.scene_composer(self._settings, pictures)

    @cached_property
    def _seen_places(self) -> Tensor:
        return self._answers(self.network, self._tuning)[0].amax(dim=1, keepdim=True)

    def _answers(
        self, network: nn.Module, frames: Sequence[LabelledFrame]
    ) -> tuple[Tensor, Tensor, list[Matches]]:
        """Heat maps and boxes at every place, and the decoded answers matched to the frames' labels."""
        if not isinstance(network, CentreNetwork):
            raise TypeError("a detector's answers need a CentreNetwork")
        raw: list[Answer] = []
        handle = network.register_forward_hook(lambda _module, _inputs, answer: raw.append(answer))
        try:
            found = find(torch_detect(DeployableDetector(network=network).eval()), frames)
        finally:
            handle.remove()
        heat = torch.cat([each.heat.sigmoid() for each in raw])
        return heat, torch.cat([each.boxes for each in raw]), matched(found, frames)


def _channels_first(pixels: list[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())
