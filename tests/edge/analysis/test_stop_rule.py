"""When a count may end, and that asking often does not make the answer wrong."""

import numpy as np
import pytest

from edge.analysis.intervals import Interval, wilson
from edge.analysis.stop_rule import Looks, StopRule, advise

NARROW = Interval(share=0.1, low=0.06, high=0.15)
WIDE = Interval(share=0.1, low=0.02, high=0.2)


def test_looks_are_planned_from_the_minimum_to_the_target():
    rule = StopRule(target_cells=250, min_cells=100, look_every_cells=50, blast_half_width=0.05)
    assert rule.looks == (100, 150, 200, 250)
    assert rule.level == pytest.approx(1 - 0.05 / 4)
    assert StopRule(target_cells=100, min_cells=100, blast_half_width=0.05).looks == (100,)
    assert StopRule(target_cells=50, min_cells=100, blast_half_width=0.05).looks == (50,)
    assert (StopRule(target_cells=400).looks, StopRule(target_cells=400).level) == ((), None)


@pytest.mark.parametrize(
    ("asked", "blasts", "classes", "narrow"),
    [
        ({"blast_half_width": 0.05}, NARROW, [WIDE], True),
        ({"blast_half_width": 0.05}, WIDE, [NARROW], False),
        ({"blast_half_width": 0.05}, None, [NARROW], False),
        ({"class_half_width": 0.05}, None, [NARROW, NARROW], True),
        ({"class_half_width": 0.05}, NARROW, [NARROW, WIDE], False),
        ({"class_half_width": 0.05, "blast_half_width": 0.05}, WIDE, [NARROW], False),
    ],
)
def test_every_interval_that_something_is_asked_of_must_be_narrow(asked, blasts, classes, narrow):
    assert StopRule(target_cells=200, **asked).is_narrow(blasts=blasts, classes=classes) is narrow


def test_a_look_is_taken_once_and_those_passed_over_with_it_are_not_taken_again():
    rule = StopRule(target_cells=200, min_cells=50, look_every_cells=50, blast_half_width=0.05)
    looks = Looks()
    assert not looks.due(rule, 49)
    assert looks.due(rule, 50)
    looks = looks.after(rule, named_cells=120, narrow=False)
    assert looks.taken == 2
    assert not looks.due(rule, 149)
    # A cell that lost its name again does not bring a look back.
    assert not looks.due(rule, 99)
    looks = looks.after(rule, named_cells=200, narrow=True)
    assert not looks.due(rule, 500)


def test_nothing_is_enough_below_the_minimum():
    rule = StopRule(target_cells=400, min_cells=100, look_every_cells=50, blast_half_width=1.0)
    assert not any(Looks().due(rule, cells) for cells in range(100))
    assert advise(rule, Looks(), named_cells=99).decision == "count_on"


def test_the_latest_look_speaks():
    rule = StopRule(target_cells=200, min_cells=100, look_every_cells=50, blast_half_width=0.05)
    looks = Looks().after(rule, named_cells=100, narrow=True)
    assert advise(rule, looks, named_cells=140).decision == "narrow_enough"
    looks = looks.after(rule, named_cells=150, narrow=False)
    assert advise(rule, looks, named_cells=150).decision == "count_on"
    assert advise(rule, looks, named_cells=200).decision == "target_reached"


def counted_until_narrow(rule, level, cells):
    """The interval at which a count of these cells stops, when judged at ``level`` at every planned look."""
    for look in rule.looks:
        interval = wilson(int(cells[:look].sum()), look, level=level)
        if rule.is_narrow(blasts=interval, classes=()):
            return interval
    return interval


@pytest.mark.parametrize("true_share", [0.02, 0.05, 0.1, 0.2])
def test_the_interval_at_the_stop_covers_the_truth_19_times_in_20_whenever_it_stops(true_share):
    rule = StopRule(target_cells=400, min_cells=50, look_every_cells=50, blast_half_width=0.05)
    chance, rounds = np.random.default_rng(11), 2000
    cells = chance.random((rounds, rule.target_cells)) < true_share
    stops = [counted_until_narrow(rule, rule.level, row) for row in cells]
    covered = np.mean([each.low <= true_share <= each.high for each in stops])
    assert covered > 0.95 - 3 * np.sqrt(0.05 * 0.95 / rounds)


def test_without_allowing_for_the_looks_it_would_not():
    rule = StopRule(target_cells=400, min_cells=20, look_every_cells=5, blast_half_width=0.08)
    chance, rounds, true_share = np.random.default_rng(12), 2000, 0.4
    cells = chance.random((rounds, rule.target_cells)) < true_share
    naive = [counted_until_narrow(rule, 0.95, row) for row in cells]
    honest = [counted_until_narrow(rule, rule.level, row) for row in cells]
    covered = [np.mean([each.low <= true_share <= each.high for each in stops]) for stops in (naive, honest)]
    assert covered[0] < 0.94
    assert covered[1] > 0.95
