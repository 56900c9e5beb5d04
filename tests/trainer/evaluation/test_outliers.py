from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.evaluation.answers import drawn_answers
from trainer.errors import EvaluationError
from trainer.evaluation.halves import alternate_halves
from trainer.evaluation.intervals import redrawn
from trainer.evaluation.outliers import judge_distances, judge_strangers


def judged(distances, right, *, groups=None):
    distances, right = np.asarray(distances, np.float32), np.asarray(right, bool)
    groups = np.arange(len(right)) if groups is None else groups
    drawn = redrawn(np.zeros(len(right), int), groups, word="patient", draws=100, seed=0)
    return judge_distances(distances, right, alternate_halves(groups), drawn)


def test_about_one_in_twenty_lies_beyond_a_limit_of_the_95th_percentile():
    distances = np.random.default_rng(0).gamma(5, 0.2, 2000)
    found = judged(distances, np.ones(2000, bool))
    assert found.beyond.low < 0.05 < found.beyond.high
    assert found.limit == pytest.approx(np.percentile(distances, 95), rel=1e-5)


def test_a_half_is_judged_by_the_limit_of_the_other():
    distances = np.where(np.arange(40) % 2 == 0, 1.0, 9.0)
    found = judged(distances, np.arange(40) % 2 == 0)
    assert found.half_limits == (9, 1)
    # The near half lies within 9, the far half beyond 1.
    assert found.beyond.value == 0.5
    assert found.accuracy_within.value == 1
    assert found.accuracy_beyond.value == 0


def test_distance_that_grows_with_mistakes_tells_them():
    right = np.arange(200) % 4 != 0
    distances = np.where(right, 1.0, 2.0) + np.linspace(0, 0.5, 200)
    assert judged(distances, right).mistakes.value == 1
    assert judged(-distances, right).mistakes.value == 0


def test_without_a_mistake_there_is_nothing_to_tell():
    found = judged(np.linspace(0, 1, 50), np.ones(50, bool))
    assert (found.mistakes.value, found.mistakes.why) == (None, "every picture was named right")


def test_a_classifier_without_features_has_no_distances_and_says_so():
    found = judged([np.nan] * 20, np.ones(20, bool))
    assert found.limit is None
    assert found.beyond.value is None
    assert "no features" in found.beyond.why


def test_strangers_are_told_from_known_pictures():
    known = drawn_answers()
    far = replace(drawn_answers(seed=1), distances=known.distances + 5)
    same = replace(drawn_answers(seed=2), distances=known.distances)
    told = judge_strangers(known, far, name="dust", draws=100)
    untold = judge_strangers(known, same, name="the same", draws=100)
    assert (told.name, told.pictures, told.groups) == ("dust", 400, 40)
    assert told.roc_auc.value == 1
    assert told.refused.value == 1
    assert untold.roc_auc.value == 0.5
    assert untold.roc_auc.low < 0.5 < untold.roc_auc.high
    assert untold.refused.value == pytest.approx(0.05, abs=0.01)


def test_strangers_of_a_classifier_without_features_are_an_error():
    known = drawn_answers()
    with pytest.raises(EvaluationError, match=r"dust.*no features"):
        judge_strangers(known, replace(known, distances=np.full(400, np.nan, np.float32)), name="dust")


def test_known_and_strange_groups_of_one_number_are_not_one_group():
    known = drawn_answers()
    strange = replace(drawn_answers(seed=1), distances=known.distances + np.float32(0.3))
    renumbered = replace(strange, groups=strange.groups + 1000)
    told = judge_strangers(known, strange, name="dust", draws=100)
    assert told == judge_strangers(known, renumbered, name="dust", draws=100)
