"""Mistakes as pictures."""

import base64

import cv2
import numpy as np
import pytest

from trainer.report.gallery import SHOWN_PX, shown_mistakes
from trainer.report.mistakes import Wrong

CHOSEN = (
    Wrong(index=2, true=0, named=1, confidence=0.98),
    Wrong(index=0, true=1, named=0, confidence=0.7),
)
NAMES = ("slide/b.png", "slide/c.png", "caf\udce9/a.png")


def decoded(jpeg: str) -> np.ndarray:
    coded = np.frombuffer(base64.b64decode(jpeg), dtype=np.uint8)
    return cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("size_px", [32, 192, 450])
def test_pictures_keep_their_colours_and_come_small(size_px: int) -> None:
    pictures = np.zeros((2, size_px, size_px, 3), dtype=np.uint8)
    pictures[0, ...] = (120, 50, 160)
    pictures[1, :, size_px // 2 :] = (230, 200, 210)
    first, second = shown_mistakes(
        CHOSEN, classes=("blast", "normal"), names=NAMES, pictures=pictures, maps=None
    )
    assert decoded(first.picture).shape == (SHOWN_PX, SHOWN_PX, 3)
    np.testing.assert_allclose(decoded(first.picture)[96, 96], (120, 50, 160), atol=3)
    np.testing.assert_allclose(decoded(second.picture)[96, 150], (230, 200, 210), atol=3)
    assert decoded(second.picture)[96, 40].max() < 5
    assert (first.true, first.named, first.confidence) == ("blast", "normal", 0.98)
    assert second.name == "slide/b.png"
    assert first.saliency is None
    assert len(first.picture) < 40_000


def test_a_file_name_that_is_no_text_is_written_out() -> None:
    pictures = np.zeros((2, 32, 32, 3), dtype=np.uint8)
    first, _ = shown_mistakes(CHOSEN, classes=("blast", "normal"), names=NAMES, pictures=pictures, maps=None)
    assert first.name == r"caf\xe9/a.png"


def test_where_the_network_looked_stays_in_colour_and_the_rest_turns_grey() -> None:
    pictures = np.full((2, 64, 64, 3), (150, 60, 170), dtype=np.uint8)
    maps = np.zeros((2, 64, 64), dtype=np.float32)
    maps[0, :, :32] = 1
    first, second = shown_mistakes(
        CHOSEN, classes=("blast", "normal"), names=NAMES, pictures=pictures, maps=maps
    )
    assert first.saliency is not None
    assert second.saliency is not None
    np.testing.assert_allclose(decoded(first.saliency)[96, 40], (150, 60, 170), atol=6)
    assert np.ptp(decoded(first.saliency)[96, 150].astype(int)) < 6
    assert np.ptp(decoded(second.saliency)[96, 40].astype(int)) < 6


def test_pictures_that_do_not_belong_to_the_chosen_are_refused() -> None:
    with pytest.raises(ValueError, match="1 pictures for 2 mistakes"):
        shown_mistakes(
            CHOSEN,
            classes=("a", "b"),
            names=NAMES,
            pictures=np.zeros((1, 8, 8, 3), dtype=np.uint8),
            maps=None,
        )
