"""What calibration is worth: answers under a bad lamp with and without it, the scale's error, the time.

    python benchmarks/calibration.py [--fields 24] [--rulings 400]

Fields are drawn, so that the same one can be seen in even white light and under a vignetted, tinted lamp; and
real ones are taken for such as were seen in even light, and darkened as the lamp would have darkened them.
An answer is the same where the detector finds an object of the same kind there (half of the boxes' union in
common), and for a white cell where it has the same class, or is set aside as doubtful or unknown alike.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.analysis.cells import Cell
from edge.bundle import open_bundle, starter_bundle
from edge.calibration.calibration import Calibration, Correction
from edge.calibration.flat_field import measure_flat_field
from edge.calibration.scale import measure_scale
from edge.calibration.testing import EmptyGlass, Micrometer, distorted
from edge.camera.image_file import read_image
from edge.camera.virtual_slide import Conditions, SmearPlane
from edge.errors import CalibrationError
from edge.frame import Pixels
from edge.networks import open_networks

UM_PER_PX: Final = 0.08
WHITE: Final = EmptyGlass(tint=(0.9, 0.9, 0.9), vignette=0.0)
LAMPS: Final = {
    "vignetted 30%, neutral": EmptyGlass(tint=(0.9, 0.9, 0.9), vignette=0.24, bright_at=(0.4, 0.55)),
    "even, warm": EmptyGlass(tint=(0.92, 0.8, 0.6), vignette=0.0),
    "vignetted 30%, warm": EmptyGlass(tint=(0.92, 0.8, 0.6), vignette=0.24, bright_at=(0.4, 0.55)),
}


def main() -> None:
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fields",
        type=int,
        default=24,
        help="how many fields are analysed, each 8 times, drawn and real; 0: none",
    )
    parser.add_argument("--rulings", type=int, default=400, help="how many micrometers are measured")
    home = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(os.environ.get("LEUKOSCOPE_DATA", home))
    options = parser.parse_args()
    print_time()
    print_scales(options.rulings)
    print_distortion()
    if options.fields:
        print_answers(options.fields, data)


def correction(lamp: EmptyGlass) -> Correction:
    return Correction(
        Calibration(
            objective="drawn",
            camera="drawn",
            width_px=lamp.width_px,
            height_px=lamp.height_px,
            changed_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            flat=measure_flat_field([lamp.render(seed) for seed in range(5)]),
        )
    )


def print_time() -> None:
    for width_px, height_px in ((640, 480), (1280, 960), (1920, 1080)):
        lamp = EmptyGlass(width_px=width_px, height_px=height_px)
        corrector, picture = correction(lamp), lamp.render(9)
        taken = []
        for _ in range(100):
            begun_s = time.perf_counter()
            corrector.apply_to_pixels(picture)
            taken.append(1000 * (time.perf_counter() - begun_s))
        p50, p99 = np.percentile(taken, (50, 99))
        print(f"correcting {width_px} x {height_px}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, one thread")


def print_scales(rulings: int) -> None:
    errors, held, lines = [], [], []
    refusals: Counter[str] = Counter()
    rng = np.random.default_rng(0)
    for seed in range(rulings):
        pitch_px = float(np.exp(rng.uniform(np.log(10), np.log(115))))
        drawn = Micrometer(
            pitch_px=pitch_px,
            angle_deg=float(rng.uniform(-90, 90)),
            blur_px=float(rng.uniform(0.3, min(2.5, 0.1 * pitch_px))),
            noise=float(rng.uniform(0, 8)),
            gradient=float(rng.uniform(0, 0.5)),
            uneven=float(rng.uniform(0, 0.01)),
            line_share=float(rng.uniform(0.1, 0.35)),
            short_share=float(rng.uniform(0.4, 0.9)),
            bright=bool(rng.random() < 0.2),  # noqa: PLR2004 - one in five
            specks=int(rng.integers(0, 25)),
            tilt_blur_px=float(rng.uniform(0, min(2.0, 0.05 * pitch_px))),
        )
        try:
            scale = measure_scale(drawn.render(seed), pitch_um=10.0)
        except CalibrationError as error:
            refusals[re.sub(r"[\d.]+", "N", error.fault)] += 1
            continue
        true = 10.0 / pitch_px
        errors.append(abs(scale.um_per_px / true - 1))
        held.append(scale.low <= true <= scale.high)
        lines.append(scale.lines)
    print(
        f"\nscale of {rulings} drawn rulings: refused {refusals.total()}, error median "
        f"{np.median(errors):.3%}, p95 {np.quantile(errors, 0.95):.3%}, largest {max(errors):.3%}; "
        f"the 95% interval held {np.mean(held):.1%}"
    )
    for fewest, most in pairwise((4, 6, 9, 15, 30, 1000)):
        of = [number for number, each in enumerate(lines) if fewest <= each < most]
        if of:
            print(
                f"  {fewest} to {most - 1} lines, {len(of)} rulings: error median "
                f"{np.median([errors[number] for number in of]):.3%}, largest "
                f"{max(errors[number] for number in of):.3%}, "
                f"held {np.mean([held[number] for number in of]):.1%}"
            )
    for why, count in refusals.most_common():
        print(f"  refused {count}: {why}")


def print_distortion() -> None:
    """How far the scale that is told is off that in the middle, where optics distort."""
    print()
    for share in (0.0025, 0.005, 0.01, 0.02):
        told = []
        for seed, (pitch_px, angle_deg) in enumerate(((24.7, 10.0), (40.0, 62.0), (70.0, -33.0))):
            picture = distorted(Micrometer(pitch_px=pitch_px, angle_deg=angle_deg).render(seed), share)
            try:
                off = measure_scale(picture, pitch_um=10.0).um_per_px * pitch_px / 10.0 - 1
            except CalibrationError as error:
                told.append(f"refused ({error.fault})")
            else:
                told.append(f"{off:.2%}")
        print(f"distorted by {share:.2%} at the corners, scale off that in the middle: {'; '.join(told)}")


def print_answers(fields: int, data: Path) -> None:
    rng = np.random.default_rng(0)

    def drawn() -> Iterator[tuple[Pixels, Pixels]]:
        for seed in range(fields):
            light = _transmitted(seed)
            yield light, _seen(light, WHITE, rng.normal(0, 2, light.shape))

    def real() -> Iterator[tuple[Pixels, Pixels]]:
        files = sorted((data / "bccd" / "JPEGImages").glob("*.jpg"))
        for path in files[:: max(1, len(files) // fields)][:fields]:
            picture = read_image(path)
            yield picture, picture

    print_agreement("drawn fields, against the answers in even white light", drawn(), UM_PER_PX)
    print_agreement("fields of BCCD, against the answers to the pictures as they are", real(), None)


def print_agreement(title: str, scenes: Iterator[tuple[Pixels, Pixels]], um_per_px: float | None) -> None:
    """Of scenes (what light falls through, what the camera saw in good light) under each lamp."""
    rng = np.random.default_rng(1)
    correctors = {name: correction(lamp) for name, lamp in LAMPS.items()}
    same: dict[str, list[tuple[int, int, int, int]]] = {}
    with open_networks(open_bundle(starter_bundle()), threads=1) as networks:

        def answers(pixels: Pixels) -> Sequence[Cell]:
            return networks.analyzer.analyze(pixels, um_per_px=um_per_px)

        for light, well_lit in scenes:
            wanted, grain = answers(well_lit), rng.normal(0, 2, light.shape)
            shown = {"good light, other noise": _seen(light, WHITE, grain)}
            for name, lamp in LAMPS.items():
                shown[f"{name}, as it is"] = _seen(light, lamp, grain)
                shown[f"{name}, calibrated"] = correctors[name].apply_to_pixels(_seen(light, lamp, grain))
            for name, picture in shown.items():
                same.setdefault(name, []).append(_agreement(wanted, answers(picture)))
    print(f"\n{title}")
    for name, counts in same.items():
        objects, found, cells, named = np.sum(counts, axis=0)
        print(
            f"  {name:<34} {found / objects:6.1%} of {objects} objects found, "
            f"{named / max(cells, 1):6.1%} of {cells} white cells named alike"
        )


def _transmitted(seed: int) -> Pixels:
    slide = Conditions.everyday(np.random.default_rng(seed))
    plane = SmearPlane(seed=100 + seed, stain=slide.stain, population=slide.population)
    return plane.transmittance(
        x_px=0, y_px=0, width_px=WHITE.width_px, height_px=WHITE.height_px, um_per_px=UM_PER_PX
    )


def _seen(light: Pixels, lamp: EmptyGlass, grain: np.ndarray) -> Pixels:
    return np.asarray(np.clip(np.rint(light * lamp.light + grain), 0, 255), dtype=np.uint8)


def _agreement(wanted: Sequence[Cell], got: Sequence[Cell]) -> tuple[int, int, int, int]:
    """Objects, those found again, white cells, those named alike."""
    found = cells = named = 0
    for cell in wanted:
        there = [each for each in got if each.kind is cell.kind and _overlap(cell, each) > 0.5]  # noqa: PLR2004
        found += bool(there)
        if cell.naming is not None:
            cells += 1
            named += any(_reading(each) == _reading(cell) for each in there)
    return len(wanted), found, cells, named


def _reading(cell: Cell) -> str | None:
    return cell.naming.cell_class if cell.naming is not None and cell.naming.counts else None


def _overlap(one: Cell, other: Cell) -> float:
    ax0, ay0, ax1, ay1 = one.box_px
    bx0, by0, bx1, by1 = other.box_px
    shared = max(0.0, min(ax1, bx1) - max(ax0, bx0)) * max(0.0, min(ay1, by1) - max(ay0, by0))
    return shared / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared)


if __name__ == "__main__":
    main()
