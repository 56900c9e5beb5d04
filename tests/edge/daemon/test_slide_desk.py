"""Nothing counts that is not on the disk."""

import dataclasses
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.analysis.cells import Cell, Naming
from edge.analysis.counted_fields import Place
from edge.analysis.gates import Accepted
from edge.contract.message import Key
from edge.contract.records import CameraState, FieldRecord
from edge.contract.taxonomy import ObjectKind
from edge.daemon.slide_desk import Origin, SlideDesk, SlideError
from edge.errors import StorageError
from edge.frame import Frame
from tests.edge.facts import classifier_facts

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PLACE = Place(width_px=64, height_px=48, um_per_px=None, box_um=None, plate=None, digest=b"")


class Journal:
    """Keeps records in memory; fails while ``full``."""

    def __init__(self):
        self.records = []
        self.full = False

    def append(self, build):
        record = build(Key(station="s", boot=3, sequence=len(self.records) + 1))
        if self.full:
            raise StorageError("The disk is full.")
        self.records.append(record)
        return record.stamp.key


def desk(journal, record_every_fields=10):
    return SlideDesk(
        journal=journal,
        origin=Origin(site="lab", software="test", bundle="0" * 64),
        classifier=classifier_facts(),
        record_every_fields=record_every_fields,
        now=lambda: NOW,
    )


def frame():
    return Frame(
        pixels=np.zeros((48, 64, 3), np.uint8), index=0, source="f.png", captured_at=NOW, monotonic_s=0.0
    )


def cells():
    naming = Naming(
        cell_class="blast",
        probability=0.9,
        probabilities={"neutrophil": 0.05, "lymphocyte": 0.05, "blast": 0.9},
        distance=1.0,
        out_of_distribution=False,
        doubtful=False,
    )
    return (Cell(box_px=(1, 2, 3, 4), kind=ObjectKind.WBC, score=0.8, naming=naming),)


def count(subject):
    accepted = Accepted(focus=0.5, stained_share=0.2, place=PLACE)
    return subject.count(frame(), accepted, cells(), slide_number=max(subject.opened, 1), analysis_ms=1.0)


def test_a_counted_field_is_recorded_with_its_cells():
    journal = Journal()
    subject = desk(journal)
    name = subject.open("A 17")
    field = count(subject)
    assert (field.slide, field.number, field.key.sequence) == (name, 1, 2)
    record = journal.records[1]
    assert isinstance(record, FieldRecord)
    assert (record.slide, record.field, record.source) == ("A 17", 1, "f.png")
    assert record.cells[0].cell_class == "blast"
    assert subject.latest.named_cells == 1


def test_a_field_tells_how_its_camera_stood_where_the_camera_says_it():
    journal = Journal()
    subject = desk(journal)
    subject.open("A")
    accepted = Accepted(focus=0.5, stained_share=0.2, place=PLACE)
    told = dataclasses.replace(frame(), exposure_us=8000.0, gain=1.5, colour_gains=(1.9, 1.4))
    for each in (frame(), told):
        assert subject.count(each, accepted, (), slide_number=1, analysis_ms=1.0) is not None
    silent, speaking = (each for each in journal.records if isinstance(each, FieldRecord))
    assert silent.camera is None
    assert speaking.camera == CameraState(exposure_us=8000.0, gain=1.5, colour_gains=(1.9, 1.4))


def test_a_field_that_cannot_be_saved_is_not_counted():
    journal = Journal()
    subject = desk(journal)
    subject.open(None)
    count(subject)
    journal.full = True
    with pytest.raises(StorageError):
        count(subject)
    assert (subject.latest.fields, subject.latest.named_cells) == (1, 1)
    journal.full = False
    assert count(subject).number == 2


def test_a_saved_field_counts_even_where_the_summary_after_it_cannot_be_saved():
    journal = Journal()
    subject = desk(journal, record_every_fields=1)
    subject.open(None)

    class FieldsOnly(Journal):
        def append(self, build):
            record = build(Key(station="s", boot=3, sequence=1))
            if not isinstance(record, FieldRecord):
                raise StorageError("The disk is full.")
            return record.stamp.key

    subject._journal = FieldsOnly()
    assert count(subject).number == 1
    assert subject.latest.fields == 1


def test_the_slides_state_is_recorded_every_few_fields_and_at_its_ends():
    journal = Journal()
    subject = desk(journal, record_every_fields=2)
    subject.open("A")
    for _ in range(5):
        count(subject)
    subject.close()
    states = [
        (record.state, record.fields) for record in journal.records if not isinstance(record, FieldRecord)
    ]
    assert states == [("open", 0), ("open", 2), ("open", 4), ("closed", 5)]


def test_opening_a_slide_closes_the_one_before():
    journal = Journal()
    subject = desk(journal)
    subject.open("A")
    subject.open("B")
    assert [(record.slide, record.state) for record in journal.records] == [
        ("A", "open"),
        ("A", "closed"),
        ("B", "open"),
    ]
    assert subject.opened == 2


def test_orders_that_do_not_fit_are_refused():
    subject = desk(Journal())
    with pytest.raises(SlideError, match="No slide is open"):
        subject.close()
    with pytest.raises(SlideError, match="cannot name a slide"):
        subject.open("x" * 65)
    with pytest.raises(SlideError, match="cannot name a slide"):
        subject.open("a\nb")
    assert not subject.is_open


def test_without_an_open_slide_nothing_is_counted():
    journal = Journal()
    assert count(desk(journal)) is None
    assert journal.records == []


def test_a_slide_that_cannot_be_recorded_is_not_open():
    journal = Journal()
    journal.full = True
    subject = desk(journal)
    with pytest.raises(StorageError):
        subject.open("A")
    assert not subject.is_open
    assert subject.latest is None


def test_a_field_of_an_earlier_slide_is_not_counted_on_this_one():
    subject = desk(Journal())
    subject.open("A")
    subject.open("B")
    accepted = Accepted(focus=0.5, stained_share=0.2, place=PLACE)
    assert subject.count(frame(), accepted, cells(), slide_number=1, analysis_ms=1.0) is None
    assert subject.latest.fields == 0
