"""Trains a detector: which pictures, which rates, how it is judged on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from trainer.augment.recipe import donor_of
from trainer.data.bccd import Bccd, Split
from trainer.data.cells import read_pbc_aml
from trainer.data.frames import KINDS, LabelledFrame
from trainer.detection.collected import BoxedCollection, part_pictures
from trainer.detection.compose import Composer, Pool
from trainer.detection.deploy import DeployableDetector, load
from trainer.detection.evaluation import central_recall, find, matched, torch_detect
from trainer.detection.network import CentreNetwork
from trainer.detection.precision import average_precision
from trainer.detection.sources import (
    central_cell_frames,
    crowded_frames,
    held_out_cells,
    relabelled,
    virtual_frames,
)
from trainer.detection.targets import Batch, losses
from trainer.errors import DataError
from trainer.fit import Recipe, fit
from trainer.prefetch import prefetched
from trainer.run import RunDirectory

SCORE: Final = "map50"
VIRTUAL_SEED: Final = 1_000_000
CROWDED_SEED: Final = 1_500_000
_CROWDED_SHARE: Final = 0.35
_RECALL_SCORE: Final = 0.3
_DONORS: Final = 240


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training. Shares are those of the scenes that show each origin; they are set in proportion.

    ``lists`` are those of BCCD; with a ``collection`` there are none, and its frames take their place.
    ``weights`` begins from a pretrained trunk (None: from noise); ``begin_with`` from another run's network.
    ``rate`` is the heads' learning rate, the trunk's is ``trunk_share`` of it; ``frozen_stages`` of it keep
    what they came with, unless that is noise. ``natural`` is the share of scenes that keep their colours,
    ``usual`` of those near the usual scale: a last run may settle where most frames will be.
    """

    weights: str | None
    begin_with: Path | None = None
    lists: tuple[Split, ...] = ("train",)
    epochs: int = 52
    batch_size: int = 8
    rate: float = 1.5e-3
    trunk_share: float = 0.35
    frozen_stages: int = 1
    warmup_steps: int = 60
    average_decay: float = 0.993
    virtual_fields: int = 200
    real_share: float = 0.64
    virtual_share: float = 0.18
    cell_share: float = 0.18
    natural: float = 0.4
    usual: float = 0.35
    evaluate_every: int = 4
    seed: int = 0
    collection: BoxedCollection | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Everything a training looks at: ``judged`` and ``judged_cells`` are never trained on by `read`."""

    real: Sequence[LabelledFrame]
    virtual: Sequence[LabelledFrame]
    cells: Sequence[LabelledFrame]
    judged: Sequence[LabelledFrame]
    judged_cells: Sequence[LabelledFrame]


def read(settings: Settings, data_dir: Path) -> Pictures:
    """Read and draw the pictures. Raises DataError when a collection is missing.

    A training that begins with another run lets that run's detector box the single cells anew.
    """
    real, judged = taught_and_judged(settings, data_dir)
    train_cells, held_cells = held_out_cells(read_pbc_aml(data_dir)) if settings.cell_share else ([], [])
    count = settings.virtual_fields if settings.virtual_share else 0
    crowded = round(count * _CROWDED_SHARE)
    cells = central_cell_frames(train_cells)
    if settings.begin_with:
        cells = relabelled(cells, find(torch_detect(load(settings.begin_with)), cells))
    labelled = frozenset().union(*(frame.labelled for frame in real))
    if not count and (untaught := [kind.value for kind in KINDS if kind not in labelled]):
        raise DataError(
            f"Nothing teaches what {' and '.join(untaught)} look like: no label stands for them.",
            remedy="Mix in fields of the virtual slide, which has them all: --virtual-fields 200.",
        )
    return Pictures(
        real=real,
        virtual=[
            *virtual_frames(range(VIRTUAL_SEED, VIRTUAL_SEED + count - crowded)),
            *crowded_frames(range(CROWDED_SEED, CROWDED_SEED + crowded)),
        ],
        cells=cells,
        judged=judged,
        judged_cells=central_cell_frames(held_cells[::3]),
    )


def taught_and_judged(
    settings: Settings, data_dir: Path
) -> tuple[Sequence[LabelledFrame], Sequence[LabelledFrame]]:
    """The frames with boxes to train on, and those to judge by: of a collection of one's own, or of BCCD.

    Raises DataError when there are none.
    """
    if settings.collection is not None:
        parted = part_pictures(settings.collection)
        return parted.train_frames(), parted.held_out_frames()
    bccd = Bccd(folder=data_dir / "bccd")
    real = [frame for name in settings.lists for frame in bccd.frames(name)]
    if not real:
        raise DataError("There are no frames to train on.", remedy="Name the list train, or train and val.")
    return real, bccd.frames("val")


def train(
    settings: Settings, pictures: Pictures, run: RunDirectory, *, quiet: bool = False
) -> Mapping[str, float]:
    """Train from the start, or from where ``run`` stopped. Returns the best score."""
    torch.manual_seed(settings.seed)
    taught = bool(settings.weights or settings.begin_with)
    network = CentreNetwork(
        weights=None if settings.begin_with else settings.weights,
        frozen_stages=settings.frozen_stages if taught else 0,
        frozen_norm=taught,
    )
    if settings.begin_with:
        network.load_state_dict(RunDirectory.open(settings.begin_with).require("last")["serving"])
    network.to(memory_format=torch.channels_last)
    return fit(recipe(settings, pictures, network), run, quiet=quiet)


def recipe(settings: Settings, pictures: Pictures, network: CentreNetwork) -> Recipe[Batch]:
    """The settings as the training loop takes them."""
    composer = scene_composer(settings, pictures)
    scenes = len(pictures.real) * sum(pool.share for pool in composer.pools) / settings.real_share
    steps = max(1, round(scenes / settings.batch_size))
    return Recipe(
        network=network,
        optimizer=torch.optim.AdamW(_groups(network, settings), weight_decay=1e-4),
        batches=lambda rng: prefetched(composer.batches(rng, size=settings.batch_size, steps=steps)),
        steps_per_epoch=steps,
        losses=losses,
        evaluate=lambda trained: judge(trained, pictures),
        score=SCORE,
        epochs=settings.epochs,
        seed=settings.seed,
        warmup_steps=settings.warmup_steps,
        average_decay=settings.average_decay,
        evaluate_every=settings.evaluate_every,
        curves={
            "loss": ("train_loss", "train_heat", "train_box"),
            "AP50 on judged frames": (SCORE, *(f"ap50_{kind.value}" for kind in KINDS)),
            "white cells found, other laboratories": ("cell_recall",),
        },
    )


def scene_composer(settings: Settings, pictures: Pictures) -> Composer:
    """What draws the training scenes."""
    pools = [
        Pool(frames=frames, share=share)
        for frames, share in (
            (pictures.real, settings.real_share),
            (pictures.virtual, settings.virtual_share),
            (pictures.cells, settings.cell_share),
        )
        if frames
    ]
    every = [frame for pool in pools for frame in pool.frames]
    return Composer(
        pools=pools,
        donors=[donor_of(frame.pixels) for frame in every[:: max(1, len(every) // _DONORS)]],
        natural=settings.natural,
        usual=settings.usual,
    )


def judge(network: nn.Module, pictures: Pictures) -> dict[str, float]:
    """AP50 by kind, its mean, and the recall on other laboratories' white cells."""
    if not isinstance(network, CentreNetwork):
        raise TypeError("the detector's recipe trains a CentreNetwork")
    detect = torch_detect(DeployableDetector(network=network))
    each = [average_precision(part) for part in matched(find(detect, pictures.judged), pictures.judged)]
    # A kind that nobody labelled in the judged frames has no precision, and none in the mean.
    values = {
        f"ap50_{kind.value}": value for kind, value in zip(KINDS, each, strict=True) if not math.isnan(value)
    }
    values[SCORE] = sum(values.values()) / len(values)
    if pictures.judged_cells:
        found = find(detect, pictures.judged_cells)
        values["cell_recall"] = central_recall(
            found, pictures.judged_cells, score=_RECALL_SCORE
        ).estimate.value
    return values


def _groups(network: CentreNetwork, settings: Settings) -> list[dict[str, Any]]:
    trunk = [each for each in network.stages.parameters() if each.requires_grad]
    own = {id(each) for each in network.stages.parameters()}
    heads = [each for each in network.parameters() if id(each) not in own]
    return [
        {"params": heads, "lr": settings.rate},
        {"params": trunk, "lr": settings.rate * settings.trunk_share},
    ]
