"""Numbers as they are printed."""

import pytest

from trainer.evaluation.evaluation import Figure
from trainer.report import digits


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (0.934, 2, "0.93"),
        (0.0, 2, "0.00"),
        (1.0, 2, "1.00"),
        (0.998, 2, "0.998"),
        (0.9996, 3, "0.9996"),
        (0.99999, 2, "0.9999"),
        (1.0 - 1e-12, 2, "1.00"),
        (-0.004, 2, "0.00"),
        (-0.05, 2, "\N{MINUS SIGN}0.05"),
        (1.234, 2, "1.23"),
    ],
)
def test_a_share_is_1_only_where_it_is(value: float, places: int, shown: str) -> None:
    assert digits.decimal(value, places) == shown


def test_a_figure_goes_with_its_interval_and_says_where_it_is_not_defined() -> None:
    figure = Figure(value=0.934, low=0.9, high=0.9499, pictures=80, groups=9)
    assert f"{digits.value(figure, 2)} {digits.interval(figure, 2)}" == "0.93 (0.90\N{EN DASH}0.95)"
    none = Figure(value=None, pictures=0, groups=0, why="no picture of that class")
    assert (digits.value(none, 2), digits.interval(none, 2)) == ("not defined", "")


def test_an_interval_of_differences_has_signs_and_a_word_between_them() -> None:
    figure = Figure(value=-0.0001, low=-0.03, high=0.02, pictures=80, groups=9)
    assert digits.value(figure, 2, signed=True) == "0.00"
    assert digits.interval(figure, 2, signed=True) == "(\N{MINUS SIGN}0.03 to +0.02)"


def test_more_pictures_bear_more_decimals() -> None:
    assert (digits.places(999), digits.places(1000)) == (2, 3)


@pytest.mark.parametrize(
    ("value", "shown"), [(99.5, "99.5"), (100.0, "100.0"), (99.97, "99.9"), (-3.21, "\N{MINUS SIGN}3.2")]
)
def test_percents_are_100_only_where_they_are(value: float, shown: str) -> None:
    assert digits.percent(value) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(0, 0, "0%"), (0, 9, "0%"), (9, 9, "100%"), (299, 300, "> 99%"), (1, 300, "< 1%"), (1, 3, "33%")],
)
def test_a_row_of_counts_says_all_and_none_only_where_it_is(part: int, whole: int, shown: str) -> None:
    assert digits.whole_percent(part, whole) == shown


def test_words_around_numbers() -> None:
    assert [digits.plural(number, "patient") for number in (0, 1, 2)] == [
        "0 patients",
        "1 patient",
        "2 patients",
    ]
    assert digits.plural(3, "class") == "3 classes"
    assert digits.count(9999) == "9999"
    assert digits.count(10661) == "10\N{NARROW NO-BREAK SPACE}661"
    assert [digits.duration(each) for each in (4.26, 187.4, 7384)] == ["4.3 s", "3 min 7 s", "2 h 3 min"]
    assert digits.duration(119.9) == "2 min 0 s"
    assert digits.duration(3599.9) == "1 h 0 min"
    assert [digits.probability(each) for each in (0.00004, 0.0312)] == ["< 0.001", "0.031"]
