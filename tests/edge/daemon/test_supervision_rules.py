"""What the supervision may decide, over any life that a part can have."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.daemon.supervision_rules import LONGEST_PAUSE_S, History, Patience, Sight, judge, pause_s

LIMIT_S = 10.0
PATIENCE = Patience(restarts=5, within_s=60.0)

# A look: seconds since the one before, whether work was seen through, and how the part is found.
LOOKS = st.lists(
    st.tuples(st.floats(0.5, 40.0), st.booleans(), st.sampled_from(["well", "idle", "silent", "dead"])),
    max_size=120,
)


def sight(found: str, *, now_s: float = 0.0, passes: int = 0) -> Sight:
    silent_s = {"well": 1.0, "idle": None, "silent": LIMIT_S + 1, "dead": 2.0}[found]
    return Sight(
        now_s=now_s,
        silent_s=silent_s,
        limit_s=LIMIT_S,
        passes=passes,
        fault="it broke" if found == "dead" else "",
    )


def lived(looks):
    """Every (now, found, decision, passes, history) of a life."""
    now_s, passes, history = 0.0, 0, History()
    for gap_s, worked, found in looks:
        now_s += gap_s
        passes += worked
        decision, history = judge(sight(found, now_s=now_s, passes=passes), history, PATIENCE)
        yield now_s, found, decision, passes, history


@given(LOOKS)
def test_no_window_of_a_minute_holds_more_than_five_restarts(looks):
    restarts_s = [now_s for now_s, _, decision, _, _ in lived(looks) if decision == "restart"]
    for first, sixth in zip(restarts_s, restarts_s[5:], strict=False):
        assert sixth - first > PATIENCE.within_s


@given(LOOKS)
def test_no_more_than_five_restarts_pass_without_work_seen_through(looks):
    in_a_row, seen = 0, 0
    for _, _, decision, passes, _ in lived(looks):
        if passes > seen:
            in_a_row, seen = 0, passes
        in_a_row += decision == "restart"
        assert in_a_row <= PATIENCE.restarts


@given(LOOKS)
def test_a_part_that_is_well_or_owes_nothing_is_left_alone(looks):
    assert all(
        decision == "nothing" for _, found, decision, _, _ in lived(looks) if found in {"well", "idle"}
    )


@given(LOOKS)
def test_a_part_is_given_up_once_and_stays_so(looks):
    decisions = [decision for _, _, decision, _, _ in lived(looks)]
    if "degrade" in decisions:
        assert set(decisions[decisions.index("degrade") + 1 :]) <= {"nothing"}


@given(LOOKS)
def test_a_stuck_part_is_never_passed_over(looks):
    degraded = False
    for _, found, decision, _, history in lived(looks):
        if found == "silent" and not degraded:
            assert decision in {"restart", "degrade"}
        degraded = history.degraded


@given(st.floats(0.5, 3.0))
def test_a_part_that_cannot_begin_is_given_up_within_half_a_minute(gap_s):
    life = list(lived([(gap_s, False, "dead")] * 80))
    given_up_s = next(now_s for now_s, _, decision, _, _ in life if decision == "degrade")
    assert given_up_s - gap_s <= 30
    restarts_s = [now_s for now_s, _, decision, _, _ in life if decision == "restart"]
    assert len(restarts_s) == PATIENCE.restarts
    for row, (before, after) in enumerate(pairwise(restarts_s), start=1):
        assert after - before >= pause_s(row)


def test_a_part_that_hangs_now_and_then_is_kept_for_ever():
    found = [(20.0, True, "silent")] * 500
    assert {decision for _, _, decision, _, _ in lived(found)} == {"restart"}


def test_what_must_not_begin_anew_is_given_up_at_once():
    part = replace(sight("silent"), restartable=False)
    decision, history = judge(part, History(), PATIENCE)
    assert (decision, history.restarts, history.degraded) == ("degrade", 0, True)


def test_pauses_double_up_to_their_cap():
    assert [pause_s(row) for row in range(7)] == [0.0, 1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
