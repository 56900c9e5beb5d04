import numpy as np
import pytest
from numpy.testing import assert_array_equal

from trainer.augment import optics

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
GREY = np.full((48, 64, 3), 128, dtype=np.uint8)


def test_neutral_tone_changes_nothing():
    assert_array_equal(optics.tone(PIXELS, gains=(1, 1, 1), gamma=1), PIXELS)


def test_gains_act_on_their_own_channel():
    redder = optics.tone(GREY, gains=(1.5, 1, 1), gamma=1)
    assert redder[0, 0].tolist() == [192, 128, 128]


def test_full_grey_has_equal_channels():
    grey = optics.grey(PIXELS, share=1)
    assert np.ptp(grey.astype(int), axis=2).max() <= 1


def test_vignette_darkens_the_corners_and_not_the_center():
    dark = optics.vignette(GREY, darkening=0.4)
    assert dark[24, 32, 0] == 128
    assert dark[0, 0, 0] == pytest.approx(128 * 0.6, abs=2)


def test_blur_and_rescale_lose_detail_and_sharpening_adds_it():
    def detail(pixels):
        return float(np.abs(np.diff(pixels.astype(int), axis=1)).mean())

    soft = optics.blur(PIXELS, sigma_px=1.5)
    assert detail(soft) < detail(PIXELS) / 2
    assert detail(optics.rescale(PIXELS, factor=0.5)) < detail(PIXELS)
    assert detail(optics.sharpen(soft, sigma_px=1.5, amount=1)) > detail(soft)


def test_motion_blurs_along_its_direction_only():
    bar = np.zeros((31, 31, 3), dtype=np.uint8)
    bar[15] = 255
    along = optics.motion_blur(bar, length_px=9, angle_rad=0.0)
    across = optics.motion_blur(bar, length_px=9, angle_rad=np.pi / 2)
    assert_array_equal(along, bar)
    assert across[15].max() < 60


def test_noise_has_the_stated_deviation():
    noisy = optics.noise(GREY, np.random.default_rng(0), deviation=5)
    assert noisy.astype(float).std() == pytest.approx(5, rel=0.1)
    assert noisy.mean() == pytest.approx(128, abs=0.5)


def test_jpeg_of_low_quality_is_worse():
    def loss(quality):
        return np.abs(optics.jpeg(PIXELS, quality=quality).astype(int) - PIXELS).mean()

    assert loss(20) > loss(90)
