from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.formats.numbered_cells import BARCELONA, BCCD, LMU
from trainer.data.grouping import blocks
from trainer.data.samples import Sample
from trainer.data.splits import house_split, leave_laboratory_out
from trainer.errors import DataError


def samples(laboratory: str, count: int, *, every: int = 1) -> list[Sample]:
    return [
        Sample(
            file=Path(laboratory) / f"X_{index}.jpg",
            label="monocyte",
            laboratory=laboratory,
            series=laboratory,
            number=index // every,
        )
        for index in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.tuples(*[st.integers(10, 90)] * 3),
    size=st.integers(1, 5),
    every=st.integers(1, 3),
    pairs=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=3),
    seed=st.integers(0, 99),
)
def test_no_block_frame_or_duplicate_is_on_both_sides(counts, size, every, pairs, seed):
    cells = [
        each
        for laboratory, count in zip((LMU, BARCELONA, BCCD), counts, strict=True)
        for each in samples(laboratory, count, every=every)
    ]
    duplicates = [pair for pair in pairs if pair[0] != pair[1]]
    block_of = blocks(cells, size=size, duplicates=duplicates)
    try:
        split = house_split(cells, block_of, seed=seed)
    except DataError:
        assert any(
            len({block_of[i] for i, c in enumerate(cells) if c.series == s}) == 1
            for s in (LMU, BARCELONA, BCCD)
        )
        return
    train, held = set(split.train), set(split.held_out)
    assert train.isdisjoint(held)
    assert train | held == set(range(len(cells)))
    assert {block_of[i] for i in train}.isdisjoint(block_of[i] for i in held)
    frames = [(cells[i].series, cells[i].number) for i in range(len(cells))]
    assert {frames[i] for i in train}.isdisjoint(frames[i] for i in held)
    for one, other in duplicates:
        assert (one in train) == (other in train)


def test_house_split_holds_about_the_share_out_of_each_series():
    cells = [*samples(LMU, 100), *samples(BARCELONA, 200)]
    split = house_split(cells, blocks(cells, size=10), share=0.2, seed=3)
    assert Counter(cells[i].laboratory for i in split.held_out) == {LMU: 20, BARCELONA: 40}


def test_a_series_of_one_block_cannot_be_split():
    cells = samples(LMU, 30)
    with pytest.raises(DataError, match="single block"):
        house_split(cells, blocks(cells, size=25))


def test_a_laboratory_left_out_takes_its_duplicates_along():
    cells = [*samples(LMU, 4), *samples(BCCD, 4)]
    block_of = blocks(cells, size=1, duplicates=[(3, 4)])
    split = leave_laboratory_out(cells, block_of, laboratory=LMU)
    assert split.held_out == (0, 1, 2, 3, 4)
    assert split.train == (5, 6, 7)


def test_an_unknown_laboratory_is_named():
    cells = samples(LMU, 4)
    with pytest.raises(DataError, match="atlantis"):
        leave_laboratory_out(cells, blocks(cells, size=2), laboratory="atlantis")
