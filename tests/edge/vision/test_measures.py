"""Each measure tells its own fault and is deaf to the others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.camera.virtual_slide import draw_field
from edge.frame import Pixels
from edge.vision.exposure import measure_exposure
from edge.vision.focus import sharpness
from edge.vision.motion import mean_difference
from edge.vision.reduction import reduce_frame
from edge.vision.stain import measure_stain, stained_share

EMPTY = (235, 226, 230)


@pytest.fixture(scope="module")
def smear() -> Pixels:
    pixels, _ = draw_field(seed=11, width_px=640, height_px=480, um_per_px=0.08)
    return pixels


def empty(noise: float = 4.0, vignette: float = 0.25) -> Pixels:
    rows, columns = np.mgrid[0:480, 0:640]
    light = 1 - vignette * (((columns - 320) / 320) ** 2 + ((rows - 240) / 320) ** 2) / 2
    grain = np.random.default_rng(3).normal(0, noise, (480, 640, 3))
    return np.clip(np.array(EMPTY) * light[..., None] + grain, 0, 255).astype(np.uint8)


def focus_of(pixels: Pixels) -> float:
    return sharpness(reduce_frame(pixels).fine_green)


def stain_of(pixels: Pixels) -> float:
    return stained_share(reduce_frame(pixels).rgb)


def blurred(pixels: Pixels, sigma_px: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma_px), dtype=np.uint8)


def test_focus_falls_with_every_step_of_blur(smear: Pixels) -> None:
    steps = [focus_of(smear)] + [focus_of(blurred(smear, sigma)) for sigma in (2, 3, 4, 6, 9)]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < steps[0] / 4


def test_focus_does_not_ask_how_much_there_is_to_see(smear: Pixels) -> None:
    sharp = focus_of(smear)
    paler = (smear.astype(np.float32) * 0.4 + 130).astype(np.uint8)
    assert focus_of(paler) == pytest.approx(sharp, rel=0.15)
    sparse = np.full_like(smear, 230)
    sparse[:240, :320] = smear[:240, :320]
    assert focus_of(sparse) == pytest.approx(sharp, rel=0.35)


def test_noise_does_not_make_a_blurred_frame_sharp(smear: Pixels) -> None:
    soft = blurred(smear, 6)
    grain = np.random.default_rng(1).normal(0, 5, smear.shape)
    noisy = np.clip(soft + grain, 0, 255).astype(np.uint8)
    assert focus_of(noisy) < focus_of(smear) / 2


def test_a_blank_picture_has_no_focus() -> None:
    assert focus_of(np.full((480, 640, 3), 200, dtype=np.uint8)) == 0.0


def test_stain_is_there_or_not(smear: Pixels) -> None:
    assert stain_of(smear) > 0.15
    assert stain_of(empty()) < 0.005
    assert stain_of(empty(noise=8, vignette=0.5)) < 0.005


def test_stain_is_deaf_to_light_and_blur(smear: Pixels) -> None:
    share = stain_of(smear)
    assert stain_of(blurred(smear, 12)) > 0.5 * share
    assert stain_of((smear * 0.6).astype(np.uint8)) == pytest.approx(share, abs=0.08)


def test_darkness_is_not_dye() -> None:
    dark = np.clip(np.random.default_rng(2).normal(2, 2, (480, 640, 3)), 0, 255).astype(np.uint8)
    assert stain_of(dark) < 0.02


def test_one_cell_is_enough_stain() -> None:
    field = empty()
    cv2.circle(field, (320, 240), 75, (150, 100, 170), -1)
    assert 0.03 < stain_of(field) < 0.1


def test_the_stains_colour_is_that_of_the_dye_whatever_the_lamp_and_the_depth(smear: Pixels) -> None:
    stain = measure_stain(reduce_frame(smear).rgb)
    assert stain.share == stained_share(reduce_frame(smear).rgb)
    warm = measure_stain(reduce_frame((smear * np.array([0.95, 0.8, 0.6])).astype(np.uint8)).rgb)
    assert warm.hue_deg == pytest.approx(stain.hue_deg, abs=8)
    assert warm.saturation == pytest.approx(stain.saturation, rel=0.15)


@pytest.mark.parametrize(
    ("density", "hue_deg"), [((0.05, 0.6, 0.05), 120), ((0.05, 0.6, 0.6), 180), ((0.55, 0.6, 0.05), 60)]
)
def test_hue_is_told_by_what_is_absorbed(density: tuple[float, float, float], hue_deg: float) -> None:
    field = empty(noise=1.0, vignette=0.0)
    dyed = (np.array(EMPTY) * 10 ** -np.array(density)).astype(np.uint8)
    cv2.circle(field, (320, 240), 90, dyed.tolist(), -1)
    stain = measure_stain(reduce_frame(field).rgb)
    assert stain.hue_deg == pytest.approx(hue_deg, abs=12)
    assert stain.saturation > 0.4


def test_where_nothing_is_stained_there_is_no_colour() -> None:
    grey = measure_stain(np.full((120, 160, 3), 200, dtype=np.uint8))
    assert grey.share == 0
    assert np.isnan(grey.hue_deg)
    assert np.isnan(grey.saturation)


def test_exposure_counts_clipped_pixels_and_not_means() -> None:
    pixels = np.full((480, 640, 3), 128, dtype=np.uint8)
    pixels[:, ::2] = 255
    pixels[:, 1::8] = 0
    light = measure_exposure(pixels)
    assert light.white_share == pytest.approx(0.5)
    assert light.black_share == pytest.approx(0.125)
    assert light.mean == pytest.approx(128 * 0.375 + 127.5)


def test_exposure_of_a_good_field(smear: Pixels) -> None:
    light = measure_exposure(reduce_frame(smear).samples)
    assert light.black_share < 0.01
    assert 80 < light.mean < 240


def test_motion_is_change_and_not_noise_or_flicker(smear: Pixels) -> None:
    rng = np.random.default_rng(4)

    def film(pixels: Pixels, *, gain: float = 1.0) -> np.ndarray:
        noisy = np.clip(pixels * gain + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
        return reduce_frame(noisy).coarse_green

    rest = mean_difference(film(smear), film(smear))
    flicker = mean_difference(film(smear), film(smear, gain=1.03))
    moved = mean_difference(film(smear), film(np.roll(smear, 8, axis=1)))
    assert rest < 1.2
    assert flicker < 2
    assert moved > 3 * max(rest, flicker)


def test_frames_of_two_sizes_are_not_still() -> None:
    small, large = np.zeros((10, 10), dtype=np.uint8), np.zeros((20, 10), dtype=np.uint8)
    assert mean_difference(small, large) == float("inf")


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (64, 64), (1, 1), (300, 4000)])
def test_every_size_is_reduced(size: tuple[int, int]) -> None:
    reduction = reduce_frame(np.full((*size, 3), 90, dtype=np.uint8))
    assert reduction.fine_green.shape[1] == min(size[1], 320)
    assert reduction.coarse_green.shape == reduction.rgb.shape[:2]
    assert reduction.coarse_green.shape[1] == min(size[1], 160)
    assert (reduction.rgb == 90).all()
