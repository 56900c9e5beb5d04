"""A slide session: what counts, what does not, and what a better view or a person changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.analysis.cells import Cell, Naming
from edge.analysis.differential import Differentials
from edge.analysis.session import SlideSession, Tally
from edge.analysis.stop_rule import StopRule
from edge.contract.taxonomy import ARTEFACT, DOUBTFUL, OUT_OF_DISTRIBUTION, UNCLASSIFIED, ObjectKind
from tests.edge.facts import CLASSES, classifier_facts

WBC = ObjectKind.WBC


def white(cell_class, *, doubtful=False, unknown=False, number=None):
    naming = Naming(
        cell_class=cell_class,
        probability=0.9,
        probabilities={},
        distance=1.0,
        out_of_distribution=unknown,
        doubtful=doubtful,
    )
    return Cell(box_px=(0, 0, 9, 9), kind=WBC, score=0.9, naming=naming, number=number)


def red():
    return Cell(box_px=(0, 0, 9, 9), kind=ObjectKind.RBC, score=0.9)


def session(**options):
    return SlideSession(
        differentials=Differentials(confusion=classifier_facts().confusion, blasts=("blast",)),
        **{"rule": StopRule(target_cells=100)} | options,
    )


def add(subject, *cells, withdrawn=()):
    subject.take(subject.after_field(cells, withdrawn=withdrawn))


def counts(subject):
    return {row.cell_class: row.count for row in subject.differential().rows}


def test_only_cells_named_with_confidence_take_part():
    subject = session()
    add(subject, white("neutrophil"), white("blast", doubtful=True), red())
    add(subject, white("lymphocyte"), white("blast", unknown=True), white("neutrophil"), red(), red())
    assert subject.differential().named_cells == 3
    assert counts(subject) == {"neutrophil": 2, "lymphocyte": 1, "blast": 0}
    assert (subject.tally.groups[DOUBTFUL], subject.tally.groups[OUT_OF_DISTRIBUTION]) == (1, 1)
    assert subject.tally.objects == {WBC: 5, ObjectKind.RBC: 3}
    assert subject.tally.fields == 2


def test_what_is_not_taken_changes_nothing():
    subject = session()
    add(subject, white("neutrophil", number=1))
    before = subject.tally
    subject.after_field([white("blast", number=1), white("blast", number=2)])
    assert subject.tally == before
    assert counts(subject)["neutrophil"] == 1


def test_a_better_view_of_a_cell_takes_the_place_of_the_earlier_one():
    subject = session()
    add(subject, white("lymphocyte", number=1), white("neutrophil", number=2))
    add(subject, white("blast", number=1))
    assert counts(subject) == {"neutrophil": 1, "lymphocyte": 0, "blast": 1}
    add(subject, white("blast", number=1, doubtful=True))
    assert subject.differential().named_cells == 1
    assert subject.tally.groups == {"neutrophil": 1, DOUBTFUL: 1}
    assert subject.tally.objects == {WBC: 2}


def test_a_cell_without_a_number_is_a_cell_of_its_own():
    subject = session()
    add(subject, white("blast"), white("blast"))
    assert (counts(subject)["blast"], subject.tally.remembered_cells) == (2, 0)


def test_a_number_that_turns_out_to_be_another_cell_is_withdrawn():
    subject = session()
    add(subject, white("blast", number=1), white("blast", number=2))
    add(subject, withdrawn=(2, 7))
    assert counts(subject)["blast"] == 1
    assert subject.tally.objects == {WBC: 1}
    assert subject.tally.remembered_cells == 1


def test_what_a_person_calls_an_artefact_is_counted_as_one_and_under_no_class():
    subject = session()
    add(subject, white("blast", number=1), white("blast"))
    subject.take(subject.after_verdict("1", machine="blast", verdict=ARTEFACT))
    subject.take(subject.after_verdict("4-2-1", machine="blast", verdict=UNCLASSIFIED))
    assert counts(subject)["blast"] == 0
    assert subject.tally.groups == {ARTEFACT: 1, UNCLASSIFIED: 1}
    subject.take(subject.after_verdict("4-2-1", machine="blast", verdict=ARTEFACT))
    assert subject.tally.groups == {ARTEFACT: 2}
    subject.take(subject.after_verdict("4-2-1", machine="blast", verdict=None))
    assert subject.tally.groups == {ARTEFACT: 1, "blast": 1}


def test_a_better_view_does_not_overrule_a_person():
    subject = session()
    add(subject, white("blast", number=1))
    subject.take(subject.after_verdict("1", machine="blast", verdict=ARTEFACT))
    add(subject, white("neutrophil", number=1))
    assert subject.tally.groups == {ARTEFACT: 1}


def test_a_verdict_is_no_class():
    with pytest.raises(ValueError, match="'blast' is no verdict; artefact, unclassified are"):
        session().after_verdict("1", machine="neutrophil", verdict="blast")


def test_the_first_field_at_or_beyond_a_look_takes_it():
    # Of two hundred named blasts all are blasts: within five points at any look.
    rule = StopRule(target_cells=200, min_cells=100, look_every_cells=50, blast_half_width=0.05)
    subject = session(rule=rule)
    add(subject, *[white("blast")] * 99)
    assert (subject.advice().decision, subject.tally.looks.taken) == ("count_on", 0)
    add(subject, *[white("blast")] * 4)
    assert (subject.advice().decision, subject.advice().cells) == ("narrow_enough", 103)
    assert subject.tally.looks.taken == 1


def test_without_a_wanted_width_only_the_target_ends_the_count():
    subject = session(rule=StopRule(target_cells=120))
    add(subject, *[white("blast")] * 119)
    assert subject.advice().decision == "count_on"
    add(subject, white("blast"))
    assert subject.advice().decision == "target_reached"
    assert subject.tally.looks.taken == 0


CELLS = st.builds(
    white,
    st.sampled_from(CLASSES),
    doubtful=st.booleans(),
    unknown=st.booleans(),
    number=st.one_of(st.none(), st.integers(1, 6)),
)
EVENTS = st.one_of(
    st.tuples(st.just("field"), st.lists(CELLS, max_size=5), st.lists(st.integers(1, 6), max_size=2)),
    st.tuples(st.just("verdict"), st.integers(1, 6), st.sampled_from([ARTEFACT, UNCLASSIFIED, None])),
)


@given(st.lists(EVENTS, max_size=12), st.integers(0, 12))
def test_a_session_taken_up_in_the_middle_ends_as_one_that_was_never_left(events, middle):
    whole, parted = session(), session()
    known = {}
    for index, event in enumerate(events):
        if index == middle:
            parted = session(tally=parted.tally, cells=known)
        for subject in (whole, parted):
            if event[0] == "field":
                step = subject.after_field(event[1], withdrawn=event[2])
            elif str(event[1]) in known:
                step = subject.after_verdict(str(event[1]), machine="blast", verdict=event[2])
            else:
                continue
            subject.take(step)
        if event[0] == "field" or str(event[1]) in known:
            known = {name: group for name, group in (known | dict(step.cells)).items() if group is not None}
    assert whole.tally == parted.tally
    # Nothing is ever counted below nothing, and every white cell is in one group.
    assert all(count > 0 for count in whole.tally.groups.values())
    assert sum(whole.tally.groups.values()) == whole.tally.objects.get(WBC, 0)
    assert whole.tally.remembered_cells == len(known)


def test_an_empty_session_is_that_of_an_empty_tally():
    assert session(tally=Tally()).differential() == session().differential()
