from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, chi2

from tests.trainer.evaluation.answers import answers, drawn_answers
from trainer.errors import EvaluationError
from trainer.evaluation.compare import compare, mcnemar


def runs(both, first_only, second_only, neither, *, each=1):
    """Two runs whose pictures fall into the four cells of McNemar's table."""
    counts = (both, first_only, second_only, neither)
    right = [np.repeat(cells, counts) for cells in ([1, 1, 0, 0], [1, 0, 1, 0])]
    labels = np.arange(sum(counts)) % 2
    groups = np.arange(sum(counts)) // each
    return [answers(labels, np.where(hit, labels, 1 - labels), groups=groups) for hit in right]


def test_few_discordant_pictures_are_tested_exactly():
    # 1 of 7 against a fair coin: 2 (1 + 7) / 2**7.
    assert mcnemar(1, 6) == ("exact binomial", 1, pytest.approx(16 / 128))
    assert mcnemar(6, 1)[2] == pytest.approx(16 / 128)
    assert mcnemar(9, 15)[2] == pytest.approx(2 * binom.cdf(9, 24, 0.5))


def test_many_discordant_pictures_are_tested_by_chi_squared():
    # (|59 - 121| - 1)^2 / 180 = 3721 / 180.
    method, statistic, p_value = mcnemar(121, 59)
    assert method == "chi-squared with continuity correction"
    assert statistic == pytest.approx(3721 / 180)
    assert p_value == pytest.approx(chi2.sf(3721 / 180, 1))
    assert p_value == pytest.approx(5.45e-6, rel=1e-2)


def test_no_discordant_picture_tells_nothing():
    assert mcnemar(0, 0) == ("exact binomial", 0, 1)
    assert mcnemar(5, 5)[2] == 1
    assert mcnemar(15, 15)[2] == 1, "the correction does not make a difference of none into one"


def test_the_table_and_the_difference_of_two_runs():
    found = compare(*runs(50, 4, 12, 14), names=("old", "new"), draws=200)
    cells = (found.both_right, found.only_first_right, found.only_second_right, found.both_wrong)
    assert cells == (50, 4, 12, 14)
    assert found.accuracy_difference.value == pytest.approx(8 / 80), "second minus first"
    assert found.accuracy_difference.low < 8 / 80 < found.accuracy_difference.high
    assert found.p_value == pytest.approx(2 * binom.cdf(4, 16, 0.5))
    assert (found.first, found.second, found.pictures) == ("old", "new", 80)


def test_pictures_of_one_group_widen_the_difference_but_not_mcnemars_p_value():
    single = compare(*runs(48, 0, 16, 16, each=1), names=("a", "b"), draws=400)
    clustered = compare(*runs(48, 0, 16, 16, each=8), names=("a", "b"), draws=400)
    assert single.p_value == clustered.p_value < 0.001
    width = [each.accuracy_difference.high - each.accuracy_difference.low for each in (single, clustered)]
    assert width[1] > 1.8 * width[0]
    assert "redraws whole patients" in clustered.words


def test_pictures_are_matched_by_name_not_by_place():
    first, second = runs(20, 5, 9, 6)
    order = np.random.default_rng(0).permutation(40)
    shuffled = replace(
        second,
        names=tuple(second.names[at] for at in order),
        **{
            field: getattr(second, field)[order]
            for field in ("labels", "logits", "groups", "folds", "distances", "colour_named")
        },
    )
    assert compare(first, shuffled, names=("a", "b")) == compare(first, second, names=("a", "b"))


def test_runs_on_other_pictures_labels_or_classes_are_not_compared():
    first, second = runs(20, 5, 9, 6)
    with pytest.raises(EvaluationError, match=r"2 pictures stand in one run alone: 39\.png, other\.png"):
        compare(first, replace(second, names=(*second.names[:-1], "other.png")), names=("a", "b"))
    relabelled = replace(second, labels=np.where(np.arange(40) == 3, 1 - second.labels, second.labels))
    with pytest.raises(EvaluationError, match=r"1 pictures different true classes: 3\.png"):
        compare(first, relabelled, names=("a", "b"))
    with pytest.raises(EvaluationError, match="different classes"):
        compare(first, replace(second, classes=("normal", "blast")), names=("a", "b"))
    twice = replace(second, names=(*second.names[:-1], "0.png"))
    with pytest.raises(EvaluationError, match=r"more than once: 0\.png"):
        compare(first, twice, names=("a", "b"))


def test_a_run_that_trained_on_what_it_is_judged_on_is_not_compared():
    honest = drawn_answers()
    leaky = replace(honest, train_groups=honest.groups, train_folds=honest.folds)
    with pytest.raises(EvaluationError, match="trained on"):
        compare(honest, leaky, names=("a", "b"))
    assert compare(honest, leaky, names=("a", "b"), leaky=True, draws=20).p_value == 1
