from __future__ import annotations

import numpy as np
import pytest

from trainer.pictures.batches import PictureSource
from trainer.recipes.recipe import AugmentationRecipe

TURNED = AugmentationRecipe(rotation_up_to_degrees=90, stain=True)


def source(count: int = 21, size: int = 4, **changes) -> PictureSource:
    rng = np.random.default_rng(0)
    made = {
        "pixels": rng.integers(0, 256, (count, 12, 12, 3)).astype(np.uint8),
        "labels": np.arange(count),
        "size": size,
        "augmentation": TURNED,
        "seed": 1,
    }
    return PictureSource(**(made | changes))


def epoch(made: PictureSource, number: int = 0, **place) -> list:
    return list(made.epoch(np.random.default_rng([made.seed, number]), **place))


def numbers(batches: list) -> list[int]:
    return [int(label) for batch in batches for label in batch.labels]


def test_an_epoch_shows_every_picture_once_in_another_order_each_time():
    made = source()
    first, second = numbers(epoch(made, 0)), numbers(epoch(made, 1))
    assert sorted(first) == sorted(second) == list(range(21))
    assert first != second
    assert first == numbers(epoch(made, 0))


@pytest.mark.parametrize(
    ("count", "sizes"), [(8, [4, 4]), (10, [4, 4, 2]), (9, [4, 5]), (3, [3]), (1, [1]), (5, [5])]
)
def test_the_last_batch_takes_what_is_left_but_is_never_a_single_picture(count, sizes):
    made = source(count)
    assert [len(batch.pixels) for batch in epoch(made)] == sizes
    assert made.steps() == len(sizes)


def test_a_batch_of_one_is_one_where_the_recipe_asks_for_it():
    assert [len(batch.pixels) for batch in epoch(source(3, size=1))] == [1, 1, 1]


def test_a_picture_looks_the_same_whoever_prepares_it():
    made = source()
    by_number = {}
    for batch in epoch(made, workers=1):
        by_number |= dict(zip(batch.labels.tolist(), batch.pixels, strict=True))
    for rank in range(3):
        for batch in epoch(made, rank=rank, processes=3, workers=3):
            for label, pixels in zip(batch.labels.tolist(), batch.pixels, strict=True):
                assert pixels.equal(by_number[label])


def test_another_epoch_changes_a_picture_otherwise():
    made = source()
    first, second = (
        dict(zip(numbers(batches), [p for b in batches for p in b.pixels], strict=True))
        for batches in (epoch(made, 0), epoch(made, 1))
    )
    assert not any(first[number].equal(second[number]) for number in first)


def test_processes_share_every_batch_between_them():
    made = source(count=11)
    whole = epoch(made)
    shares = [epoch(made, rank=rank, processes=2) for rank in range(2)]
    for batch, left, right in zip(whole, *shares, strict=True):
        assert sorted(numbers([left, right])) == sorted(numbers([batch]))
        assert left.own + right.own == left.whole == right.whole == len(batch.pixels)


def test_a_process_without_a_share_gets_a_placeholder_that_does_not_count():
    made = source(count=6)
    last = epoch(made, rank=3, processes=4)[-1]
    assert (last.own, last.whole) == (0, 2)
    assert len(last.pixels) == 1


def test_equalised_classes_are_as_large_as_the_smallest_and_always_the_same_pictures():
    labels = np.array([0] * 9 + [1] * 4 + [2] * 6)
    made = source(19, labels=labels, equalised=True)
    assert sorted(numbers(epoch(made))) == [0] * 4 + [1] * 4 + [2] * 4
    assert np.array_equal(made.chosen(), made.chosen())
    other = source(19, labels=labels, equalised=True, seed=2)
    assert not np.array_equal(made.chosen(), other.chosen())
    assert made.steps() == 3
