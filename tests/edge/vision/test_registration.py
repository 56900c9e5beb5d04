"""Where one field lies on another, on drawn ground and on real frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.image_file import read_image
from edge.camera.virtual_slide import draw_field
from edge.frame import Pixels
from edge.vision.reduction import reduce_frame
from edge.vision.registration import Plate, Registration, might_agree, plate_of, register

WIDTH_PX, HEIGHT_PX = 640, 480


@pytest.fixture(scope="module")
def ground() -> Pixels:
    """A smear of four fields."""
    pixels, _ = draw_field(seed=5, width_px=2 * WIDTH_PX, height_px=2 * HEIGHT_PX, um_per_px=0.08)
    return pixels


def plate(ground: Pixels, x_px: int, y_px: int, *, seed: int | None = None) -> Plate:
    """A field of the ground; with ``seed``, filmed under another light, with noise and some blur."""
    cut = ground[y_px : y_px + HEIGHT_PX, x_px : x_px + WIDTH_PX]
    if seed is not None:
        rng = np.random.default_rng(seed)
        shade = np.linspace(0.85, 1.0, WIDTH_PX)[None, :, None]
        noisy = cut * shade * 0.95 + rng.normal(0, 4, cut.shape)
        cut = cv2.GaussianBlur(np.clip(noisy, 0, 255).astype(np.uint8), (0, 0), 1.2)
    return plate_of(reduce_frame(np.ascontiguousarray(cut)).fine_green)


@pytest.mark.parametrize(
    ("dx_px", "dy_px"),
    [(0, 0), (100, 0), (-100, 60), (320, 0), (0, 240), (-320, 240), (320, 240), (480, 0), (-530, 30)],
)
def test_the_shift_is_found_down_to_a_sixth_of_overlap(ground: Pixels, dx_px: int, dy_px: int) -> None:
    x_px, y_px = (0 if dx_px >= 0 else 560), 120
    found = register(plate(ground, x_px, y_px), plate(ground, x_px + dx_px, y_px + dy_px, seed=1))
    assert found is not None
    assert found.trusted, found
    assert found.shift[0] * WIDTH_PX == pytest.approx(dx_px, abs=7)
    assert found.shift[1] * HEIGHT_PX == pytest.approx(dy_px, abs=7)
    expected = (1 - abs(dx_px) / WIDTH_PX) * (1 - abs(dy_px) / HEIGHT_PX)
    assert found.overlap_share == pytest.approx(expected, abs=0.03)


def test_the_shift_is_told_to_a_part_of_a_thumbnails_pixel(ground: Pixels) -> None:
    # A pixel of a thumbnail is six of the frame's.
    for dx_px, dy_px in ((9, 3), (100, 50), (203, -60), (-157, 91)):
        found = register(plate(ground, 200, 120), plate(ground, 200 + dx_px, 120 + dy_px, seed=2))
        assert found is not None
        assert found.shift[0] * WIDTH_PX == pytest.approx(dx_px, abs=2)
        assert found.shift[1] * HEIGHT_PX == pytest.approx(dy_px, abs=2)


def test_near_a_known_shift_a_small_overlap_is_found_and_another_place_is_not(ground: Pixels) -> None:
    earlier, later = plate(ground, 0, 0), plate(ground, 500, 160, seed=4)
    near = (500 / WIDTH_PX + 0.05, 160 / HEIGHT_PX - 0.05)
    found = register(earlier, later, near=near, within=0.1)
    assert found is not None
    assert found.plausible, found
    assert found.shift[0] * WIDTH_PX == pytest.approx(500, abs=6)
    away = register(earlier, later, near=(0.4, -0.3), within=0.1)
    assert away is not None
    assert not away.plausible, away
    assert register(earlier, later, near=(1.4, 0.0), within=0.1) is None, "nothing overlaps there"


def test_two_places_are_not_taken_for_one() -> None:
    plates = [
        plate_of(
            reduce_frame(draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)[0]).fine_green
        )
        for seed in range(100, 108)
    ]
    for number, later in enumerate(plates):
        for earlier in plates[:number]:
            found = register(earlier, later)
            assert found is not None
            assert not found.trusted, found


def test_a_first_look_passes_over_no_picture_that_would_be_trusted_and_over_most_others(
    ground: Pixels,
) -> None:
    others = [
        plate_of(
            reduce_frame(draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)[0]).fine_green
        )
        for seed in range(100, 112)
    ]
    earlier, in_vain = plate(ground, 560, 120), 0
    for seed, (dx_px, dy_px) in enumerate(((0, 0), (60, 60), (-320, 0), (-320, 240), (-480, 0), (-530, 30))):
        later = plate(ground, 560 + dx_px, 120 + dy_px, seed=seed)
        found = register(earlier, later)
        assert found is not None
        assert found.trusted, found
        worth = might_agree([*others, earlier], later)
        assert worth[-1]
        in_vain += sum(worth[:-1])
    assert in_vain <= 6 * len(others) // 4, "a look that spares too little"
    assert might_agree([], earlier) == ()


def test_a_blank_picture_is_nowhere(ground: Pixels) -> None:
    grain = np.random.default_rng(0).normal(220, 2, (2, 240, 320)).astype(np.uint8)
    flat = np.full((240, 320), 200, dtype=np.uint8)
    blanks = [plate_of(grain[0]), plate_of(grain[1]), plate_of(flat)]
    for earlier in (*blanks, plate(ground, 0, 0)):
        for later in blanks:
            found = register(earlier, later)
            assert found is not None
            assert earlier is later or not found.trusted


def test_pictures_of_other_proportions_do_not_compare(ground: Pixels) -> None:
    square = plate_of(np.ascontiguousarray(reduce_frame(ground).fine_green[:, :240]))
    assert register(plate(ground, 0, 0), square) is None


@pytest.mark.data
def test_real_frames_that_show_one_place_are_found(data_dir: Path) -> None:
    def between(earlier: int, later: int) -> Registration | None:
        paths = (
            data_dir / "bccd" / "JPEGImages" / f"BloodImage_{number:05}.jpg" for number in (earlier, later)
        )
        first, second = (plate_of(reduce_frame(read_image(path)).fine_green) for path in paths)
        return register(first, second)

    # Seen to be one place when laid over each other by eye.
    for earlier, later, overlap in ((37, 38, 0.99), (107, 108, 0.29), (239, 240, 0.42), (384, 393, 0.60)):
        found = between(earlier, later)
        assert found is not None
        assert found.trusted, (earlier, later, found)
        assert found.overlap_share == pytest.approx(overlap, abs=0.03)
    for earlier, later in ((0, 1), (301, 302), (45, 64), (191, 217), (125, 191)):
        found = between(earlier, later)
        assert found is not None
        assert not found.trusted, (earlier, later, found)
