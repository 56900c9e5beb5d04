"""The differential: every share with its interval, as counted and corrected."""

import pytest

from edge.analysis.differential import Differentials, blast_errors
from edge.analysis.intervals import wilson
from edge.contract.manifest import Confusion
from tests.edge.facts import classifier_facts

MADE = Confusion(classes=("a", "b"), counts=((9, 1), (0, 10)), measured_on="test")


def differentials(confusion=None, blasts=("blast",), **options):
    return Differentials(confusion=confusion or classifier_facts().confusion, blasts=blasts, **options)


def test_every_share_has_its_interval():
    result = differentials().of({"neutrophil": 60, "lymphocyte": 40, "doubtful": 12})
    rows = {row.cell_class: row for row in result.rows}
    expected = wilson(60, 100)
    assert result.named_cells == 100
    assert (rows["neutrophil"].low, rows["neutrophil"].high) == (expected.low, expected.high)
    assert rows["blast"].high == pytest.approx(wilson(0, 100).high)
    for row in result.rows:
        assert 0 <= row.corrected_low <= row.corrected <= row.corrected_high <= 1
    assert sum(row.corrected for row in result.rows) == pytest.approx(1)


def test_the_blast_share_is_corrected_for_what_the_classifier_gets_wrong():
    # One in twenty-five lymphocytes is called blast: six in a hundred are what 96 of them would show.
    blasts = differentials().of({"blast": 5, "lymphocyte": 95}).blasts
    assert blasts.share == 0.05
    assert blasts.corrected < 0.01
    assert blasts.corrected_low == 0.0
    assert blasts.corrected_high < 0.12


def test_the_probability_of_each_threshold_falls_as_it_rises():
    blasts = differentials(blast_thresholds=(0.05, 0.1, 0.2, 0.5)).of({"blast": 20, "lymphocyte": 80}).blasts
    assert [each.threshold for each in blasts.passes] == [0.05, 0.1, 0.2, 0.5]
    probabilities = [each.probability for each in blasts.passes]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[0] > 0.95
    assert probabilities[-1] < 0.01


def test_nothing_counted_has_no_correction():
    result = differentials().of({})
    assert result.named_cells == 0
    assert {(row.low, row.high, row.corrected) for row in result.rows} == {(0.0, 1.0, None)}
    assert result.blasts.corrected is None
    assert result.blasts.passes == ()


def test_a_class_that_was_never_validated_leaves_the_blasts_to_the_rest_taken_together():
    confusion = Confusion(
        classes=("a", "b", "blast"), counts=((0, 0, 0), (0, 95, 5), (0, 4, 96)), measured_on="test"
    )
    result = differentials(confusion).of({"b": 70, "blast": 30})
    assert all(row.corrected is None for row in result.rows)
    assert result.blasts.corrected == pytest.approx((0.3 + 0.95 - 1) / (0.96 + 0.95 - 1))
    assert result.blasts.passes == ()


def test_a_class_set_without_blasts_has_no_blast_share():
    assert blast_errors(MADE, ()) is None
    assert differentials(MADE, blasts=()).of({"a": 3, "b": 1}).blasts is None


def test_the_confusion_matrix_is_read_as_blasts_against_the_rest():
    errors = blast_errors(classifier_facts().confusion, ("blast",))
    assert (errors.positives, errors.found, errors.negatives, errors.cleared) == (100, 95, 200, 192)


def test_a_higher_level_widens_every_interval():
    subject, counts = differentials(), {"neutrophil": 60, "lymphocyte": 25, "blast": 15}
    blasts, classes = subject.intervals(counts, level=0.95)
    wider, wider_classes = subject.intervals(counts, level=0.99)
    assert wider.low <= blasts.low
    assert wider.high > blasts.high
    assert all(a.high - a.low < b.high - b.low for a, b in zip(classes, wider_classes, strict=True))
    unvalidated = Confusion(classes=("a", "blast"), counts=((0, 0), (1, 9)), measured_on="test")
    blasts, _ = differentials(unvalidated).intervals({"a": 90, "blast": 10}, level=0.99)
    assert (blasts.low, blasts.high) == (wilson(10, 100, level=0.99).low, wilson(10, 100, level=0.99).high)
