import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from trainer.augment import stain

AZURE, EOSIN = (np.array(each) / np.linalg.norm(each) for each in stain.ROMANOWSKY)


def smear(*, azure: float, eosin: float, seed: int = 0) -> stain.Pixels:
    """Glass with a disc of eosin and a smaller one of azure, of the given strengths."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    amounts = np.zeros((96, 96, 2))
    amounts[(x - 48) ** 2 + (y - 48) ** 2 < 40**2, 1] = eosin
    amounts[(x - 48) ** 2 + (y - 48) ** 2 < 22**2] = (azure, 0)
    amounts *= rng.uniform(0.7, 1, (96, 96, 1))
    density = amounts @ np.vstack([AZURE, EOSIN])
    return stain.from_optical_density(density.astype(np.float32))


def test_optical_density_and_back_is_the_same_picture():
    pixels = np.random.default_rng(1).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    back = stain.from_optical_density(stain.optical_density(pixels))
    assert np.abs(back.astype(int) - pixels).max() <= 1


def test_full_white_has_no_density():
    assert_array_equal(stain.optical_density(np.full((2, 2, 3), 255, dtype=np.uint8)), 0)


def test_measures_the_two_stains_of_a_smear():
    found = stain.measure_stain(smear(azure=1.0, eosin=0.5))
    assert found.vectors[0] @ AZURE > 0.98
    assert found.vectors[1] @ EOSIN > 0.98
    assert found.vectors[0][0] > found.vectors[1][0], "azure, which absorbs red, comes first"


def test_transfer_takes_on_the_strength_of_the_target():
    pale, strong = smear(azure=0.5, eosin=0.3), smear(azure=1.1, eosin=0.6, seed=1)
    moved = stain.transfer_stain(pale, source=stain.measure_stain(pale), target=stain.measure_stain(strong))
    nucleus = (slice(40, 56), slice(40, 56))
    before, after, wanted = (float(each[nucleus].mean()) for each in (pale, moved, strong))
    assert abs(after - wanted) < 0.25 * abs(before - wanted)


def test_transfer_to_itself_changes_nothing():
    pixels = smear(azure=0.8, eosin=0.4)
    own = stain.measure_stain(pixels)
    assert np.abs(stain.transfer_stain(pixels, source=own, target=own).astype(int) - pixels).max() <= 2


def test_lab_transfer_reaches_the_target_statistics():
    pale, strong = smear(azure=0.5, eosin=0.3), smear(azure=0.8, eosin=0.5, seed=1)
    target = stain.measure_lab(strong)
    moved = stain.measure_lab(stain.transfer_lab(pale, target=target))
    assert_allclose(moved.mean, target.mean, atol=4)


def test_no_share_of_a_lab_transfer_is_no_change():
    pixels = smear(azure=0.8, eosin=0.4)
    target = stain.measure_lab(smear(azure=0.3, eosin=0.9))
    same = stain.transfer_lab(pixels, target=target, share=0.0)
    assert np.abs(same.astype(int) - pixels).max() <= 6, "only rounding in CIELAB"


def test_a_picture_without_stain_gets_the_known_vectors():
    found = stain.measure_stain(np.full((40, 40, 3), 240, dtype=np.uint8))
    assert_allclose(found.vectors[0], AZURE, atol=1e-6)
    assert_allclose(found.strength, 1)


@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_varied_stain_is_the_generators_alone(amount: float):
    pixels = smear(azure=0.8, eosin=0.4)
    first, again, other = (
        stain.vary_stain(pixels, np.random.default_rng(seed), amount=amount) for seed in (3, 3, 4)
    )
    assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == pixels.shape
    assert first.dtype == np.uint8
