"""The flat field of empty glass in known light, and the pictures that tell none."""

from __future__ import annotations

from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from edge.calibration.calibration import Calibration, Correction
from edge.calibration.flat_field import measure_flat_field
from edge.calibration.testing import EmptyGlass
from edge.errors import CalibrationError
from edge.frame import Frame, Pixels

WARM = EmptyGlass(tint=(0.88, 0.76, 0.58), vignette=0.3, bright_at=(0.42, 0.55))


def glass(light: EmptyGlass = WARM, pictures: int = 5, first: int = 0) -> list[Pixels]:
    return [light.render(seed) for seed in range(first, first + pictures)]


def frame(pixels: Pixels) -> Frame:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Frame(pixels=pixels, index=0, source="drawn", captured_at=now, monotonic_s=0.0)


def correction(pictures: list[Pixels]) -> Correction:
    height_px, width_px = pictures[0].shape[:2]
    return Correction(
        Calibration(
            objective="100x",
            camera="drawn",
            width_px=width_px,
            height_px=height_px,
            changed_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            flat=measure_flat_field(pictures),
            digest="d" * 64,
        )
    )


def refusal(pictures: list[Pixels]) -> str:
    with pytest.raises(CalibrationError) as caught:
        measure_flat_field(pictures)
    assert caught.value.remedy
    return caught.value.fault


def test_empty_glass_becomes_even_and_neutral() -> None:
    corrected = correction(glass()).apply(frame(WARM.render(99))).pixels
    tiles = cv2.resize(corrected, (8, 6), interpolation=cv2.INTER_AREA).astype(np.float64)
    assert tiles.max() / tiles.min() < 1.015
    before = cv2.resize(WARM.render(99), (8, 6), interpolation=cv2.INTER_AREA).astype(np.float64)
    assert before.max() / before.min() > 1.8


def test_the_white_gains_are_those_of_the_light() -> None:
    flat = measure_flat_field(glass())
    red, green, blue = flat.white_gains
    assert red == pytest.approx(1, abs=0.02)
    assert green == pytest.approx(0.88 / 0.76, rel=0.02)
    assert blue == pytest.approx(0.88 / 0.58, rel=0.02)
    assert flat.vignetting == pytest.approx(WARM.darkest_loss, abs=0.04)
    assert flat.gains.min() == pytest.approx(1, abs=1e-3), "nothing that was measured is thrown away"


def test_a_speck_at_one_place_leaves_no_trace() -> None:
    clean = glass()
    dirty = [picture.copy() for picture in clean]
    for number, picture in enumerate(dirty):
        cv2.circle(picture, (100 + 90 * number, 200), 14, (90, 90, 90), -1)
    gains, others = measure_flat_field(clean).gains, measure_flat_field(dirty).gains
    assert float(np.abs(others / gains - 1).max()) < 0.02


def test_the_frame_itself_is_left_alone_and_the_correction_is_told() -> None:
    raw = frame(WARM.render(7))
    before = raw.pixels.copy()
    corrected = correction(glass()).apply(raw)
    assert np.array_equal(raw.pixels, before)
    assert raw.calibration is None
    assert corrected.calibration == "d" * 64
    assert corrected.pixels.dtype == np.uint8
    assert corrected.pixels.flags["C_CONTIGUOUS"]


def test_a_frame_of_another_size_is_refused() -> None:
    small = np.full((240, 320, 3), 200, dtype=np.uint8)
    with pytest.raises(CalibrationError, match="320 x 240"):
        correction(glass()).apply(frame(small))


def test_white_is_cut_off_and_does_not_wrap_around() -> None:
    white = np.full((480, 640, 3), 250, dtype=np.uint8)
    assert correction(glass()).apply(frame(white)).pixels.min() >= 249


def test_two_pictures_are_too_few() -> None:
    assert "too few" in refusal(glass(pictures=2))


def test_pictures_of_two_sizes_are_refused() -> None:
    assert "size" in refusal([*glass(pictures=3), np.full((240, 320, 3), 200, dtype=np.uint8)])


def test_clipped_glass_is_refused_by_its_colour() -> None:
    assert "clipped in red" in refusal(glass(EmptyGlass(tint=(1.05, 0.8, 0.8))))


def test_dark_glass_is_refused() -> None:
    assert "dark in blue" in refusal(glass(EmptyGlass(tint=(0.8, 0.7, 0.18))))


def test_a_stained_place_is_refused_by_its_number(smear: Pixels) -> None:
    assert "Picture 4" in refusal([*glass(EmptyGlass(), pictures=3), smear])


def test_a_lamp_that_changes_is_refused() -> None:
    dimmer = EmptyGlass(tint=(0.88 * 0.9, 0.76 * 0.9, 0.58 * 0.9), vignette=0.3, bright_at=(0.42, 0.55))
    assert "The light changed: picture 5" in refusal([*glass(pictures=4), dimmer.render(9)])


def test_a_condenser_that_is_moved_is_refused() -> None:
    moved = EmptyGlass(tint=(0.88, 0.76, 0.58), vignette=0.3, bright_at=(0.8, 0.2))
    assert "lit otherwise" in refusal([*glass(pictures=4), moved.render(9)])


def test_a_corner_without_light_is_refused() -> None:
    assert "less than a third" in refusal(glass(EmptyGlass(tint=(0.95, 0.95, 0.95), vignette=0.78)))
