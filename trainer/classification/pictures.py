"""Cells as training sees them: each in the middle of a square of its surroundings, with its outline.

All cells have the same size in their square, whatever the microscope: what the classifier is given in the
station is scaled by the cell's box too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.camera.virtual_slide import FAB_TYPES, draw_cell
from edge.vision.central_cell import central_cell_box, central_cell_mask
from edge.vision.crop import BoxPx, crop_square
from trainer.augment.recipe import Donor, donor_of
from trainer.data.cells import CLASSES, LABORATORIES, locate
from trainer.data.samples import Sample

Pixels = NDArray[np.uint8]

CONTEXT_MARGIN: Final = 1.75
"""Side of the square in longer sides of the cell's box: room for jitter, and for turning a crop of 1.2."""
CONTEXT_PX: Final = 192
BOX_PX: Final = CONTEXT_PX / CONTEXT_MARGIN
"""Longer side of every cell's box within its square."""
VIRTUAL: Final = "virtual"
DOMAINS: Final = (*LABORATORIES, VIRTUAL)
_DRAWN_PX: Final = 288
_DRAWN_UM_PER_PX: Final = 0.085
_MASK_SOFTNESS_PX: Final = 2.0
_MASK_GROWTH_PX: Final = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class CellPicture:
    """A cell ready for variation.

    ``context`` is uint8 RGB of `CONTEXT_PX` squared; ``mask`` is 255 on the cell, falling softly to 0;
    ``ground`` is the context with the cell painted over in the colour of its glass, for other cells to be
    put on. ``label`` indexes CLASSES, ``domain`` indexes DOMAINS.
    """

    context: Pixels
    mask: Pixels
    ground: Pixels
    label: int
    domain: int
    inside: Donor
    """Colours of the cell itself."""


def picture_of(pixels: Pixels, box_px: BoxPx, *, label: int, domain: int) -> CellPicture:
    """Cut a cell's square out of a picture and outline the cell in it."""
    context = crop_square(pixels, box_px, margin=CONTEXT_MARGIN, size_px=CONTEXT_PX)
    found = central_cell_mask(context)
    mask = _ellipse() if found is None or not found.any() else found.astype(np.uint8) * 255
    reach = np.ones((_MASK_GROWTH_PX, _MASK_GROWTH_PX), dtype=np.uint8)
    grown = np.asarray(cv2.dilate(mask, reach), dtype=np.uint8)
    soft = np.asarray(cv2.GaussianBlur(grown, (0, 0), _MASK_SOFTNESS_PX), dtype=np.uint8)
    inside = context[mask > 0].reshape(1, -1, 3)
    return CellPicture(
        context=context,
        mask=soft,
        ground=_ground(context, grown),
        label=label,
        domain=domain,
        inside=donor_of(np.ascontiguousarray(inside)),
    )


def real_pictures(samples: Sequence[Sample], data_dir: Path) -> tuple[CellPicture, ...]:
    """The pictures of labelled samples, in their order."""
    pictures = []
    for sample in tqdm(samples, desc="cells", unit="cell"):
        cell = locate(sample, data_dir)
        pictures.append(
            picture_of(
                cell.pixels,
                cell.box_px,
                label=CLASSES.index(sample.label),
                domain=DOMAINS.index(sample.laboratory),
            )
        )
    return tuple(pictures)


def virtual_pictures(*, per_class: int, seed: int, cache: Path | None = None) -> tuple[CellPicture, ...]:
    """Cells of the virtual slide, ``per_class`` of each class, under random conditions.

    Drawing takes a few minutes of a core for a thousand; ``cache`` is an ``.npz`` file that keeps the
    drawings between runs.
    """
    wanted = (per_class, seed, _DRAWN_PX, len(CLASSES), _look_of_drawings())
    drawn = _from_cache(cache, wanted) if cache else None
    if drawn is None:
        drawn = _draw(per_class=per_class, seed=seed)
        if cache:
            cache.parent.mkdir(parents=True, exist_ok=True)
            np.savez(cache, drawn=drawn, wanted=np.array(wanted))
    pictures = []
    for index, pixels in enumerate(tqdm(drawn, desc="virtual cells", unit="cell")):
        box = central_cell_box(pixels) or (0.0, 0.0, float(_DRAWN_PX), float(_DRAWN_PX))
        pictures.append(picture_of(pixels, box, label=index // per_class, domain=DOMAINS.index(VIRTUAL)))
    return tuple(pictures)


def crops(pictures: Iterable[CellPicture], *, margin: float, size_px: int) -> Pixels:
    """The crops that a station would give the classifier: uint8 (n, size_px, size_px, 3)."""
    middle = CONTEXT_PX / 2
    box = (middle - BOX_PX / 2, middle - BOX_PX / 2, middle + BOX_PX / 2, middle + BOX_PX / 2)
    return np.stack([crop_square(each.context, box, margin=margin, size_px=size_px) for each in pictures])


def _draw(*, per_class: int, seed: int) -> Pixels:
    drawn = np.empty((per_class * len(CLASSES), _DRAWN_PX, _DRAWN_PX, 3), dtype=np.uint8)
    for index in tqdm(range(len(drawn)), desc="drawing cells", unit="cell"):
        cell_class = CLASSES[index // per_class]
        drawn[index] = draw_cell(
            seed=seed * 1_000_003 + index,
            cell_class=cell_class,
            fab=FAB_TYPES[index % len(FAB_TYPES)] if cell_class == "blast" else None,
            size_px=_DRAWN_PX,
            um_per_px=_DRAWN_UM_PER_PX,
        )
    return drawn


def _look_of_drawings() -> int:
    """A number that changes with the drawing code: kept drawings of an older one are not used."""
    one_of_each = [draw_cell(seed=1, cell_class=name, size_px=64) for name in CLASSES]
    digest = hashlib.sha256(b"".join(each.tobytes() for each in one_of_each)).digest()
    return int.from_bytes(digest[:6], "big")


def _from_cache(cache: Path, wanted: tuple[int, ...]) -> Pixels | None:
    if not cache.exists():
        return None
    with np.load(cache) as kept:
        if tuple(kept["wanted"]) != wanted:
            return None
        return np.asarray(kept["drawn"], dtype=np.uint8)


def _ground(context: Pixels, cell: Pixels) -> Pixels:
    """The surroundings with the cell painted over in the colour of glass."""
    around = context[cell == 0].reshape(-1, 3)
    glass = np.percentile(around if len(around) else context.reshape(-1, 3), 80, axis=0)
    soft = cv2.GaussianBlur(cell, (0, 0), _MASK_SOFTNESS_PX)[:, :, None].astype(np.float32) / 255
    return np.asarray(context * (1 - soft) + glass.astype(np.float32) * soft, dtype=np.uint8)


def _ellipse() -> Pixels:
    mask = np.zeros((CONTEXT_PX, CONTEXT_PX), dtype=np.uint8)
    cv2.circle(mask, (CONTEXT_PX // 2, CONTEXT_PX // 2), int(BOX_PX / 2), 255, -1)
    return mask
