"""A smear drawn by rule for the page's fake station: it only has to be told apart from an empty picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from edge.contract.manifest import Confusion
from edge.contract.message import BoxPx
from edge.contract.records import CellResult
from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels
from edge.web.view import PageCell

WIDTH_PX: Final = 640
HEIGHT_PX: Final = 480
CLEARANCE_PX: Final = 76
DOUBTFUL_SHARE: Final = 0.08
UNKNOWN_SHARE: Final = 0.04
CLASSES: Final = (
    "neutrophil",
    "lymphocyte",
    "monocyte",
    "eosinophil",
    "basophil",
    "erythroblast",
    "blast",
)
_WEIGHTS: Final = (0.50, 0.22, 0.07, 0.04, 0.01, 0.03, 0.13)

_PLASMA: Final = (236, 228, 224)
_RED_CELL: Final = (214, 160, 158)
_PALLOR: Final = (228, 192, 188)
_PLATELET: Final = (150, 110, 170)
_CYTOPLASM: Final[Mapping[str, tuple[int, int, int]]] = {
    "neutrophil": (222, 190, 208),
    "lymphocyte": (168, 178, 220),
    "monocyte": (186, 184, 206),
    "eosinophil": (226, 150, 130),
    "basophil": (140, 110, 180),
    "erythroblast": (196, 160, 180),
    "blast": (150, 152, 208),
}
_NUCLEUS: Final = (88, 52, 132)


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnField:
    """A picture, what is in it, and the crops of its white cells by their ids."""

    pixels: Pixels
    cells: tuple[PageCell, ...]
    crops: Mapping[str, Pixels]


def confusion() -> Confusion:
    """What the drawn classifier gets wrong: one cell in sixteen, for the class beside its own."""
    size = len(CLASSES)
    counts = [[0] * size for _ in range(size)]
    for each in range(size):
        counts[each][each] = 60
        counts[each][(each + 1) % size] = 4
    return Confusion(classes=CLASSES, counts=tuple(map(tuple, counts)), measured_on="drawn cells")


class DrawnSmear:
    """Fields one after the other, each with ``cells_per_field`` white cells; the same for the same seed."""

    def __init__(self, *, seed: int, cells_per_field: int) -> None:
        self._random = np.random.default_rng(seed)
        self._cells_per_field = cells_per_field

    def draw(self, cell_prefix: str) -> DrawnField:
        """The next field; its white cells' ids begin with ``cell_prefix``."""
        pixels = np.full((HEIGHT_PX, WIDTH_PX, 3), _PLASMA, np.uint8)
        whites = self._white_places()
        cells = [self._draw_red_cell(pixels, place) for place in self._red_places(whites)]
        cells += [self._draw_platelet(pixels) for _ in range(4)]
        drawn = [self._draw_white_cell(pixels, place) for place in whites]
        noise = self._random.normal(0, 2.5, pixels.shape)
        pixels = np.clip(cv2.GaussianBlur(pixels, (0, 0), 0.9) + noise, 0, 255).astype(np.uint8)
        crops: dict[str, Pixels] = {}
        for result in drawn:
            cell_id = f"{cell_prefix}-{len(cells)}"
            crops[cell_id] = _crop(pixels, result.box_px)
            cells.append(PageCell(id=cell_id, result=result))
        return DrawnField(pixels=pixels, cells=tuple(cells), crops=crops)

    def _white_places(self) -> list[tuple[int, int]]:
        columns = WIDTH_PX // self._cells_per_field
        return [
            (
                column * columns + columns // 2 + int(self._random.integers(-30, 31)),
                int(self._random.integers(90, HEIGHT_PX - 90)),
            )
            for column in range(self._cells_per_field)
        ]

    def _red_places(self, whites: list[tuple[int, int]]) -> list[tuple[int, int]]:
        jitter = self._random.integers(-14, 15, (10 * 8, 2))
        grid = [(32 + 64 * column, 30 + 60 * row) for row in range(8) for column in range(10)]
        places = [(x + int(dx), y + int(dy)) for (x, y), (dx, dy) in zip(grid, jitter.tolist(), strict=True)]
        return [each for each in places if all(math.dist(each, white) > CLEARANCE_PX for white in whites)]

    def _draw_red_cell(self, pixels: Pixels, place: tuple[int, int]) -> PageCell:
        radius = int(self._random.integers(23, 28))
        cv2.circle(pixels, place, radius, _RED_CELL, -1, cv2.LINE_AA)
        cv2.circle(pixels, place, radius // 2, _PALLOR, -1, cv2.LINE_AA)
        return PageCell(result=CellResult(box_px=_box(place, radius), object=ObjectKind.RBC, score=0.91))

    def _draw_platelet(self, pixels: Pixels) -> PageCell:
        place = (
            int(self._random.integers(12, WIDTH_PX - 12)),
            int(self._random.integers(12, HEIGHT_PX - 12)),
        )
        cv2.circle(pixels, place, 6, _PLATELET, -1, cv2.LINE_AA)
        return PageCell(result=CellResult(box_px=_box(place, 6), object=ObjectKind.PLATELET, score=0.74))

    def _draw_white_cell(self, pixels: Pixels, place: tuple[int, int]) -> CellResult:
        name = CLASSES[int(self._random.choice(len(CLASSES), p=_WEIGHTS))]
        radius = int(self._random.integers(40, 50))
        cv2.circle(pixels, place, radius, _CYTOPLASM[name], -1, cv2.LINE_AA)
        x, y = place
        lobes = {"neutrophil": ((-16, -8), (2, 12), (17, -6)), "eosinophil": ((-15, 0), (15, 0))}
        for dx, dy in lobes.get(name, ((0, 0),)):
            size = radius // 3 if name in lobes else int(radius * 0.72)
            cv2.circle(pixels, (x + dx, y + dy), size, _NUCLEUS, -1, cv2.LINE_AA)
        doubtful = bool(self._random.random() < DOUBTFUL_SHARE)
        unknown = bool(self._random.random() < UNKNOWN_SHARE)
        probability = round(
            float(self._random.uniform(0.42, 0.6) if doubtful else self._random.beta(30, 1)), 3
        )
        others = {each: round((1 - probability) / (len(CLASSES) - 1), 4) for each in CLASSES}
        return CellResult(
            box_px=_box(place, radius),
            object=ObjectKind.WBC,
            score=0.98,
            cell_class=name,
            probability=probability,
            probabilities={**others, name: probability},
            distance=71.0 if unknown else 14.5,
            out_of_distribution=unknown,
            doubtful=doubtful,
        )


def _box(place: tuple[int, int], radius: int) -> BoxPx:
    x, y = place
    return (
        float(max(0, x - radius)),
        float(max(0, y - radius)),
        float(min(WIDTH_PX, x + radius)),
        float(min(HEIGHT_PX, y + radius)),
    )


def _crop(pixels: Pixels, box_px: BoxPx) -> Pixels:
    x0, y0, x1, y1 = (int(edge) for edge in box_px)
    margin = 10
    return pixels[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin].copy()
