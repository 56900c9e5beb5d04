"""Generated fields beside real ones: the dyes' densities of training fields must lie where real ones lie."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.virtual_slide import draw_field
from edge.contract.taxonomy import ObjectKind

FRAMES = 24
OBJECT = re.compile(
    r"<object>.*?<name>(\w+)</name>.*?<xmin>(\d+)</xmin>\s*<ymin>(\d+)</ymin>"
    r"\s*<xmax>(\d+)</xmax>\s*<ymax>(\d+)</ymax>.*?</object>",
    re.DOTALL,
)
KINDS = {"WBC": ObjectKind.WBC, "RBC": ObjectKind.RBC, "Platelets": ObjectKind.PLATELET}


def labelled(label: Path) -> list[tuple[ObjectKind, tuple[int, ...]]]:
    return [
        (KINDS[name], tuple(int(corner) for corner in corners))
        for name, *corners in OBJECT.findall(label.read_text())
    ]


def density(pixels, box_px) -> np.ndarray:
    """Optical density of the middle of a box against the clear glass of the same picture."""
    glass = np.percentile(pixels.reshape(-1, 3), 97, axis=0)
    x0, y0, x1, y1 = (int(value) for value in box_px)
    in_x, in_y = (x1 - x0) // 4, (y1 - y0) // 4
    middle = pixels[y0 + in_y : y1 - in_y, x0 + in_x : x1 - in_x].reshape(-1, 3)
    return -np.log10(np.maximum(np.median(middle, axis=0), 1) / glass)


def real_densities(folder: Path) -> dict[ObjectKind, np.ndarray]:
    found = defaultdict(list)
    labels = sorted(folder.rglob("*.xml"))
    for label in labels[:: max(len(labels) // FRAMES, 1)]:
        picture = next(folder.rglob(f"{label.stem}.jpg"), None)
        if picture is None:
            continue
        pixels = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
        for kind, corners in labelled(label):
            if corners[2] - corners[0] > 12 and corners[3] - corners[1] > 12:
                found[kind].append(density(pixels, corners))
    return {kind: np.array(values) for kind, values in found.items()}


def drawn_densities() -> dict[ObjectKind, np.ndarray]:
    found = defaultdict(list)
    for seed in range(FRAMES):
        pixels, placed = draw_field(seed=seed, um_per_px=0.16, width_px=320, height_px=240)
        for each in placed:
            if each.visible > 0.6:
                found[each.object.kind].append(density(pixels, each.box_px))
    return {kind: np.array(values) for kind, values in found.items()}


@pytest.mark.data
def test_generated_densities_and_real_ones_span_each_other(data_dir):
    real, drawn = real_densities(data_dir / "bccd"), drawn_densities()
    for kind in ObjectKind:
        assert len(real[kind]) >= 15
        assert len(drawn[kind]) >= 15
        low, high = np.percentile(drawn[kind], (5, 95), axis=0)
        typical = np.median(real[kind], axis=0)
        # The real frames are of one laboratory: the drawn ones, of many, must include it.
        assert np.all(typical > low - 0.05), f"{kind}: real {typical}, drawn from {low}"
        assert np.all(typical < high), f"{kind}: real {typical}, drawn up to {high}"


@pytest.mark.data
def test_generated_red_cells_have_the_size_of_real_ones(data_dir):
    """The frames hold no scale; red cells of both must agree where 0.08 um is taken for a pixel."""
    sides_px = []
    for label in sorted((data_dir / "bccd").rglob("*.xml"))[::8]:
        sides_px += [box[2] - box[0] for kind, box in labelled(label) if kind is ObjectKind.RBC]
    drawn_px = [
        each.box_px[2] - each.box_px[0]
        for seed in range(4)
        for each in draw_field(seed=seed)[1]
        if each.visible == 1 and each.object.kind is ObjectKind.RBC
    ]
    assert np.median(drawn_px) == pytest.approx(np.median(sides_px), rel=0.15)
