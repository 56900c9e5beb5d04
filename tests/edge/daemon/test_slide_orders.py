"""Orders to a slide: opened, scanned, paused, closed, by the name that may be told."""

import pytest

from edge.analysis.stop_rule import StopRule
from edge.contract.records import SlideRecord
from edge.daemon.open_slide import CountRules
from edge.daemon.slide_desk import NO_SLIDE, SLIDE_PAUSED, SlideError
from edge.errors import StorageError
from edge.slide_identity import Pseudonyms
from tests.edge.daemon.slide_desk_bench import Journal, count, desk, white


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


def test_a_slide_that_cannot_be_recorded_is_not_open():
    journal = Journal()
    journal.full = True
    subject = desk(journal)
    with pytest.raises(StorageError):
        subject.open("A")
    assert not subject.is_open
    assert subject.latest is None
