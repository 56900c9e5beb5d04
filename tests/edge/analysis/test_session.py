"""The differential: what counts, what does not, and what the blast share owes to the classifier's errors."""

from datetime import datetime, timezone

import pytest

from edge.analysis.cells import Cell, Naming
from edge.analysis.intervals import wilson
from edge.analysis.session import SlideSession, blast_errors
from edge.contract.manifest import Confusion
from edge.contract.message import Key, Stamp
from edge.contract.taxonomy import ObjectKind
from tests.edge.facts import classifier_facts

OPENED = datetime(2026, 1, 1, tzinfo=timezone.utc)


def white(cell_class, *, doubtful=False, unknown=False):
    naming = Naming(
        cell_class=cell_class,
        probability=0.9,
        probabilities={},
        distance=1.0,
        out_of_distribution=unknown,
        doubtful=doubtful,
    )
    return Cell(box_px=(0, 0, 9, 9), kind=ObjectKind.WBC, score=0.9, naming=naming)


def red():
    return Cell(box_px=(0, 0, 9, 9), kind=ObjectKind.RBC, score=0.9)


def session():
    return SlideSession(slide="A", opened_at=OPENED, classifier=classifier_facts())


def test_only_cells_named_with_confidence_take_part():
    subject = session()
    subject.add([white("neutrophil"), white("blast", doubtful=True), red()])
    subject.add([white("lymphocyte"), white("blast", unknown=True), white("neutrophil"), red(), red()])
    result = subject.differential()
    assert result.named_cells == 3
    assert {row.cell_class: row.count for row in result.rows} == {
        "neutrophil": 2,
        "lymphocyte": 1,
        "blast": 0,
    }
    assert (subject.doubtful_cells, subject.out_of_distribution_cells) == (1, 1)
    assert subject.objects == {ObjectKind.WBC: 5, ObjectKind.RBC: 3}
    assert subject.fields == 2


def test_every_share_has_its_interval():
    subject = session()
    subject.add([white("neutrophil")] * 60 + [white("lymphocyte")] * 40)
    rows = {row.cell_class: row for row in subject.differential().rows}
    expected = wilson(60, 100)
    assert (rows["neutrophil"].low, rows["neutrophil"].high) == (expected.low, expected.high)
    assert rows["blast"].high == pytest.approx(wilson(0, 100).high)


def test_the_blast_share_is_corrected_for_what_the_classifier_gets_wrong():
    subject = session()
    subject.add([white("blast")] * 4 + [white("lymphocyte")] * 96)
    blasts = subject.differential().blasts
    # Sensitivity 95/100, specificity 192/200: four in a hundred is what a smear without blasts shows.
    assert blasts.share == 0.04
    assert blasts.corrected == pytest.approx((0.04 + 0.96 - 1) / (0.95 + 0.96 - 1), abs=1e-9)
    assert blasts.corrected_low == 0.0


def test_the_confusion_matrix_is_read_as_blasts_against_the_rest():
    errors = blast_errors(classifier_facts().confusion, ("blast",))
    assert (errors.positives, errors.found, errors.negatives, errors.cleared) == (100, 95, 200, 192)


def test_a_class_set_without_blasts_has_no_blast_share():
    confusion = Confusion(classes=("a", "b"), counts=((1, 0), (0, 1)), measured_on="test")
    assert blast_errors(confusion, ()) is None


def test_the_record_tells_the_session():
    subject = session()
    subject.add([white("neutrophil"), red()])
    stamp = Stamp(
        site="lab",
        key=Key(station="s", boot=1, sequence=1),
        recorded_at=OPENED,
        software="test",
        bundle="0" * 64,
    )
    record = subject.record(stamp, state="closed")
    assert (record.slide, record.state, record.fields, record.named_cells) == ("A", "closed", 1, 1)
    assert record.objects == {ObjectKind.WBC: 1, ObjectKind.RBC: 1}
