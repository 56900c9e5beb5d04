"""What the gates refuse: of real pictures in focus, and of the same ones spoiled.

    python benchmarks/gates.py [--every 1] [--data ../shared/data]

Each picture is judged alone, without the slide map. The focus is judged twice: by the absolute limit of a
station that was not calibrated, and as a share of a reference, the 90th percentile of the collection's own
sharpness, as ``leukoscope-edge calibrate focus`` would have found it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.analysis.gates import Gates, GateSettings, Reason, Refused
from edge.camera.image_file import read_image
from edge.frame import Frame, Pixels
from edge.vision.focus import sharpness
from edge.vision.reduction import reduce_frame

COLLECTIONS: Final = {
    "BCCD fields": "bccd/JPEGImages",
    "ALL (Aria) fields": "all_aria",
    "LMU myeloblasts": "pbc_aml/myeloblast",
    "LMU neutrophils": "pbc_aml/seg_neutrophil",
    "Barcelona monocytes": "pbc_aml/monocyte",
    "Barcelona basophils": "pbc_aml/basophil",
    "Barcelona erythroblasts": "pbc_aml/erythroblast",
}
FIELDS: Final = ("BCCD fields", "ALL (Aria) fields")
"""Fields; the others are single cells, on which no gate is meant to judge: they tell stain and colour."""

Spoil = Callable[[Pixels], Pixels]


def blurred(share: float) -> Spoil:
    """Blurred by a Gaussian whose standard deviation is so many thousandths of the picture's width."""
    return lambda pixels: np.asarray(
        cv2.GaussianBlur(pixels, (0, 0), share * pixels.shape[1] / 1000), dtype=np.uint8
    )


def lit(gain: float) -> Spoil:
    return lambda pixels: np.asarray(cv2.convertScaleAbs(pixels, alpha=gain), dtype=np.uint8)


def unstained(pixels: Pixels) -> Pixels:
    """What haemoglobin alone would absorb: blue most, red hardly, as much as the dye did in green."""
    density = -np.log10((pixels[..., 1:2].astype(np.float32) + 1) / 256)
    light = 235 * 10 ** (-density * np.array([0.1, 0.5, 1.2], dtype=np.float32))
    return np.asarray(np.clip(light, 0, 255), dtype=np.uint8)


def bare(pixels: Pixels) -> Pixels:
    """Glass in the picture's own background colour, with a camera's noise."""
    background = np.percentile(pixels.reshape(-1, 3), 90, axis=0)
    grain = np.random.default_rng(int(background.sum())).normal(0, 3, pixels.shape)
    return np.asarray(np.clip(np.minimum(background, 240) + grain, 0, 255), dtype=np.uint8)


SPOILED: Final[dict[str, tuple[Spoil, Reason]]] = {
    "blur of 3/1000 of the width": (blurred(3), Reason.OUT_OF_FOCUS),
    "blur of 5/1000": (blurred(5), Reason.OUT_OF_FOCUS),
    "blur of 8/1000": (blurred(8), Reason.OUT_OF_FOCUS),
    "blur of 12/1000": (blurred(12), Reason.OUT_OF_FOCUS),
    "lit 1.6 times": (lit(1.6), Reason.BADLY_EXPOSED),
    "lit 2.5 times": (lit(2.5), Reason.BADLY_EXPOSED),
    "lit 0.25 times": (lit(0.25), Reason.BADLY_EXPOSED),
    "unstained": (unstained, Reason.STRANGE_COLOUR),
    "green and blue exchanged": (
        lambda pixels: np.ascontiguousarray(pixels[..., (0, 2, 1)]),
        Reason.STRANGE_COLOUR,
    ),
    "bare glass": (bare, Reason.NO_SAMPLE),
}


def pictures(folder: Path, every: int) -> Iterator[Pixels]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".png", ".tiff"})
    yield from (read_image(path) for path in files[::every])


def verdict(pixels: Pixels, reference: float | None) -> str:
    frame = Frame(
        pixels=pixels,
        index=0,
        source="picture",
        captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        monotonic_s=0.0,
    )
    if reference is not None:
        frame = replace(frame, calibration="0" * 64)
    gates = Gates(GateSettings(), still_images=True, focus_reference=reference)
    judged = gates.judge(frame)
    return judged.reason.value if isinstance(judged, Refused) else "field"


def pair(first: Pixels, second: Pixels) -> str:
    """What the gates say of a second frame after a first, a tenth of a second apart."""
    frames = [
        Frame(
            pixels=pixels,
            index=index,
            source="picture",
            captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            monotonic_s=index / 10,
        )
        for index, pixels in enumerate((first, second))
    ]
    gates = Gates(GateSettings())
    gates.judge(frames[0])
    judged = gates.judge(frames[1])
    return judged.reason.value if isinstance(judged, Refused) else "field"


def print_motion(fields: list[Pixels]) -> None:
    """Frames at rest, with noise and flicker, and frames of a stage that moved by so many thousandths."""
    rng = np.random.default_rng(1)

    def taken(pixels: Pixels, *, gain: float = 1.0) -> Pixels:
        lit_pixels = pixels * gain + rng.normal(0, 4, pixels.shape)
        return np.asarray(np.clip(lit_pixels, 0, 255), dtype=np.uint8)

    rest = Counter(pair(taken(each), taken(each, gain=1.02)) for each in fields)
    told = [f"at rest (noise of 4 grey levels, flicker of 2%) {rest['moving'] / len(fields):.1%} refused"]
    for share in (3, 6, 12):
        moved = Counter(
            pair(taken(each), taken(np.roll(each, max(1, round(share * each.shape[1] / 1000)), axis=1)))
            for each in fields
        )
        told.append(f"moved {share}/1000 of the width {moved['moving'] / len(fields):.1%}")
    print(f"  as moving: {'; '.join(told)}")


def print_time(pixels: Pixels) -> None:
    taken_ms = []
    for _ in range(60):
        begun_s = time.perf_counter()
        verdict(pixels, None)
        taken_ms.append(1000 * (time.perf_counter() - begun_s))
    height_px, width_px = pixels.shape[:2]
    print(f"  a verdict on {width_px} x {height_px}: p50 {np.median(taken_ms):.1f} ms, one thread")


def main() -> None:
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture")
    parser.add_argument("--data", type=Path, default=None)
    options = parser.parse_args()
    home = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = options.data or Path(os.environ.get("LEUKOSCOPE_DATA", home))
    for name, folder in COLLECTIONS.items():
        shown = list(pictures(data / folder, options.every))
        if not shown:
            print(f"{name}: none at {data / folder}")
            continue
        sharp = [sharpness(reduce_frame(each).fine_green) for each in shown]
        reference = float(np.quantile(sharp, 0.9))
        print(
            f"\n{name}: {len(shown)} pictures, sharpness p5 {np.quantile(sharp, 0.05):.2f}, "
            f"median {np.median(sharp):.2f}, reference (p90) {reference:.2f}"
        )
        for limit, known in (("absolute limit", None), ("share of the reference", reference)):
            counts = Counter(verdict(each, known) for each in shown)
            refused = {key: f"{count / len(shown):.1%}" for key, count in counts.items() if key != "field"}
            print(f"  as they are, {limit}: refused {refused or 'none'}")
        if name not in FIELDS:
            continue
        fields = [each for each in shown if verdict(each, None) == "field"]
        print_motion(fields)
        print_time(fields[0])
        for spoiled, (spoil, meant) in SPOILED.items():
            told = []
            for known in (None, reference):
                counts = Counter(verdict(spoil(each), known) for each in fields)
                caught = 1 - counts["field"] / len(fields)
                told.append(
                    f"{caught:6.1%} refused, {counts[meant.value] / len(fields):6.1%} as {meant.value}"
                )
            print(f"  {spoiled:<30} {told[0]} | by the reference {told[1]}")


if __name__ == "__main__":
    main()
