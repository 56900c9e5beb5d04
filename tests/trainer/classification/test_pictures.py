from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from trainer.classification import pictures
from trainer.classification.pictures import (
    BOX_PX,
    CONTEXT_PX,
    DOMAINS,
    VIRTUAL,
    crops,
    picture_of,
    virtual_pictures,
)
from trainer.classification.variation import CellVariation, vary_cell
from trainer.data.cells import CLASSES


@pytest.fixture(scope="module")
def drawn() -> tuple[pictures.CellPicture, ...]:
    return virtual_pictures(per_class=2, seed=3)


def test_draws_every_class(drawn):
    assert [each.label for each in drawn] == [label for label in range(len(CLASSES)) for _ in range(2)]
    assert {each.domain for each in drawn} == {DOMAINS.index(VIRTUAL)}


def test_the_outline_is_around_the_middle_and_about_as_large_as_the_box(drawn):
    fitting = 0
    for each in drawn:
        y, x = np.nonzero(each.mask > 127)
        off = max(abs(x.mean() - CONTEXT_PX / 2), abs(y.mean() - CONTEXT_PX / 2))
        fitting += off < 0.2 * BOX_PX and 0.5 * BOX_PX < max(np.ptp(x), np.ptp(y)) < 1.5 * BOX_PX
    assert fitting >= 0.8 * len(drawn), "an odd one may touch a neighbour"


def test_the_ground_shows_no_cell_and_its_surroundings_unchanged(drawn):
    for each in drawn:
        inside, outside = each.mask > 250, each.mask == 0
        assert_array_equal(each.ground[outside], each.context[outside])
        nucleus = np.percentile(each.context[inside].astype(float).sum(axis=1), 10)
        assert each.ground[inside].astype(float).sum(axis=1).mean() > nucleus


def test_the_cache_gives_the_same_cells_and_is_not_used_for_others(tmp_path: Path, drawn, monkeypatch):
    cache = tmp_path / "drawn.npz"
    virtual_pictures(per_class=2, seed=3, cache=cache)
    calls = []
    original = pictures._draw
    monkeypatch.setattr(pictures, "_draw", lambda **asked: calls.append(asked) or original(**asked))
    again = virtual_pictures(per_class=2, seed=3, cache=cache)
    assert not calls
    assert_array_equal(again[5].context, drawn[5].context)
    virtual_pictures(per_class=1, seed=3, cache=cache)
    assert calls == [{"per_class": 1, "seed": 3}]


def test_a_cell_that_fills_its_picture_is_squared_by_repeating_its_border():
    pixels = np.full((30, 60, 3), 100, dtype=np.uint8)
    made = picture_of(pixels, (0, 0, 60, 30), label=0, domain=0)
    assert made.context.shape == (CONTEXT_PX, CONTEXT_PX, 3)
    assert (made.context == 100).all()


def test_crops_are_what_a_station_would_cut(drawn):
    found = crops(drawn[:3], margin=1.2, size_px=48)
    assert found.shape == (3, 48, 48, 3)


@pytest.mark.parametrize("seed", range(8))
def test_variation_follows_its_generator_and_keeps_its_input(drawn, seed: int):
    before = drawn[0].context.copy()
    first, again = (
        vary_cell(
            drawn[0],
            np.random.default_rng(seed),
            others=drawn,
            variation=CellVariation(),
            margin=1.2,
            size_px=64,
        )
        for _ in "ab"
    )
    assert first.shape == (64, 64, 3)
    assert_array_equal(first, again)
    assert_array_equal(drawn[0].context, before)


def test_without_any_chance_variation_only_turns_and_mirrors(drawn):
    still = CellVariation(
        foreign_ground=0,
        plain_ground=0,
        foreign_stain=0,
        center_jitter=0,
        scale_jitter=0,
        replicated_border=0,
        look=pictures_look_of_nothing(),
    )
    plain = crops(drawn[:1], margin=1.2, size_px=64)[0].astype(float)
    turned = [
        vary_cell(
            drawn[0], np.random.default_rng(seed), others=drawn, variation=still, margin=1.2, size_px=64
        )
        for seed in range(40)
    ]
    differences = [
        min(np.abs(np.rot90(side, k) - plain).mean() for side in (each, each[:, ::-1]) for k in range(4))
        for each in turned
    ]
    assert min(differences) < 3


def pictures_look_of_nothing():
    from trainer.augment.recipe import Recipe

    return Recipe(
        stain=0,
        transfer=0,
        light=0,
        grey=0,
        vignette=0,
        blur=0,
        motion=0,
        sharpen=0,
        rescale=0,
        noise=0,
        jpeg=0,
    )
