import numpy as np
import pytest

from trainer.classical.features import pixel_features


def test_a_picture_becomes_a_row_of_its_numbers():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    rows = pixel_features(pixels, size_px=None)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, pixels.reshape(3, -1))


def test_a_shrunk_picture_keeps_the_mean_of_what_it_covers():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    rows = pixel_features(pixels, size_px=4).reshape(2, 4, 4, 3)
    means = pixels.reshape(2, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(rows, means, atol=0.51)


def test_a_picture_is_never_blown_up():
    with pytest.raises(ValueError, match="cannot be shrunk to 16 px"):
        pixel_features(np.zeros((1, 8, 8, 3), dtype=np.uint8), size_px=16)
