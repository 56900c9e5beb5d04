import cv2
import numpy as np
import pytest

from edge.vision.central_cell import central_cell_box, central_cell_mask

GLASS, RED_CELL, CYTOPLASM, NUCLEUS = (238, 232, 228), (214, 160, 158), (205, 190, 222), (90, 50, 140)


def smear() -> np.ndarray:
    """A white cell of radius 40 in the middle with a nucleus, two red cells, a nucleus in a corner."""
    pixels = np.full((200, 240, 3), GLASS, dtype=np.uint8)
    for center in ((40, 60), (200, 150)):
        cv2.circle(pixels, center, 28, RED_CELL, -1)
    cv2.circle(pixels, (120, 100), 40, CYTOPLASM, -1)
    cv2.circle(pixels, (112, 96), 26, NUCLEUS, -1)
    cv2.circle(pixels, (222, 20), 14, NUCLEUS, -1)
    return pixels


def test_boxes_the_whole_central_cell():
    found = central_cell_box(smear())
    assert found is not None
    assert np.abs(np.array(found) - (80, 60, 161, 141)).max() <= 6


def test_the_mask_leaves_red_cells_out():
    mask = central_cell_mask(smear())
    assert mask is not None
    assert mask[100, 120]
    assert not mask[60, 40]
    assert not mask[150, 200]


@pytest.mark.parametrize(
    "pixels", [np.full((90, 90, 3), 235, dtype=np.uint8), np.zeros((90, 90, 3), np.uint8)]
)
def test_nothing_is_found_in_an_empty_picture(pixels):
    assert central_cell_box(pixels) is None


def test_red_cells_alone_are_no_white_cell():
    pixels = np.full((200, 200, 3), GLASS, dtype=np.uint8)
    for center in ((50, 50), (100, 100), (150, 60)):
        cv2.circle(pixels, center, 28, RED_CELL, -1)
    assert central_cell_box(pixels) is None


def test_a_cell_cut_out_on_black_is_what_is_lit():
    pixels = np.zeros((200, 200, 3), dtype=np.uint8)
    cv2.ellipse(pixels, (100, 90), (50, 35), 0, 0, 360, (80, 40, 90), -1)
    found = central_cell_box(pixels)
    assert found is not None
    assert np.abs(np.array(found) - (50, 55, 151, 126)).max() <= 4


def test_works_at_any_resolution():
    small, large = smear(), cv2.resize(smear(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    one, three = central_cell_box(small), central_cell_box(large)
    assert one is not None
    assert three is not None
    assert np.abs(np.array(three) / 3 - one).max() <= 3
