"""Brings a frame to a detector's input: whole where it fits, else in overlapping tiles.

A detector knows cells of about one size. Where the frame's scale is known, the frame is resampled to the
scale the detector was trained around; what is then larger than the input is cut into tiles. Where it is
unknown, the whole frame is fitted into the input.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.frame import Pixels
from edge.vision.letterbox import Letterbox, letterboxed

OVERLAP_PX: Final = 128
"""Overlap of neighbouring tiles in input pixels: a cell centred in a tile's own part is whole in it."""

FIT_SLACK: Final = 1.3
"""A frame up to this much larger than the input is shrunk to fit rather than tiled: detectors are trained
over a wider range of scales than this, and every tile costs a whole run."""

MAX_TILES: Final = 64


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Where one detector input lies on the frame.

    ``origin_px`` is the input's top left corner in frame pixels, ``scale`` input pixels per frame pixel.
    ``own_px`` is the part of the frame (x0, y0, x1, y1; half open, without end at the last tile) whose
    objects this tile answers for: the own parts of all tiles cover the frame without overlap.
    """

    origin_px: tuple[float, float]
    scale: float
    own_px: tuple[float, float, float, float]


def plan_tiles(
    *,
    frame_px: tuple[int, int],
    input_px: tuple[int, int],
    frame_um_per_px: float | None,
    input_um_per_px: float,
) -> tuple[Tile, ...]:
    """Tiles for a frame of ``frame_px`` (width, height) and a detector input of ``input_px``.

    Raises ValueError when the scale would need more than MAX_TILES tiles: it is then surely wrong.
    """
    width, height = frame_px
    fit = min(input_px[0] / width, input_px[1] / height)
    scale = fit if frame_um_per_px is None else frame_um_per_px / input_um_per_px
    if scale <= fit * FIT_SLACK:
        return (Tile(origin_px=(0.0, 0.0), scale=min(scale, fit), own_px=(0.0, 0.0, math.inf, math.inf)),)
    columns = _starts(width * scale, input_px[0])
    rows = _starts(height * scale, input_px[1])
    if (count := len(columns) * len(rows)) > MAX_TILES:
        raise ValueError(f"{frame_um_per_px} um/px makes this {width}x{height} frame {count} tiles large")
    column_spans = _spans(columns, input_px[0], scale)
    row_spans = _spans(rows, input_px[1], scale)
    return tuple(
        Tile(origin_px=(x / scale, y / scale), scale=scale, own_px=(x0, y0, x1, y1))
        for y, (y0, y1) in zip(rows, row_spans, strict=True)
        for x, (x0, x1) in zip(columns, column_spans, strict=True)
    )


def cut_tile(pixels: Pixels, tile: Tile, input_px: tuple[int, int]) -> tuple[Pixels, Letterbox]:
    """The detector input for ``tile``, uint8 (height, width, 3), and where in it the tile's pixels lie."""
    width, height = input_px
    left, top = (round(edge) for edge in tile.origin_px)
    part = pixels[
        top : top + math.ceil(height / tile.scale),
        left : left + math.ceil(width / tile.scale),
    ]
    return letterboxed(part, width_px=width, height_px=height, largest_scale=tile.scale)


def to_frame(
    boxes: NDArray[np.float32], tile: Tile, letterbox: Letterbox, frame_px: tuple[int, int]
) -> NDArray[np.float32]:
    """Boxes (n, 4) of a tile's input in pixels of the frame, cut at the frame's edge."""
    left, top = (round(edge) for edge in tile.origin_px)
    placed = letterbox.to_frame(boxes) + np.asarray([left, top, left, top], dtype=np.float32)
    limits = np.asarray([*frame_px, *frame_px], dtype=np.float32)
    return np.asarray(np.clip(placed, 0, limits), dtype=np.float32)


def owned(boxes: NDArray[np.float32], tile: Tile) -> NDArray[np.bool_]:
    """Which frame boxes (n, 4) have their centre in the part that ``tile`` answers for."""
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    y = (boxes[:, 1] + boxes[:, 3]) / 2
    x0, y0, x1, y1 = tile.own_px
    return np.asarray((x >= x0) & (x < x1) & (y >= y0) & (y < y1), dtype=np.bool_)


def _starts(length: float, window: int) -> list[float]:
    """Evenly spread starts of windows that cover ``length`` and overlap by OVERLAP_PX or more."""
    if length <= window:
        return [0.0]
    count = max(2, math.ceil((length - OVERLAP_PX) / (window - OVERLAP_PX)))
    step = (length - window) / (count - 1)
    return [index * step for index in range(count)]


def _spans(starts: list[float], window: int, scale: float) -> list[tuple[float, float]]:
    """The own part of each window, in frame pixels: neighbours meet in the middle of their overlap."""
    cuts = [0.0]
    cuts += [(left + window + right) / 2 / scale for left, right in itertools.pairwise(starts)]
    cuts.append(math.inf)
    return list(itertools.pairwise(cuts))
