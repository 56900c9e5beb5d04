"""The corrected shares against Rogan and Gladen, against exact answers, and by simulated coverage."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.analysis.corrected_shares import corrected_shares
from edge.analysis.intervals import BinaryErrors, corrected_share

BINARY = ((95, 5), (8, 192))
ERRORS = BinaryErrors(positives=100, found=95, negatives=200, cleared=192)
STARTER = (
    (74, 0, 0, 0, 0, 0, 1),
    (0, 6, 0, 0, 0, 0, 0),
    (0, 0, 62, 0, 0, 0, 0),
    (0, 0, 0, 6, 0, 0, 0),
    (0, 0, 0, 0, 51, 0, 0),
    (0, 0, 0, 0, 0, 51, 0),
    (0, 0, 0, 0, 0, 0, 47),
)


@pytest.mark.parametrize("count", [0, 2, 4, 10, 30, 60, 95, 100])
def test_for_two_classes_the_estimate_is_rogan_and_gladens(count):
    found = corrected_shares((count, 100 - count), BINARY)
    assert found.shares[0] == pytest.approx(corrected_share(count, 100, ERRORS).share, abs=5e-4)


@pytest.mark.parametrize("count", [0, 4, 10, 30, 60])
def test_for_two_classes_the_interval_is_near_to_lang_and_reiczigels(count):
    ours = corrected_shares((count, 100 - count), BINARY).interval((0,))
    theirs = corrected_share(count, 100, ERRORS)
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_rogan_and_gladen_read_the_mix_of_the_validation_into_the_slide():
    # Lymphocytes are called blast one time in five, neutrophils never. Half of the validated cells that are
    # no blasts were lymphocytes; on this slide nearly all are. As two classes, blasts are found there.
    confusion = ((100, 0, 0), (0, 80, 20), (0, 0, 100))
    named = (5, 76, 19)
    together = BinaryErrors(positives=100, found=100, negatives=200, cleared=180)
    assert corrected_share(19, 100, together).share == pytest.approx(0.1)
    assert corrected_shares(named, confusion).shares[2] == pytest.approx(0, abs=1e-3)


def test_confusions_are_taken_off_in_every_class():
    # 60 of class a, 30 of b and 10 of c, named exactly as the rates say.
    confusion = ((900, 80, 20), (50, 900, 50), (10, 90, 900))
    named = np.array([600, 300, 100]) @ (np.array(confusion) / 1000)
    found = corrected_shares(np.round(named).astype(int), confusion)
    assert found.shares == pytest.approx((0.6, 0.3, 0.1), abs=0.002)


def test_the_posterior_is_the_exact_one_where_that_is_known():
    # Without confusions the shares' posterior is Dirichlet(count + 1/2); of two classes a beta distribution.
    exact = ((10**7, 0), (0, 10**7))
    found = corrected_shares((12, 88), exact)
    draws = np.random.default_rng(5).beta(12.5, 88.5, 200_000)
    low, high = np.quantile(draws, (0.025, 0.975))
    assert found.interval((0,)).low == pytest.approx(low, abs=0.006)
    assert found.interval((0,)).high == pytest.approx(high, abs=0.01)
    assert found.probability_above((0,), 0.1) == pytest.approx(np.mean(draws > 0.1), abs=0.03)


def test_the_interval_holds_the_doubt_of_the_confusions_too():
    few, many = ((9, 1), (1, 9)), ((9000, 1000), (1000, 9000))
    narrow = corrected_shares((3000, 7000), many).interval((0,))
    wide = corrected_shares((3000, 7000), few).interval((0,))
    assert narrow.high - narrow.low < 0.05
    assert wide.high - wide.low > 0.15


@pytest.mark.parametrize(
    ("named", "confusion"),
    [((0, 0), BINARY), ((5, 5), ((0, 0), (1, 9))), ((5, 5), ((5, 5), (5, 5))), ((5, 5), ((9, 1), (9, 1)))],
)
def test_where_nothing_can_be_told_nothing_is(named, confusion):
    assert corrected_shares(named, confusion) is None


def test_the_same_counts_give_the_same_figures():
    one, other = (corrected_shares((50, 20, 10, 5, 2, 3, 10), STARTER) for _ in range(2))
    assert one.shares == other.shares
    assert (one.draws == other.draws).all()


ROWS = st.lists(st.integers(0, 60), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.lists(ROWS, min_size=3, max_size=3))
def test_whatever_is_counted_the_shares_are_shares_within_their_intervals(named, confusion):
    found = corrected_shares(named, confusion)
    if found is None:
        return
    assert sum(found.shares) == pytest.approx(1)
    for each in range(3):
        interval = found.interval((each,))
        assert 0 <= interval.low <= interval.share <= interval.high <= 1
        wider = found.interval((each,), level=0.99)
        assert wider.low <= interval.low
        assert wider.high >= interval.high
    assert found.interval((0, 1, 2)).low == pytest.approx(1)


def test_it_is_soon_worked_out():
    corrected_shares((1, 1, 1, 1, 1, 1, 1), STARTER)
    taken_s = []
    for blasts in range(5, 25):
        begun_s = time.process_time()
        corrected_shares((200, 80, 30, 20, 10, 20, blasts), STARTER)
        taken_s.append(time.process_time() - begun_s)
    # 12 to 20 ms on an idle core of a server; the bound is for a busy one, and for what is of another kind.
    assert min(taken_s) < 0.1


@pytest.mark.parametrize("blast_share", [0.0, 0.05, 0.6])
def test_the_intervals_cover_the_truth_19_times_in_20(blast_share):
    """Slides of 200 cells of seven classes, and a validation of some 350, drawn anew each time."""
    chance, rounds = np.random.default_rng(21), 80
    validated = (75, 20, 62, 20, 51, 51, 47)
    rates = np.zeros((7, 7))
    for each in range(7):
        rates[each, each] = 0.9
        rates[each, (each + 1) % 7] += 0.06
        rates[each, (each + 3) % 7] += 0.04
    others = np.array((0.55, 0.25, 0.08, 0.05, 0.02, 0.05, 0.0))
    shares = (1 - blast_share) * others
    shares[6] = blast_share
    covered = np.zeros(7)
    for _ in range(rounds):
        confusion = [chance.multinomial(cells, row) for cells, row in zip(validated, rates, strict=True)]
        found = corrected_shares(chance.multinomial(200, shares @ rates), confusion)
        intervals = [found.interval((each,)) for each in range(7)]
        covered += [each.low <= share <= each.high for each, share in zip(intervals, shares, strict=True)]
    # All seven together, and the blasts alone, three standard errors below the nominal 95%.
    assert covered.sum() / (7 * rounds) > 0.95 - 3 * math.sqrt(0.95 * 0.05 / (7 * rounds))
    assert covered[6] / rounds > 0.95 - 3 * math.sqrt(0.95 * 0.05 / rounds)
