"""What the slide map costs: a field's time early on a slide and late, and the memory that it takes.

Fields are cut out of a ground of discs as dense as red cells, with white cells among them, along a way of
small steps in every direction that leaps to other ground after some fifty fields, to ground known from
before now and then. A perfect detector gives the cells: nothing but the map is measured, in processor time,
for other programs take their share of the clock's.

    python benchmarks/slide_map.py [--fields N]
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

import cv2
import numpy as np
import psutil

from edge.analysis.cells import Cell
from edge.contract.taxonomy import ObjectKind
from edge.frame import Frame, Pixels
from edge.slide_map.slide_map import SlideMap
from edge.vision.reduction import Reduction, reduce_frame

WIDTH_PX, HEIGHT_PX, UM_PER_PX = 320, 240, 0.16
SIDE_PX = 1600
"""Of a piece of ground, between two leaps."""
DISCS = 1100
WHITE = 60
FIELDS_A_PIECE = 50
BACK = 0.2
"""How often a leap goes to ground that was shown before."""
FOLLOWED = 3
"""Frames in motion between two fields."""
WINDOW = 200
"""Fields whose times make one figure: some leaps are among them."""
AT_WORK = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A frame, whether it is to be a field, and what lies in it."""

    frame: Frame
    at_rest: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of each field: seconds of processor time, resident bytes after it, bytes to be kept.

    Beside them the seconds of a frame in motion, and of one that shows the last field again.
    """

    times_s: list[float]
    motion_s: list[float]
    rest_s: list[float]
    resident_bytes: list[int]
    kept_bytes: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=5000)
    fields = parser.parse_args().fields
    resumed_s = _going_on()  # and caches fill, the allocator's pools grow
    gc.collect()
    slide_map, way = SlideMap(), shots()
    costs = tour(slide_map, fields, way)
    early, late = side_by_side(slide_map, way)
    ground = slide_map.ground
    print(f"{fields} fields, {ground.frames:.0f} frames' worth of ground, {ground.islands} islands,", end=" ")
    print(f"tracking lost {ground.tracking_losses} times; {FOLLOWED} frames in motion in each field's time\n")
    print("| figure | value |\n|---|---|")
    for name, times_s in (("from field 10", early), (f"from field {fields + 10}", late)):
        p50, p99 = np.quantile(times_s, (0.5, 0.99)) * 1e3
        mean = statistics.mean(times_s) * 1e3
        print(f"| {WINDOW} fields {name}: p50, mean, p99 | {p50:.2f}, {mean:.2f}, {p99:.2f} ms |")
    print(f"| late / early, p50 | {statistics.median(late) / statistics.median(early):.2f} |")
    print(f"| late / early, mean | {statistics.mean(late) / statistics.mean(early):.2f} |")
    print(f"| slowest field | {max(costs.times_s) * 1e3:.1f} ms |")
    for name, times_s in (("in motion", costs.motion_s), ("at rest on a counted field", costs.rest_s)):
        print(f"| a frame {name}, p50 | {statistics.median(times_s) * 1e3:.2f} ms |")
    print(f"| another run goes on with 1,000 fields | {resumed_s:.2f} s |")
    half = fields // 2
    growth = (costs.resident_bytes[-1] - costs.resident_bytes[half]) / (fields - half) * 1000
    print(f"| memory for each 1,000 fields, over the later half | {growth / 1e6:.1f} MB |")
    print(f"| to be kept on the disk for a field, mean | {statistics.mean(costs.kept_bytes) / 1e3:.1f} KB |")


def _going_on() -> float:
    """Seconds of processor time until a map is what it was, for 1,000 fields."""
    kept: dict[str, bytes] = {}
    tour(SlideMap(), 200, shots(), kept)
    begun_s = time.thread_time()
    SlideMap().begin_slide(kept)
    return (time.thread_time() - begun_s) * 5


def side_by_side(grown: SlideMap, way: Iterator[Shot]) -> tuple[list[float], list[float]]:
    """Seconds of the next fields on a new map, from its tenth on, and on one that has grown, in turn.

    The same frames within the same seconds: what else the machine does falls on both alike.
    """
    maps = (SlideMap(), grown)
    times_s: tuple[list[float], list[float]] = ([], [])
    spent_s = [0.0, 0.0]
    for shot in way:
        reduction = reduce_frame(shot.frame.pixels)
        for which in (0, 1) if shot.frame.index % 2 else (1, 0):
            begun_s = time.thread_time()
            _show(maps[which], shot, reduction)
            spent_s[which] += time.thread_time() - begun_s
            if shot.at_rest:
                times_s[which].append(spent_s[which])
                spent_s[which] = 0.0
        if len(times_s[0]) == WINDOW + 10:
            break
    return times_s[0][10:], times_s[1][10:]


def _show(slide_map: SlideMap, shot: Shot, reduction: Reduction) -> Mapping[str, bytes]:
    if not shot.at_rest:
        slide_map.follow(reduction)
        return {}
    place = slide_map.take(slide_map.look(shot.frame, reduction, focus=0.5))
    slide_map.admit(place, shot.cells)
    return slide_map.changes()


def tour(
    slide_map: SlideMap, fields: int, way: Iterator[Shot], kept: dict[str, bytes] | None = None
) -> Costs:
    """Drive until there are so many fields; ``kept`` takes all that is to be kept of them."""
    process = psutil.Process()
    costs = Costs(times_s=[], motion_s=[], rest_s=[], resident_bytes=[], kept_bytes=[])
    spent_s = 0.0
    for shot in way:
        reduction = reduce_frame(shot.frame.pixels)
        begun_s = time.thread_time()
        changes = _show(slide_map, shot, reduction)
        if not shot.at_rest:
            costs.motion_s.append(time.thread_time() - begun_s)
            spent_s += costs.motion_s[-1]
            continue
        costs.times_s.append(spent_s + time.thread_time() - begun_s)
        costs.kept_bytes.append(sum(map(len, changes.values())))
        if kept is not None:
            kept.update(changes)
        costs.resident_bytes.append(process.memory_info().rss)
        spent_s = 0.0
        begun_s = time.thread_time()
        slide_map.look(shot.frame, reduction, focus=0.5)
        costs.rest_s.append(time.thread_time() - begun_s)
        if len(costs.times_s) == fields:
            break
    return costs


def shots() -> Iterator[Shot]:
    """The way, for ever: leap after leap, and the steps between them."""
    rng = np.random.default_rng(5)
    index, pieces = 0, 0
    while True:
        back = pieces > 1 and rng.random() < BACK
        pieces += not back
        pixels, cells = _piece(int(rng.integers(0, pieces - 1)) if back else pieces)
        # Ground within reach of each other's borders would be one place twice: a leap lands in the middle.
        at = np.array([SIDE_PX / 2, SIDE_PX / 2]) + rng.uniform(-200, 200, 2)
        for _ in range(FIELDS_A_PIECE):
            step = rng.uniform(-0.5, 0.5, 2) * (WIDTH_PX, HEIGHT_PX)
            goal = np.clip(at + step, 0, (SIDE_PX - WIDTH_PX, SIDE_PX - HEIGHT_PX))
            for part in range(1, FOLLOWED + 2):
                index += 1
                x_px, y_px = np.rint(at + (goal - at) * part / (FOLLOWED + 1)).astype(int).tolist()
                yield Shot(
                    frame=_frame(pixels, x_px, y_px, index, rng),
                    at_rest=part == FOLLOWED + 1,
                    cells=_within(cells, x_px, y_px) if part == FOLLOWED + 1 else (),
                )
            at = goal


def _piece(number: int) -> tuple[Pixels, list[tuple[float, float, float, float, ObjectKind]]]:
    """Ground of this number, always the same, and the boxes of what lies on it."""
    rng = np.random.default_rng(1000 + number)
    pixels = np.full((SIDE_PX, SIDE_PX, 3), (222, 205, 214), dtype=np.uint8)
    objects = []
    for place in range(DISCS + WHITE):
        white = place >= DISCS
        radius = float(rng.uniform(32, 42) if white else rng.uniform(20, 26))
        x, y = rng.uniform(0, SIDE_PX, 2).tolist()
        colour = (120, 80, 160) if white else (205, int(rng.integers(135, 165)), 160)
        cv2.circle(pixels, (round(x), round(y)), round(radius), colour, -1, cv2.LINE_AA)
        kind = ObjectKind.WBC if white else ObjectKind.RBC
        objects.append((x - radius, y - radius, x + radius, y + radius, kind))
    # Flat discs would have nothing but noise inside; cells have some relief.
    relief = cv2.resize(rng.integers(-14, 15, (160, 160)).astype(np.float32), (SIDE_PX, SIDE_PX))
    lit = np.clip(pixels + relief[..., None], 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(lit, (0, 0), 1.2), dtype=np.uint8), objects


def _frame(pixels: Pixels, x_px: int, y_px: int, index: int, rng: np.random.Generator) -> Frame:
    cut = pixels[y_px : y_px + HEIGHT_PX, x_px : x_px + WIDTH_PX].astype(np.int16)
    noisy = cut + rng.integers(-4, 5, cut.shape, dtype=np.int16)
    return Frame(
        pixels=np.clip(noisy, 0, 255).astype(np.uint8),
        index=index,
        source="discs",
        captured_at=AT_WORK,
        monotonic_s=index / 10,
        um_per_px=UM_PER_PX,
    )


def _within(
    objects: list[tuple[float, float, float, float, ObjectKind]], x_px: int, y_px: int
) -> tuple[Cell, ...]:
    cells = []
    for x0, y0, x1, y1, kind in objects:
        if not (x_px - 100 < x0 < x_px + WIDTH_PX and y_px - 100 < y0 < y_px + HEIGHT_PX):
            continue
        left, top = max(0.0, x0 - x_px), max(0.0, y0 - y_px)
        right, bottom = min(float(WIDTH_PX), x1 - x_px), min(float(HEIGHT_PX), y1 - y_px)
        if (right - left) > 0.3 * (x1 - x0) and (bottom - top) > 0.3 * (y1 - y0):
            cells.append(Cell(box_px=(left, top, right, bottom), kind=kind, score=1.0))
    return tuple(cells)


if __name__ == "__main__":
    main()
