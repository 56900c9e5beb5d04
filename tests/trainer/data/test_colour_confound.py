import numpy as np
import pytest

from trainer.data.colour_confound import colours_of, told_by_colour
from trainer.errors import DataError
from trainer.evaluation.baselines import colour_statistics


def test_colours_are_those_of_the_baseline_of_picture_and_box():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    np.testing.assert_allclose(colours_of(pixels), colour_statistics(pixels[None])[0], rtol=1e-4)
    np.testing.assert_allclose(
        colours_of(pixels, (9.6, 5.0, 30.2, 20.4)), colour_statistics(pixels[None, 5:20, 10:30])[0], rtol=1e-4
    )


def slides(*, own_colour: float, label_colour: float, count: int = 24, each: int = 10):
    """Colours of ``count`` slides with a label each: a slide and a label tint their pictures so strongly."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(count), each)
    label = group % 2
    tints = rng.normal(size=(count, 6)) * own_colour
    colours = rng.normal(size=(len(group), 6)) + tints[group]
    colours[:, 0] += label * label_colour
    return colours.astype(np.float32), [("ill", "well")[index] for index in label], group.tolist()


def test_colour_that_follows_the_label_is_told_on_slides_not_seen():
    told = told_by_colour(*slides(own_colour=0, label_colour=12))
    assert told.honest.value > 0.97
    assert told.honest.low > told.guessing == 0.5
    assert (told.words, told.groups, told.samples, told.folds) == (("ill", "well"), 24, 240, 5)


def test_colour_of_the_slide_alone_shows_as_a_leak_of_the_random_split():
    told = told_by_colour(*slides(own_colour=30, label_colour=0))
    assert told.by_chance.value > 0.97
    assert told.honest.value < 0.7
    assert told.honest.low < 0.5 < told.honest.high


def test_colour_that_tells_nothing_is_near_guessing_both_ways():
    told = told_by_colour(*slides(own_colour=0, label_colour=0))
    assert told.honest.value == pytest.approx(0.5, abs=0.1)
    assert told.by_chance.value == pytest.approx(0.5, abs=0.1)


def test_a_word_of_a_single_group_is_left_out_and_named():
    colours, words, groups = slides(own_colour=0, label_colour=12)
    words[:10] = ["rare"] * 10
    told = told_by_colour(colours, words, groups)
    assert told.left_out == ("rare",)
    assert told.samples == 230


def test_labels_of_one_group_each_cannot_be_asked():
    colours, words, _ = slides(own_colour=0, label_colour=12)
    with pytest.raises(DataError, match="Fewer than two of ill, well") as caught:
        told_by_colour(colours, words, [int(each == "ill") for each in words])
    assert caught.value.remedy
