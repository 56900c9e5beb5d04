"""Nothing counts that is not on the disk."""

import dataclasses

import pytest

from edge.analysis.gates import Accepted
from edge.contract.message import Key
from edge.contract.records import CameraState, FieldRecord
from edge.contract.taxonomy import ARTEFACT, UNCLASSIFIED
from edge.daemon.slide_desk import SlideError
from edge.errors import StorageError
from tests.edge.daemon.slide_desk_bench import (
    PLACE,
    Journal,
    cell_of,
    count,
    counts,
    desk,
    frame,
    white,
)


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
        def append(self, build, **_):
            record = build(Key(station="s", boot=3, sequence=1))
            if not isinstance(record, FieldRecord):
                raise StorageError("The disk is full.")
            return record.stamp.key

    subject._journal._journal = FieldsOnly()
    assert count(subject).number == 1
    assert subject.latest.fields == 1


def test_the_slides_state_is_recorded_every_few_fields_and_at_its_ends():
    journal = Journal()
    subject = desk(journal, record_every_fields=2)
    subject.open("A")
    for _ in range(5):
        count(subject)
    subject.close()
    assert journal.states() == [("A", "open", 0), ("A", "open", 2), ("A", "open", 4), ("A", "closed", 5)]
    assert journal.records[-1].closed_because == "order"


def test_a_persons_verdict_is_recorded_and_takes_the_cell_out_of_its_class():
    journal = Journal()
    subject = desk(journal)
    subject.open("A")
    field = count(subject, white(), white(number=7))
    subject.judge(cell_of(field, 0), ARTEFACT)
    subject.judge(cell_of(field, 1), UNCLASSIFIED)
    review = journal.records[-2]
    assert (review.field_key, review.cell, review.machine_class) == (field.key, 0, "blast")
    assert (review.reviewed_class, review.reviewer) == (ARTEFACT, "at the station")
    assert (subject.latest.artefacts, subject.latest.unclassified, subject.latest.named_cells) == (1, 1, 0)
    again = desk(journal)
    again.go_on()
    again.judge(cell_of(field, 0), None)
    assert (again.latest.artefacts, counts(again)["blast"]) == (0, 1)
    again.open("B")
    with pytest.raises(SlideError, match="not of the open slide"):
        again.judge(cell_of(field, 0), ARTEFACT)


def test_a_verdict_that_cannot_be_saved_changes_nothing():
    journal = Journal()
    subject = desk(journal)
    subject.open("A")
    field = count(subject)
    journal.full = True
    with pytest.raises(StorageError):
        subject.judge(cell_of(field, 0), ARTEFACT)
    assert (subject.latest.artefacts, counts(subject)["blast"]) == (0, 1)


def test_without_an_open_slide_nothing_is_counted():
    journal = Journal()
    assert count(desk(journal)) is None
    assert journal.records == []


def test_a_field_of_an_earlier_slide_is_not_counted_on_this_one():
    subject = desk(Journal())
    subject.open("A")
    subject.open("B")
    accepted = Accepted(focus=0.5, stained_share=0.2, place=PLACE)
    assert subject.count(frame(), accepted, (white(),), slide_number=1, analysis_ms=1.0) is None
    assert subject.latest.fields == 0


def test_the_cells_that_count_as_blasts_are_known_by_their_numbers_also_to_another_run():
    journal = Journal()
    subject = desk(journal)
    assert subject.blasts == ()
    subject.open("A")
    field = count(subject, white(number=1), white("neutrophil", number=2), white(number=3))
    assert subject.blasts == (1, 3)
    subject.judge(cell_of(field, 0), ARTEFACT)
    assert subject.blasts == (3,)
    count(subject, white(number=2))
    again = desk(journal)
    again.go_on()
    assert set(subject.blasts) == set(again.blasts) == {2, 3}
    again.close()
    assert set(again.blasts) == {2, 3}, "a closed slide is looked at still"
    again.open("B")
    assert again.blasts == ()
