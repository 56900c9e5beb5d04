"""Random variation of a training cell: ground, stain, geometry, light and lens.

Everything that tells the laboratory and not the cell is drawn at random: what the cell lies on, how it was
stained, how sharp and how coarse the picture is, how well the box fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.augment import stain
from trainer.augment.recipe import Recipe, vary
from trainer.classification.pictures import BOX_PX, CONTEXT_PX, CellPicture

Pixels = NDArray[np.uint8]

_PLAIN_GROUNDS: Final = ((0, 0, 0), (255, 255, 255), (235, 225, 205), (205, 205, 215))


@dataclass(frozen=True, kw_only=True)
class CellVariation:
    """Chances and reaches; ``*_jitter`` are standard deviations in shares of the cell's box."""

    foreign_ground: float = 0.4
    plain_ground: float = 0.12
    foreign_stain: float = 0.5
    center_jitter: float = 0.06
    scale_jitter: float = 0.10
    replicated_border: float = 0.2
    look: Recipe = field(default_factory=lambda: Recipe(transfer=0, detail_px=5, rescale=0.4, blur=0.4))


def vary_cell(
    cell: CellPicture,
    rng: np.random.Generator,
    *,
    others: Sequence[CellPicture],
    variation: CellVariation,
    margin: float,
    size_px: int,
) -> Pixels:
    """One random training crop of a cell, uint8 (size_px, size_px, 3).

    ``others`` lend their ground and their stain: pictures of all laboratories.
    """
    context = _restain(cell, rng, others, variation)
    chance = rng.random()
    if chance < variation.plain_ground:
        context = _on(context, cell.mask, _plain(rng))
    elif chance < variation.plain_ground + variation.foreign_ground:
        context = _on(context, cell.mask, others[int(rng.integers(len(others)))].ground)
    crop = _cut(context, rng, variation, margin=margin, size_px=size_px)
    return vary(crop, rng, recipe=variation.look)


def _restain(
    cell: CellPicture, rng: np.random.Generator, others: Sequence[CellPicture], variation: CellVariation
) -> Pixels:
    if rng.random() >= variation.foreign_stain:
        return cell.context
    donor = others[int(rng.integers(len(others)))].inside
    if rng.integers(2):
        return stain.transfer_stain(cell.context, source=cell.inside.profile, target=donor.profile)
    return stain.transfer_lab(
        cell.context, source=cell.inside.lab, target=donor.lab, share=float(rng.uniform(0.3, 1))
    )


def _on(context: Pixels, mask: Pixels, ground: Pixels) -> Pixels:
    alpha = mask[:, :, None].astype(np.float32) / 255
    return np.asarray(context * alpha + ground * (1 - alpha), dtype=np.uint8)


def _plain(rng: np.random.Generator) -> Pixels:
    if rng.integers(2):
        colour = np.array(_PLAIN_GROUNDS[int(rng.integers(len(_PLAIN_GROUNDS)))], dtype=np.uint8)
    else:
        colour = rng.integers(0, 256, 3).astype(np.uint8)
    return np.broadcast_to(colour, (CONTEXT_PX, CONTEXT_PX, 3))


def _cut(
    context: Pixels, rng: np.random.Generator, variation: CellVariation, *, margin: float, size_px: int
) -> Pixels:
    """Turn, mirror, shift and scale in one interpolation."""
    middle = CONTEXT_PX / 2
    if rng.random() < variation.replicated_border:
        # As of a cell at the frame's edge, or one that somebody else has cut out tightly.
        keep = BOX_PX * rng.uniform(0.5, 0.6, 4)
        x0, y0, x1, y1 = (
            round(middle + sign * side) for sign, side in zip((-1, -1, 1, 1), keep, strict=True)
        )
        context = np.asarray(
            cv2.copyMakeBorder(
                context[y0:y1, x0:x1], y0, CONTEXT_PX - y1, x0, CONTEXT_PX - x1, cv2.BORDER_REPLICATE
            ),
            dtype=np.uint8,
        )
    shift = np.clip(rng.normal(0, variation.center_jitter, 2), -0.15, 0.15) * BOX_PX
    side = margin * BOX_PX * float(np.exp(np.clip(rng.normal(0, variation.scale_jitter), -0.25, 0.25)))
    angle = float(rng.uniform(0, 2 * np.pi)) if rng.integers(2) else float(rng.integers(4)) * np.pi / 2
    zoom = side / size_px
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.integers(2):
        turn[:, 0] *= -1
    half = (size_px - 1) / 2
    start = middle - 0.5 + shift - turn @ np.array([half, half])
    return np.asarray(
        cv2.warpAffine(
            context,
            np.column_stack([turn, start]).astype(np.float32),
            (size_px, size_px),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )
