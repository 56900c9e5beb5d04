"""Nothing counts that is not on the disk."""

import dataclasses
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.analysis.cells import Cell, Naming
from edge.analysis.gates import Accepted
from edge.analysis.stop_rule import StopRule
from edge.contract.message import Key
from edge.contract.records import CameraState, CoveredGround, FieldRecord, SlideRecord
from edge.contract.taxonomy import ARTEFACT, UNCLASSIFIED, ObjectKind
from edge.daemon.open_slide import CountRules
from edge.daemon.slide_desk import NO_SLIDE, SLIDE_PAUSED, SlideDesk, SlideError
from edge.daemon.slide_journal import CountedCell, OnMap, Origin
from edge.errors import StorageError
from edge.frame import Frame
from edge.slide_identity import Pseudonyms
from edge.slide_map.slide_map import Place
from tests.edge.facts import classifier_facts

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
PLACE = Place()


class Journal:
    """Keeps records and values in memory; fails while ``full``."""

    def __init__(self):
        self.records = []
        self.values = {}
        self.full = False

    def append(self, build, *, keep=None):
        record = build(Key(station="s", boot=3, sequence=len(self.records) + 1))
        self.keep(keep or {})
        self.records.append(record)
        return record.stamp.key

    def keep(self, values):
        if self.full:
            raise StorageError("The disk is full.")
        changed = self.values | dict(values)
        self.values = {name: value for name, value in changed.items() if value is not None}

    def kept(self, prefix=""):
        return {name: value for name, value in self.values.items() if name.startswith(prefix)}

    def states(self):
        return [
            (record.slide, record.state, record.fields)
            for record in self.records
            if isinstance(record, SlideRecord)
        ]


def desk(journal, record_every_fields=10, bundle="0" * 64, classifier=None, **options):
    return SlideDesk(
        journal=journal,
        origin=Origin(site="lab", software="test", bundle=bundle),
        classifier=classifier or classifier_facts(),
        record_every_fields=record_every_fields,
        now=lambda: NOW,
        **options,
    )


def frame():
    return Frame(
        pixels=np.zeros((48, 64, 3), np.uint8), index=0, source="f.png", captured_at=NOW, monotonic_s=0.0
    )


def white(cell_class="blast", number=None):
    naming = Naming(
        cell_class=cell_class,
        probability=0.9,
        probabilities={"neutrophil": 0.05, "lymphocyte": 0.05, "blast": 0.9},
        distance=1.0,
        out_of_distribution=False,
        doubtful=False,
    )
    return Cell(box_px=(1, 2, 3, 4), kind=ObjectKind.WBC, score=0.8, naming=naming, number=number)


def count(subject, *cells, **options):
    accepted = Accepted(focus=0.5, stained_share=0.2, place=PLACE)
    return subject.count(
        frame(),
        accepted,
        cells or (white(),),
        slide_number=max(subject.opened, 1),
        analysis_ms=1.0,
        **options,
    )


def cell_of(field, index):
    return CountedCell(field_key=field.key, slide=field.slide, index=index, cell=field.cells[index])


def counts(subject):
    return {row.cell_class: row.count for row in subject.latest.differential}


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
    assert journal.records[1].closed_because == "next_slide"
    assert subject.opened == 2


def test_orders_that_do_not_fit_are_refused():
    subject = desk(Journal())
    for order in (subject.close, subject.pause, subject.resume):
        with pytest.raises(SlideError, match="No slide is open"):
            order()
    for no_name in ("x" * 65, "   "):
        with pytest.raises(SlideError, match=f"{len(no_name)} characters like this cannot name a slide"):
            subject.open(no_name)
    with pytest.raises(SlideError, match="cannot name a slide") as caught:
        subject.open("secret\nid")
    assert "secret" not in str(caught.value)
    assert not subject.is_open
    subject.open("A")
    with pytest.raises(SlideError, match="not paused"):
        subject.resume()
    subject.pause()
    with pytest.raises(SlideError, match="paused already"):
        subject.pause()


def test_a_paused_slide_is_open_and_counts_no_new_frames():
    journal = Journal()
    subject = desk(journal)
    assert subject.not_counting == NO_SLIDE
    subject.open("A")
    count(subject)
    assert subject.not_counting is None
    subject.pause()
    assert (subject.is_open, subject.not_counting, subject.latest.state) == (True, SLIDE_PAUSED, "paused")
    # What was under way when it was paused had passed the gates before.
    assert count(subject).number == 2
    subject.resume()
    assert (subject.not_counting, subject.latest.state, subject.latest.fields) == (None, "open", 2)
    assert [state for _, state, _ in journal.states()] == ["open", "paused", "open"]


def test_a_slide_that_cannot_be_recorded_as_paused_goes_on():
    journal = Journal()
    subject = desk(journal)
    subject.open("A")
    journal.full = True
    with pytest.raises(StorageError):
        subject.pause()
    assert subject.not_counting is None


def test_opening_the_slide_that_is_open_goes_on_with_it():
    journal = Journal()
    subject = desk(journal)
    subject.open("A")
    count(subject)
    subject.pause()
    assert subject.open("A") == "A"
    assert (subject.opened, subject.latest.state, subject.latest.fields) == (1, "open", 1)


def test_a_scanned_code_opens_its_slide_or_asks():
    subject = desk(Journal())
    assert subject.scan("A") == "opened"
    assert subject.scan("B") == "opened"  # nothing was counted on A
    count(subject)
    assert subject.scan("B") == "same"
    assert subject.scan("C") == "ask"
    assert (subject.latest.slide, subject.latest.fields, subject.is_open) == ("B", 1, True)
    subject.close()
    assert subject.scan("C") == "opened"


def test_the_accession_id_stays_out_of_what_is_kept_and_recorded(tmp_path):
    journal = Journal()
    subject = desk(journal, names=Pseudonyms(key_file=tmp_path / "key", own=True))
    name = subject.open("H-2026-00417")
    count(subject)
    subject.pause()
    subject.close()
    assert subject.accession == "H-2026-00417"
    assert {record.slide for record in journal.records} == {name}
    assert {record.identity for record in journal.records if isinstance(record, SlideRecord)} == {"pseudonym"}
    everything = repr(journal.records) + repr(journal.values)
    assert "00417" not in everything
    assert subject.open(None).startswith("slide-2026")
    assert (subject.latest.identity, subject.accession) == ("given", None)


def test_the_target_is_that_of_the_opening():
    rules = CountRules(stop=StopRule(target_cells=2))
    subject = desk(Journal(), rules=rules)
    subject.open("A", target_cells=3)
    count(subject, white(), white())
    assert (subject.latest.target_cells, subject.latest.advice.decision) == (3, "count_on")
    count(subject, white())
    assert subject.latest.advice.decision == "target_reached"
    subject.open("B")
    assert subject.latest.target_cells == 2


def test_another_run_goes_on_where_the_last_one_stood():
    journal = Journal()
    first = desk(journal)
    first.open("A", target_cells=200)
    on_map = OnMap(
        ground=CoveredGround(frames=1.5, mm2=0.02, islands=1, tracking_losses=0), changes={"pose/1": b"x"}
    )
    count(first, white(number=1), white("neutrophil", number=2), on_map=on_map)
    first.pause()

    second = desk(journal)
    assert second.go_on()
    assert second.latest.model_copy(update={"stamp": None, "resumed": 0}) == first.latest.model_copy(
        update={"stamp": None}
    )
    assert (second.latest.resumed, second.not_counting, second.kept_map) == (
        1,
        SLIDE_PAUSED,
        {"pose/1": b"x"},
    )
    assert second.opened == 1
    second.resume()
    count(second, white("lymphocyte", number=1))
    assert counts(second) == {"neutrophil": 1, "lymphocyte": 1, "blast": 0}
    assert (second.latest.fields, second.latest.ground.mm2) == (2, 0.02)
    second.close()
    assert journal.values == {}
    third = desk(journal)
    assert not third.go_on()
    assert third.notice == ""


def test_a_field_keeps_no_more_on_a_large_slide_than_on_a_small_one():
    journal = Journal()
    subject = desk(journal)
    subject.open("A")
    written = []
    keep = journal.keep
    journal.keep = lambda values: (written.append(values), keep(values))[1]
    for field in range(1, 301):
        count(subject, white(number=2 * field), white(number=2 * field + 1))
    sizes = [sum(len(name) + len(value or b"") for name, value in values.items()) for values in written]
    assert len(journal.values) > 600
    # Only the digits of the counts grow.
    assert max(sizes) <= sizes[0] + 20


def other_classes():
    facts = classifier_facts()
    classes = ("neutrophil", "monocyte", "blast")
    return facts.model_copy(
        update={"classes": classes, "confusion": facts.confusion.model_copy(update={"classes": classes})}
    )


def test_a_slide_counted_by_another_bundle_is_closed_and_that_is_said():
    journal = Journal()
    first = desk(journal)
    first.open("A")
    count(first)
    differential = first.latest.differential
    second = desk(journal, bundle="1" * 64, classifier=other_classes())
    assert not second.go_on()
    closed = journal.records[-1]
    assert (closed.state, closed.closed_because, closed.stamp.bundle) == (
        "closed",
        "bundle_changed",
        "0" * 64,
    )
    assert closed.differential == differential
    assert "A, which was open, is closed with 1 fields: another bundle counts now" in second.notice
    assert journal.values == {}
    assert not second.is_open
    second.open("B")
    assert [row.cell_class for row in second.latest.differential] == ["neutrophil", "monocyte", "blast"]


def test_a_slide_without_cells_goes_on_with_another_bundle():
    journal = Journal()
    first = desk(journal)
    first.open("A")
    first.count(
        frame(),
        Accepted(focus=0.5, stained_share=0.2, place=PLACE),
        (),
        slide_number=first.opened,
        analysis_ms=1.0,
    )
    second = desk(journal, bundle="1" * 64, classifier=other_classes())
    assert second.go_on()
    count(second, white("monocyte"))
    assert counts(second)["monocyte"] == 1
    assert second.latest.stamp.bundle == "1" * 64


@pytest.mark.parametrize("lost", ["slide/head", "slide/tally"])
def test_a_slide_of_which_too_little_was_salvaged_does_not_go_on(lost):
    journal = Journal()
    first = desk(journal)
    first.open("A")
    count(first)
    del journal.values[lost]
    second = desk(journal)
    assert not second.go_on()
    assert "damaged" in second.notice
    assert journal.values == {}


def test_a_slide_that_lost_a_cell_is_closed_with_what_was_counted():
    journal = Journal()
    first = desk(journal)
    first.open("A")
    count(first, white(number=1), white(number=2))
    del journal.values["slide/cell/2"]
    second = desk(journal)
    assert not second.go_on()
    assert (journal.records[-1].closed_because, journal.records[-1].named_cells) == ("damaged", 2)
    assert "lost with a damaged outbox" in second.notice


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
    assert subject.count(frame(), accepted, (white(),), slide_number=1, analysis_ms=1.0) is None
    assert subject.latest.fields == 0
