"""Intervals against published values, limits, and simulated coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.analysis.intervals import BinaryErrors, corrected_share, wilson


def test_wilson_gives_the_textbook_values():
    # Newcombe, Stat. Med. 17 (1998) 857, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for count, total, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        interval = wilson(count, total)
        assert interval.low == pytest.approx(low, abs=5e-5)
        assert interval.high == pytest.approx(high, abs=5e-5)


def test_nothing_counted_says_nothing():
    interval = wilson(0, 0)
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_an_impossible_count_is_refused(count, total):
    with pytest.raises(ValueError, match="is no share"):
        wilson(count, total)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_is_ordered_and_symmetric(found, rest):
    interval, mirrored = wilson(found, found + rest), wilson(rest, found + rest)
    assert 0 <= interval.low <= interval.share <= interval.high <= 1
    if found + rest:
        assert interval.low == pytest.approx(1 - mirrored.high)


def test_a_perfect_test_is_hardly_corrected():
    errors = BinaryErrors(positives=100_000, found=100_000, negatives=100_000, cleared=100_000)
    corrected, raw = corrected_share(30, 100, errors), wilson(30, 100)
    assert corrected is not None
    assert corrected.share == pytest.approx(raw.share)
    assert corrected.low == pytest.approx(raw.low, abs=0.002)
    assert corrected.high == pytest.approx(raw.high, abs=0.002)


def test_false_blasts_are_taken_off():
    # 5% of normal cells are called blasts: five "blasts" in a hundred are what a normal smear shows.
    errors = BinaryErrors(positives=200, found=190, negatives=2000, cleared=1900)
    corrected = corrected_share(5, 100, errors)
    assert corrected is not None
    assert corrected.share == 0.0
    assert corrected.low == 0.0
    assert 0.02 < corrected.high < 0.15


@pytest.mark.parametrize(
    ("count", "total", "errors"),
    [
        (0, 0, BinaryErrors(positives=10, found=10, negatives=10, cleared=10)),
        (1, 9, BinaryErrors(positives=0, found=0, negatives=10, cleared=10)),
        (1, 9, BinaryErrors(positives=10, found=5, negatives=10, cleared=5)),
    ],
)
def test_where_the_test_tells_nothing_there_is_no_correction(count, total, errors):
    assert corrected_share(count, total, errors) is None


@pytest.mark.parametrize("true_share", [0.0, 0.02, 0.2, 0.6])
def test_the_corrected_interval_covers_the_truth_19_times_in_20(true_share):
    rng = np.random.default_rng(7)
    sensitivity, specificity, rounds = 0.92, 0.97, 1500
    covered = 0
    for _ in range(rounds):
        errors = BinaryErrors(
            positives=150,
            found=int(rng.binomial(150, sensitivity)),
            negatives=600,
            cleared=int(rng.binomial(600, specificity)),
        )
        apparent = true_share * sensitivity + (1 - true_share) * (1 - specificity)
        corrected = corrected_share(int(rng.binomial(100, apparent)), 100, errors)
        assert corrected is not None
        covered += corrected.low <= true_share <= corrected.high
    # Three standard errors below the nominal 95%.
    assert covered / rounds > 0.95 - 3 * math.sqrt(0.95 * 0.05 / rounds)
