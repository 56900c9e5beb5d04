"""What is kept of an open slide is read back as it was, and anything else is no slide."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.analysis.session import Step, Tally
from edge.analysis.stop_rule import Looks
from edge.contract.records import CoveredGround
from edge.contract.taxonomy import ObjectKind
from edge.daemon.kept_slide import SlideHead, read_kept, values_of_head, values_of_step
from tests.edge.facts import classifier_facts

HEAD = SlideHead(
    slide="k7qd-3fz2mnavx5hq2w6e",
    identity="pseudonym",
    opened_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
    target_cells=200,
    bundle="0" * 64,
    confusion=classifier_facts().confusion,
    blasts=("blast",),
    paused=True,
    resumed=2,
)
TALLY = Tally(
    fields=7,
    objects={ObjectKind.WBC: 3, ObjectKind.RBC: 90},
    groups={"blast": 2, "doubtful": 1},
    looks=Looks(taken=1, narrow_at_cells=120),
    remembered_cells=2,
)
GROUND = CoveredGround(frames=6.5, mm2=0.1, islands=2, tracking_losses=1)


def kept():
    step = Step(tally=TALLY, cells={"1": "blast", "4-7-2": "doubtful"})
    values = values_of_head(HEAD) | values_of_step(step, ground=GROUND, slide_map={"pose/7": b"\x00\xff"})
    return {name: value for name, value in values.items() if value is not None}


def test_what_was_kept_is_read_back():
    found = read_kept(kept())
    assert (found.head, found.tally, found.ground, found.whole) == (HEAD, TALLY, GROUND, True)
    assert found.cells == {"1": "blast", "4-7-2": "doubtful"}
    assert found.slide_map == {"pose/7": b"\x00\xff"}


def test_a_cell_that_is_forgotten_is_removed():
    values = values_of_step(Step(tally=TALLY, cells={"1": None}))
    assert values["slide/cell/1"] is None


@pytest.mark.parametrize("lost", ["slide/head", "slide/tally"])
def test_without_head_or_tally_there_is_no_slide(lost):
    values = kept()
    del values[lost]
    assert read_kept(values) is None


def test_without_one_of_its_cells_it_is_not_whole():
    values = kept()
    del values["slide/cell/1"]
    assert not read_kept(values).whole


@given(st.sampled_from(sorted(kept())), st.binary(max_size=200))
def test_whatever_stands_in_the_place_of_a_value_is_read_or_is_no_slide(name, value):
    found = read_kept(kept() | {name: value})
    assert found is None or found.head.target_cells > 0
