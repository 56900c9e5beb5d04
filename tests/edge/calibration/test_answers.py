"""Under a bad lamp, calibrated frames get the answers that even white light would have given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np

from edge.analysis.cells import Cell
from edge.bundle import open_bundle, starter_bundle
from edge.calibration.calibration import Calibration, Correction
from edge.calibration.flat_field import measure_flat_field
from edge.calibration.testing import EmptyGlass
from edge.camera.virtual_slide import Conditions, SmearPlane
from edge.frame import Pixels
from edge.networks import open_networks

WHITE = EmptyGlass(tint=(0.9, 0.9, 0.9), vignette=0.0)
BAD = EmptyGlass(tint=(0.92, 0.8, 0.6), vignette=0.24, bright_at=(0.4, 0.55))
FIELDS = 4


def found_again(wanted: Sequence[Cell], got: Sequence[Cell]) -> int:
    """How many objects are of the same kind within a fifth of a cell's place, and white cells of one name."""

    def same(one: Cell, other: Cell) -> bool:
        near = np.hypot(*np.subtract(one.centre_px, other.centre_px)) < 0.2 * (one.box_px[2] - one.box_px[0])
        named = one.naming is None or (
            other.naming is not None and one.naming.cell_class == other.naming.cell_class
        )
        return bool(near) and one.kind is other.kind and named

    return sum(any(same(cell, other) for other in got) for cell in wanted)


def test_detector_and_classifier_answer_as_in_even_white_light() -> None:
    correct = Correction(
        Calibration(
            objective="100x",
            camera="drawn",
            width_px=640,
            height_px=480,
            changed_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            flat=measure_flat_field([BAD.render(seed) for seed in range(5)]),
        )
    ).apply_to_pixels
    rng = np.random.default_rng(1)

    def seen(light: Pixels, lamp: EmptyGlass) -> Pixels:
        grain = rng.normal(0, 2, light.shape)
        return np.clip(np.rint(light * lamp.light + grain), 0, 255).astype(np.uint8)

    objects = calibrated = as_it_is = 0
    with open_networks(open_bundle(starter_bundle()), threads=1) as networks:
        for seed in range(FIELDS):
            slide = Conditions.everyday(np.random.default_rng(seed))
            plane = SmearPlane(seed=100 + seed, stain=slide.stain, population=slide.population)
            light = plane.transmittance(x_px=0, y_px=0, width_px=640, height_px=480, um_per_px=0.08)
            wanted = networks.analyzer.analyze(seen(light, WHITE), um_per_px=0.08)
            raw = seen(light, BAD)
            objects += len(wanted)
            as_it_is += found_again(wanted, networks.analyzer.analyze(raw, um_per_px=0.08))
            calibrated += found_again(wanted, networks.analyzer.analyze(correct(raw), um_per_px=0.08))
    assert objects > 80
    assert calibrated >= 0.98 * objects
    assert calibrated > as_it_is
