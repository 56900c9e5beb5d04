"""The detector's pictures: BCCD, cells of other laboratories, and the virtual slide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np

from edge.camera.virtual_slide import Conditions, draw_field
from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels
from edge.vision.central_cell import central_cell_box
from trainer.data.cells import read_picture
from trainer.data.formats.numbered_cells import BARCELONA, LMU
from trainer.data.frames import KINDS, LabelledFrame
from trainer.data.samples import Sample
from trainer.detection.precision import Found

_UM_PER_PX: Final[Mapping[str, float]] = MappingProxyType({LMU: 0.075, BARCELONA: 0.096})
"""From red cells' diameters, as neither collection states a scale with its files."""
_KEPT_UM_PER_PX: Final = 0.1
_HELD_OUT: Final = 0.2
_VISIBLE: Final = 0.35
_SURE_WHITE: Final = 0.35
_SURE_OTHER: Final = 0.45


def held_out_cells(samples: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Cells to train on, and held out: of each folder the last fifth in the order of acquisition."""
    folders: dict[Path, list[Sample]] = {}
    for sample in samples:
        folders.setdefault(sample.file.parent, []).append(sample)
    train: list[Sample] = []
    held: list[Sample] = []
    for members in folders.values():
        members.sort(key=lambda each: (each.number, each.name))
        cut = round(len(members) * (1 - _HELD_OUT))
        train += members[:cut]
        held += members[cut:]
    return train, held


def central_cell_frames(samples: Iterable[Sample]) -> list[LabelledFrame]:
    """Pictures with a white cell in the middle, boxed by its stain; those without such a box are left out.

    Nobody boxed their red cells and platelets, so only the white cells count as labelled.
    """
    frames: list[LabelledFrame] = []
    for sample in samples:
        um_per_px = _UM_PER_PX[sample.laboratory]
        whole = read_picture(sample.file)
        scale = min(1.0, um_per_px / _KEPT_UM_PER_PX)
        size = (round(whole.shape[1] * scale), round(whole.shape[0] * scale))
        pixels: Pixels = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        box = central_cell_box(pixels)
        if box is None:
            continue
        frames.append(
            LabelledFrame(
                name=sample.name,
                pixels=pixels,
                um_per_px=um_per_px / scale,
                boxes=np.asarray([box], dtype=np.float32),
                kinds=np.asarray([KINDS.index(ObjectKind.WBC)], dtype=np.int64),
                labelled=frozenset({ObjectKind.WBC}),
            )
        )
    return frames


def relabelled(frames: Sequence[LabelledFrame], found: Sequence[Found]) -> list[LabelledFrame]:
    """Single-cell pictures with a trained detector's boxes where it is sure, better than those by stain.

    A picture whose middle the detector gives no white cell keeps its box by stain. What is surely a red cell
    or platelet is boxed too; as the unsure ones are not, these kinds still do not count as labelled.
    """
    white = KINDS.index(ObjectKind.WBC)
    better: list[LabelledFrame] = []
    for frame, answer in zip(frames, found, strict=True):
        limits = np.where(answer.kinds == white, _SURE_WHITE, _SURE_OTHER)
        sure = (answer.scores >= limits) & ((answer.boxes[:, 2:] - answer.boxes[:, :2]).min(axis=1) > 1)
        boxes, kinds = answer.boxes[sure], answer.kinds[sure]
        middle = np.array([frame.pixels.shape[1], frame.pixels.shape[0]]) / 2
        over = (boxes[:, :2] <= middle).all(axis=1) & (boxes[:, 2:] >= middle).all(axis=1)
        whole = bool((over & (kinds == white)).any())
        better.append(replace(frame, boxes=boxes, kinds=kinds) if whole else frame)
    return better


def virtual_frames(seeds: Iterable[int], *, width_px: int = 520, height_px: int = 400) -> list[LabelledFrame]:
    """Fields of the virtual slide under every kind of condition, at scales from 0.08 to 0.13 um a pixel."""
    return [
        _virtual_frame(seed, width_px=width_px, height_px=height_px, scales=(0.08, 0.13), conditions=None)
        for seed in seeds
    ]


def crowded_frames(seeds: Iterable[int], *, width_px: int = 416, height_px: int = 320) -> list[LabelledFrame]:
    """Fields as of a leukemia or a marrow at a lower magnification: many white cells, small and close."""
    frames: list[LabelledFrame] = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        conditions = Conditions.random(rng)
        population = replace(conditions.population, white_cells_per_field=float(rng.uniform(4, 12)))
        frames.append(
            _virtual_frame(
                seed,
                width_px=width_px,
                height_px=height_px,
                scales=(0.13, 0.22),
                conditions=replace(conditions, population=population),
            )
        )
    return frames


def _virtual_frame(
    seed: int, *, width_px: int, height_px: int, scales: tuple[float, float], conditions: Conditions | None
) -> LabelledFrame:
    um_per_px = float(np.random.default_rng(seed).uniform(*scales))
    pixels, placed = draw_field(
        seed=seed, width_px=width_px, height_px=height_px, um_per_px=um_per_px, conditions=conditions
    )
    shown = [each for each in placed if each.visible >= _VISIBLE]
    return LabelledFrame(
        name=f"virtual slide {seed}",
        pixels=pixels,
        um_per_px=um_per_px,
        boxes=np.asarray([each.box_px for each in shown], dtype=np.float32).reshape(-1, 4),
        kinds=np.asarray([KINDS.index(each.object.kind) for each in shown], dtype=np.int64),
    )
