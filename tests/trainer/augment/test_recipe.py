import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from trainer.augment.recipe import STAIN_ONLY, STRONG, Recipe, donor_of, vary

PIXELS = np.random.default_rng(0).integers(60, 256, (40, 56, 3), dtype=np.uint8)
DONORS = [
    donor_of(np.random.default_rng(seed).integers(0, 200, (30, 30, 3), dtype=np.uint8)) for seed in (1, 2)
]
NOTHING = Recipe(
    stain=0, transfer=0, light=0, grey=0, vignette=0, blur=0, motion=0, sharpen=0, rescale=0, noise=0, jpeg=0
)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_keeps_shape_and_input_and_follows_the_generator(seed: int):
    before = PIXELS.copy()
    first = vary(PIXELS, np.random.default_rng(seed), recipe=STRONG, donors=DONORS)
    again = vary(PIXELS, np.random.default_rng(seed), recipe=STRONG, donors=DONORS)
    assert first.shape == PIXELS.shape
    assert first.dtype == np.uint8
    assert_array_equal(first, again)
    assert_array_equal(PIXELS, before)


def test_nothing_asked_is_nothing_changed_and_still_a_copy():
    same = vary(PIXELS, np.random.default_rng(0), recipe=NOTHING)
    assert_array_equal(same, PIXELS)
    assert not np.shares_memory(same, PIXELS)


def test_stain_jitter_changes_colour_but_not_sharpness():
    y, x = np.mgrid[:40, :56]
    board = np.where(((x // 8 + y // 8) % 2)[:, :, None], 230, 120).astype(np.uint8).repeat(3, axis=2)
    changed = vary(board, np.random.default_rng(3), recipe=STAIN_ONLY)
    assert len(np.unique(changed.reshape(-1, 3), axis=0)) == 2, "two tones stay two tones"
    assert (changed != board).any()
