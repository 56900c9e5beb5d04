"""Makes training scenes out of labelled frames: another scale, place, side up, stain, light and lens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from edge.frame import Pixels
from trainer.augment.recipe import STRONG, Donor, Recipe, vary
from trainer.data.frames import KINDS, Boxes, LabelledFrame
from trainer.detection.network import HEIGHT_PX, STRIDE_PX, WIDTH_PX
from trainer.detection.targets import Batch, Scene, batch_of

UM_PER_PX: Final = 0.11
"""The scale that the network is trained around: a 640 px frame of BCCD at 416 px."""
FOREIGN: Final = replace(STRONG, stain=0.9, stain_amount=2.0, transfer=0.3)
_USUAL_ZOOM: Final = (0.85, 1.2)
_CROWDED_ZOOM: Final = 0.65
_FOREIGN_SHARE: Final = 0.25
_SEEN_SHARE: Final = 0.35
_UNSEEN_SHARE: Final = 0.08
_SMALLEST_SIDE_PX: Final = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Frames of one origin, and the share of scenes that show them."""

    frames: Sequence[LabelledFrame]
    share: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Composer:
    """Draws scenes.

    ``zoom`` bounds the change of scale against `UM_PER_PX`, log-uniform; a share ``usual`` of the scenes
    stays near it, since most frames will. A share ``natural`` keeps the colours it came with, another
    ``_FOREIGN_SHARE`` of the rest takes on colours that no smear here has.
    """

    pools: Sequence[Pool]
    donors: Sequence[Donor]
    zoom: tuple[float, float] = (0.35, 1.8)
    usual: float = 0.35
    colour: Recipe = STRONG
    foreign: Recipe = FOREIGN
    natural: float = 0.4
    mosaic: float = 0.6
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX

    def batches(self, rng: np.random.Generator, *, size: int, steps: int) -> Iterator[Batch]:
        """``steps`` batches of ``size`` scenes."""
        for _ in range(steps):
            yield batch_of([self.scene(rng) for _ in range(size)])

    def scene(self, rng: np.random.Generator) -> Scene:
        """One scene; a scene that shows much ground is often laid together of four frames."""
        bounds = _USUAL_ZOOM if rng.random() < self.usual else self.zoom
        zoom = float(np.exp(rng.uniform(*np.log(bounds))))
        canvas = _Canvas(self.width_px, self.height_px, rng)
        if zoom < 1 and rng.random() < self.mosaic:
            # Small cells need more frames to fill the ground, and so crowd it with white cells.
            xs, ys = (
                _cuts(side, 3 if zoom < _CROWDED_ZOOM else 2, rng) for side in (self.width_px, self.height_px)
            )
            for left, right in itertools.pairwise(xs):
                for top, bottom in itertools.pairwise(ys):
                    canvas.lay(
                        self._frame(rng), (left, top, right, bottom), zoom * rng.uniform(0.8, 1.25), rng
                    )
        else:
            canvas.lay(self._frame(rng), (0, 0, self.width_px, self.height_px), zoom, rng)
        pixels = canvas.pixels
        if rng.random() >= self.natural:
            pixels = self._coloured(pixels, rng)
        return Scene(
            pixels=np.ascontiguousarray(pixels),
            boxes=np.concatenate(canvas.boxes),
            kinds=np.concatenate(canvas.kinds),
            known=canvas.known,
        )

    def _coloured(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        if rng.random() >= _FOREIGN_SHARE:
            return vary(pixels, rng, recipe=self.colour, donors=self.donors)
        if rng.integers(2):
            pixels = with_hue_turned(pixels, turn=float(rng.uniform(-0.3, 0.3)))
        return vary(pixels, rng, recipe=self.foreign, donors=self.donors)

    def _frame(self, rng: np.random.Generator) -> LabelledFrame:
        shares = np.array([pool.share for pool in self.pools])
        pool = self.pools[int(rng.choice(len(self.pools), p=shares / shares.sum()))]
        return turned(pool.frames[int(rng.integers(len(pool.frames)))], int(rng.integers(8)))


class _Canvas:
    """A scene in the making."""

    def __init__(self, width_px: int, height_px: int, rng: np.random.Generator) -> None:
        # Beyond a frame's edge a station shows one flat colour; which one must not matter.
        fill = rng.integers(0, 256, 3) if rng.integers(2) else rng.integers(0, 256, 1)
        self.pixels: Pixels = np.empty((height_px, width_px, 3), dtype=np.uint8)
        self.pixels[:] = fill.astype(np.uint8)
        self.boxes: list[Boxes] = [np.zeros((0, 4), dtype=np.float32)]
        self.kinds = [np.zeros(0, dtype=np.int64)]
        self.known = np.ones((len(KINDS), height_px // STRIDE_PX, width_px // STRIDE_PX), dtype=np.bool_)

    def lay(
        self, frame: LabelledFrame, tile: tuple[int, int, int, int], zoom: float, rng: np.random.Generator
    ) -> None:
        """Lay a window of ``frame`` into ``tile`` (x0, y0, x1, y1) at ``zoom``, placed at random."""
        scale = frame.um_per_px / UM_PER_PX * zoom
        height, width = frame.pixels.shape[:2]
        # Along each axis either the frame is wider than the tile and a window of it is taken, or it is
        # narrower and lies somewhere inside.
        x_from, x_room, columns = _place(width, tile[2] - tile[0], scale, rng)
        y_from, y_room, rows = _place(height, tile[3] - tile[1], scale, rng)
        window = frame.pixels[
            y_from : min(height, y_from + max(1, round(rows / scale))),
            x_from : min(width, x_from + max(1, round(columns / scale))),
        ]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        left, top = tile[0] + x_room, tile[1] + y_room
        self.pixels[top : top + rows, left : left + columns] = cv2.resize(
            window, (columns, rows), interpolation=how
        )

        shift = np.array([left - x_from * scale, top - y_from * scale] * 2, dtype=np.float32)
        whole = frame.boxes * np.float32(scale) + shift
        low = np.array([left, top] * 2, dtype=np.float32)
        high = np.array([left + columns, top + rows] * 2, dtype=np.float32)
        boxes = np.clip(whole, low, high)
        sides = boxes[:, 2:] - boxes[:, :2]
        seen = sides.prod(axis=1) / (whole[:, 2:] - whole[:, :2]).prod(axis=1)
        kept = (seen >= _SEEN_SHARE) & (sides.min(axis=1, initial=np.inf) >= _SMALLEST_SIDE_PX)
        self.boxes.append(boxes[kept])
        self.kinds.append(frame.kinds[kept])
        for place, kind in enumerate(KINDS):
            if kind not in frame.labelled:
                self._forget(place, np.concatenate([low[:2], high[2:]]))
        # A sliver of a cell is neither a cell nor background.
        for index in np.flatnonzero(~kept & (seen > _UNSEEN_SHARE)):
            self._forget(int(frame.kinds[index]), boxes[index])

    def _forget(self, kind: int, box: Boxes) -> None:
        x0, y0 = np.floor(box[:2] / STRIDE_PX).astype(int)
        x1, y1 = np.ceil(box[2:] / STRIDE_PX).astype(int)
        self.known[kind, y0:y1, x0:x1] = False


def with_hue_turned(pixels: Pixels, *, turn: float) -> Pixels:
    """The picture with every hue moved around the colour circle by ``turn``, 1 being once around."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
    hsv[:, :, 0] += np.uint8(round(turn * 256) % 256)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)


def _cuts(side: int, parts: int, rng: np.random.Generator) -> list[int]:
    """Edges of ``parts`` tiles along a side, each cut up to 15% of a tile off its even place."""
    even = np.arange(1, parts) + rng.uniform(-0.15, 0.15, parts - 1)
    return [0, *(int(each * side / parts) for each in even), side]


def _place(source: int, target: int, scale: float, rng: np.random.Generator) -> tuple[int, int, int]:
    """First source pixel, empty room before it, and the length laid, along one axis, in whole pixels."""
    length = max(1, round(source * scale))
    if length <= target:
        return 0, int(rng.integers(target - length + 1)), length
    spare = source - target / scale
    return int(rng.uniform(0, max(0.0, spare))), 0, target


def turned(frame: LabelledFrame, turn: int) -> LabelledFrame:
    """The frame under one of the square's eight symmetries: ``turn % 4`` quarter turns, 4 and up mirrored."""
    pixels, boxes = frame.pixels, frame.boxes
    if turn >= 4:  # noqa: PLR2004 - the second half of the eight
        width = pixels.shape[1]
        pixels = pixels[:, ::-1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    for _ in range(turn % 4):
        # Counter-clockwise, as numpy turns: what was the right edge becomes the top.
        width = pixels.shape[1]
        pixels = np.rot90(pixels)
        boxes = np.stack([boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]], axis=1)
    return LabelledFrame(
        name=frame.name,
        pixels=np.ascontiguousarray(pixels),
        um_per_px=frame.um_per_px,
        boxes=boxes,
        kinds=frame.kinds,
        labelled=frame.labelled,
    )
