"""The trend of the focus, on measures made up and on a smear that is brought into focus."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.analysis.focus_trend import FocusWatch
from edge.camera.virtual_slide import draw_field
from edge.vision.focus import sharpness
from edge.vision.reduction import reduce_frame


def watched(measures: list[float], *, every_s: float = 0.1) -> FocusWatch:
    watch = FocusWatch()
    for number, measure in enumerate(measures):
        watch.see(number * every_s, measure)
    return watch


def test_rising_sharpness_improves_and_falling_worsens() -> None:
    rising = [0.1, 0.13, 0.17, 0.2, 0.24]
    assert watched(rising).trend == "improving"
    assert watched(rising[::-1]).trend == "worsening"


def test_an_untouched_focus_is_steady_in_spite_of_noise() -> None:
    rng = np.random.default_rng(1)
    assert watched(list(0.5 + rng.normal(0, 0.01, 14))).trend == "steady"


def test_one_odd_picture_does_not_turn_it() -> None:
    assert watched([0.2, 0.22, 0.24, 0.02, 0.28, 0.3, 0.32]).trend == "improving"


def test_past_the_focus_it_soon_worsens() -> None:
    way_up, way_down = list(np.linspace(0.2, 0.6, 15)), list(np.linspace(0.6, 0.3, 15))
    assert watched(way_up + way_down).trend == "worsening"


def test_little_says_nothing_and_neither_does_what_is_long_ago() -> None:
    assert watched([0.1, 0.2, 0.3]).trend is None
    watch = watched([0.1, 0.2, 0.3, 0.4])
    watch.see(5.0, 0.5)
    assert watch.trend is None, "a camera that was away begins anew"
    watch = watched([0.1, 0.2, 0.3, 0.4])
    watch.forget()
    assert watch.trend is None


@pytest.mark.parametrize(("begin_px", "end_px", "trend"), [(7, 1, "improving"), (1, 7, "worsening")])
def test_a_turn_of_the_focus_over_a_smear_is_followed(begin_px: float, end_px: float, trend: str) -> None:
    smear, _ = draw_field(seed=11, width_px=640, height_px=480, um_per_px=0.08)
    turn = [cv2.GaussianBlur(smear, (0, 0), sigma) for sigma in np.linspace(begin_px, end_px, 12)]
    measures = [sharpness(reduce_frame(np.asarray(each)).fine_green) for each in turn]
    assert watched(measures).trend == trend
