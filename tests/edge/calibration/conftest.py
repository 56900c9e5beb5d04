"""A smear for every test of this room."""

import pytest

from edge.camera.virtual_slide import draw_field
from edge.frame import Pixels


@pytest.fixture(scope="session")
def smear() -> Pixels:
    pixels, _ = draw_field(seed=11, width_px=640, height_px=480, um_per_px=0.08)
    return pixels
