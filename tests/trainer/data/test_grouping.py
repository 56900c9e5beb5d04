from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.grouping import blocks, group
from trainer.data.samples import Sample
from trainer.errors import DataError


def sample(
    number: int,
    *,
    series: str = "S",
    laboratory: str = "L",
    patient: str | None = None,
    slide: str | None = None,
    file: str | None = None,
) -> Sample:
    return Sample(
        file=Path(series) / (file or f"{number}.png"),
        label="blast",
        laboratory=laboratory,
        series=series,
        number=number,
        patient=patient,
        slide=slide,
    )


def series_of(count: int, *, series: str = "S", every: int = 1) -> list[Sample]:
    return [sample(index // every, series=series, file=f"{index}.png") for index in range(count)]


def test_patients_are_the_groups_where_each_is_known():
    found = group([sample(i, patient=p) for i, p in enumerate("ABAC")], duplicates=())
    assert (found.kind, found.of, found.count) == ("patient", (0, 1, 0, 2), 3)
    assert found.words == "every picture's patient is known; 3 groups"


def test_two_laboratories_may_use_one_patient_name():
    found = group([sample(1, patient="1"), sample(2, patient="1", laboratory="M")], duplicates=())
    assert found.of == (0, 1)


def test_slides_are_the_groups_where_a_patient_is_missing():
    found = group([sample(1, slide="a"), sample(2, slide="b"), sample(3, slide="a")], duplicates=())
    assert (found.kind, found.of) == ("slide", (0, 1, 0))
    assert "one patient may have several" in found.words


def test_a_slide_brings_its_samples_without_a_patient_to_the_patient_that_it_names():
    found = group(
        [sample(1, patient="A", slide="a"), sample(2, slide="a"), sample(3, patient="A", slide="b")],
        duplicates=(),
    )
    assert (found.kind, found.of) == ("slide", (0, 0, 0))


def test_a_slide_name_that_several_patients_use_joins_none_of_them():
    found = group(
        [
            sample(1, patient="A", slide="1"),
            sample(2, patient="B", slide="1"),
            sample(3, slide="1"),
            sample(4, slide="1"),
        ],
        duplicates=(),
    )
    assert found.of == (0, 1, 2, 2)


def test_blocks_of_neighbours_stand_in_where_nothing_is_known():
    found = group(series_of(60), duplicates=())
    assert found.kind == "block"
    assert sorted(Counter(found.of).values()) == [25, 35]
    assert found.words == (
        "no patient is known: blocks of at least 25 neighbouring file names stand in for slides; 2 groups"
    )


def test_patients_of_some_series_only_are_said_so():
    known = [sample(i, series="K", patient=f"P{i % 3}") for i in range(6)]
    found = group([*known, *series_of(50)], duplicates=())
    assert found.kind == "block"
    assert found.of[:6] == (0, 1, 2, 0, 1, 2)
    assert sorted(Counter(found.of[6:]).values()) == [25, 25]
    assert "by patient for 6 of 56 pictures" in found.words
    assert "for 50 of 56 pictures neither is known" in found.words


def test_duplicates_weld_patients_and_the_words_tell():
    found = group([sample(i, patient=p) for i, p in enumerate("ABC")], duplicates=[(0, 2)])
    assert found.of == (0, 1, 0)
    assert found.words.endswith("2 groups, 1 fewer since duplicates weld them together")


def test_cells_of_one_picture_are_never_parted():
    cells = [sample(i, file="one.png", slide=None if i else "a") for i in range(3)]
    assert group(cells, duplicates=()).of == (0, 0, 0)


def test_a_block_counts_pictures_and_not_the_cells_in_them():
    cells = [sample(number, file=f"{number}.png") for number in range(50) for _ in range(12)]
    assert sorted(Counter(group(cells, duplicates=()).of).values()) == [300, 300]


def test_no_samples_are_an_error():
    with pytest.raises(DataError, match="no samples"):
        group([], duplicates=())


@settings(max_examples=100, deadline=None)
@given(
    facts=st.lists(
        st.tuples(st.sampled_from([None, "A", "B", "C"]), st.sampled_from([None, "s", "t"])),
        min_size=1,
        max_size=40,
    ),
    pairs=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=4),
    size=st.integers(1, 6),
)
def test_what_belongs_together_is_in_one_group_and_numbers_count_from_nought(facts, pairs, size):
    cells = [sample(i, patient=patient, slide=slide) for i, (patient, slide) in enumerate(facts)]
    copies = [pair for pair in pairs if max(pair) < len(cells)]
    found = group(cells, duplicates=copies, block_size=size)
    of_patient: dict[str, int] = {}
    for cell, number in zip(cells, found.of, strict=True):
        if cell.patient is not None:
            assert of_patient.setdefault(cell.patient, number) == number
    assert all(found.of[one] == found.of[other] for one, other in copies)
    assert list(dict.fromkeys(found.of)) == list(range(found.count))


def test_blocks_hold_at_least_their_size_and_a_rest_joins_the_last():
    assert sorted(Counter(blocks(series_of(63), size=25)).values()) == [25, 38]


def test_blocks_follow_numbers_and_not_the_order_of_names():
    cells = series_of(20)
    assert blocks(cells[::-1], size=10)[::-1] == tuple(1 - each for each in blocks(cells, size=10))


def test_cells_of_one_frame_share_a_block():
    assert blocks(series_of(6, every=3), size=2) == (0, 0, 0, 1, 1, 1)
