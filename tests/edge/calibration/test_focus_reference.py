"""The sharpness that an objective can give, from sweeps through its focus."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.calibration.focus_reference import measure_focus_reference
from edge.errors import CalibrationError
from edge.frame import Pixels
from edge.vision.focus import sharpness
from edge.vision.reduction import reduce_frame


def sweep(smear: Pixels, heights: np.ndarray) -> list[Pixels]:
    """The smear at heights above the focus, blurred as far as each lies off it."""
    return [
        np.asarray(cv2.GaussianBlur(smear, (0, 0), max(0.3, abs(float(height)))), dtype=np.uint8)
        for height in heights
    ]


def test_the_reference_is_what_the_sharp_pictures_reach(smear: Pixels) -> None:
    reference = measure_focus_reference(sweep(smear, np.linspace(-6, 6, 41)))
    sharp = sharpness(reduce_frame(smear).fine_green)
    assert 0.85 * sharp < reference.sharpness <= sharp
    assert reference.blurred < 0.5 * sharp
    assert reference.pictures == 41


def test_two_passes_through_the_focus_tell_what_one_does(smear: Pixels) -> None:
    once, way = np.linspace(-6, 6, 31), np.linspace(6, -6, 31)
    one = measure_focus_reference(sweep(smear, once)).sharpness
    two = measure_focus_reference(sweep(smear, np.concatenate([once, way]))).sharpness
    assert two == pytest.approx(one, rel=0.05)


@pytest.mark.parametrize("heights", [np.linspace(0, 8, 30), np.linspace(8, 0, 30)])
def test_a_sweep_that_ends_in_focus_is_refused(smear: Pixels, heights: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match="the focus was not passed"):
        measure_focus_reference(sweep(smear, heights))


def test_a_sweep_that_stands_still_is_refused(smear: Pixels) -> None:
    with pytest.raises(CalibrationError, match="hardly changes"):
        measure_focus_reference(sweep(smear, np.full(20, 0.5)))


def test_empty_glass_has_no_focus_to_measure() -> None:
    empty = [np.full((480, 640, 3), 220, dtype=np.uint8)] * 20
    with pytest.raises(CalibrationError, match="Only 0 pictures"):
        measure_focus_reference(empty)
