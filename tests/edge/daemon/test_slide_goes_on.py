"""Another run goes on with the slide that was open, or closes it and says so."""

import pytest

from edge.analysis.gates import Accepted
from edge.contract.records import CoveredGround
from edge.daemon.slide_desk import SLIDE_PAUSED
from edge.daemon.slide_journal import OnMap
from tests.edge.daemon.slide_desk_bench import (
    PLACE,
    Journal,
    count,
    counts,
    desk,
    frame,
    other_classes,
    white,
)


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
