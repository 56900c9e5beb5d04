"""Landmarks: the same points and words of the same ground, others elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from edge.camera.virtual_slide import Conditions, draw_field
from edge.frame import Pixels
from edge.slide_map.recognition import Recognition
from edge.vision.landmarks import WORD_BITS, WORDS, Landmarks, landmarks_of
from edge.vision.reduction import reduce_frame


@pytest.fixture(scope="module")
def ground() -> Pixels:
    pixels, _ = draw_field(seed=6, width_px=1280, height_px=960, um_per_px=0.16, conditions=Conditions())
    return pixels


def landmarks(ground: Pixels, x_px: int, y_px: int, *, noise: float = 0.0) -> Landmarks:
    cut = ground[y_px : y_px + 240, x_px : x_px + 320]
    grain = np.random.default_rng(x_px + y_px).normal(0, noise, cut.shape) if noise else 0.0
    return landmarks_of(reduce_frame(np.clip(cut + grain, 0, 255).astype(np.uint8)).coarse_green)


def test_they_lie_in_the_picture_and_their_words_in_the_tables(ground: Pixels) -> None:
    found = landmarks(ground, 0, 0)
    assert 50 <= len(found.points) <= 100
    assert found.words.shape == (len(found.points), WORDS)
    assert found.points.min() > 0
    assert found.points[:, 0].max() < 1
    assert found.points[:, 1].max() < 0.75
    assert found.words.min() >= 0
    assert found.words.max() < 1 << WORD_BITS
    assert len(np.unique(found.words[:, 0])) > 40


def test_a_blank_picture_has_none() -> None:
    assert len(landmarks_of(np.full((120, 160), 200, dtype=np.uint8)).points) == 0


def test_ground_is_recognised_at_its_shift_among_other_ground(ground: Pixels) -> None:
    index = Recognition()
    places = [(x, y) for y in range(0, 721, 240) for x in range(0, 961, 320)]
    for field, place in enumerate(places):
        index.add(field, landmarks(ground, *place, noise=4))
    for x_px, y_px in places:
        dx, dy = (100 if x_px < 960 else -100), (40 if y_px < 720 else -40)
        best = index.candidates(landmarks(ground, x_px + dx, y_px + dy, noise=4), known=lambda _: True)[0]
        # A neighbour of that field may show as much of it; the place told is the same.
        told = (places[best.field][0] + 320 * best.shift[0], places[best.field][1] + 320 * best.shift[1])
        assert told == pytest.approx((x_px + dx, y_px + dy), abs=6)
        assert best.agreeing > 5


def test_what_is_not_known_any_more_is_not_told(ground: Pixels) -> None:
    index = Recognition()
    index.add(3, landmarks(ground, 0, 0))
    same = landmarks(ground, 0, 0)
    assert [each.field for each in index.candidates(same, known=lambda _: True)] == [3]
    assert index.candidates(same, known=lambda field: field != 3) == ()
    assert index.candidates(landmarks_of(np.zeros((90, 120), dtype=np.uint8)), known=lambda _: True) == ()


def test_other_ground_makes_way_but_the_latest_is_known(ground: Pixels) -> None:
    # The slots under a word are few: the same place again and again pushes out its own older selves.
    index = Recognition()
    for field in range(40):
        index.add(field, landmarks(ground, 0, 0))
    found = {each.field for each in index.candidates(landmarks(ground, 0, 0), known=lambda _: True)}
    assert 39 in found
    assert 0 not in found
