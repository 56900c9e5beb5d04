import numpy as np
import pytest

from trainer.detection.precision import Matches
from trainer.quantization.costs import classifier_costs, detector_costs, one_answer_points

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
GROUPS = np.array([0, 0, 1, 1, 2, 3, 4, 5])


def test_the_cost_is_the_loss_of_the_mean_recall_in_points():
    before = LABELS.copy()
    after = LABELS.copy()
    after[0], after[4] = 1, 0
    total, each = classifier_costs(LABELS, before=before, after=after, classes=("a", "b", "c"), groups=GROUPS)
    assert [cost.points for cost in each] == pytest.approx([25.0, 50.0, 0.0])
    assert total.points == pytest.approx(25.0)
    assert (total.before, total.after) == (pytest.approx(100.0), pytest.approx(75.0))
    assert [cost.samples for cost in (total, *each)] == [8, 4, 2, 2]
    assert one_answer_points(each) == pytest.approx(100 / 3 / 2)
    assert each[0].low == pytest.approx(0.0), "the group without the changed answer may be drawn twice"
    assert each[0].high == pytest.approx(50.0)


def test_two_networks_of_the_same_faults_cost_nothing_whatever_is_redrawn():
    wrong = (LABELS + 1) % 3
    wrong[::2] = LABELS[::2]
    total, each = classifier_costs(LABELS, before=wrong, after=wrong, classes=("a", "b", "c"), groups=GROUPS)
    assert [(cost.points, cost.low, cost.high) for cost in (total, *each)] == [(0.0, 0.0, 0.0)] * 4


def test_a_class_that_does_not_occur_has_no_cost():
    total, each = classifier_costs(
        LABELS, before=LABELS, after=LABELS, classes=("a", "b", "c", "d"), groups=GROUPS
    )
    assert [cost.of for cost in each] == ["a", "b", "c"]
    assert total.before == pytest.approx(100.0)


def matches(hit: list[bool]) -> Matches:
    return Matches(
        scores=np.linspace(0.9, 0.5, len(hit)),
        hit=np.array(hit),
        frame=np.arange(len(hit)),
        labelled=np.ones(len(hit), dtype=np.int64),
    )


def test_a_detectors_cost_is_the_loss_of_average_precision():
    before = [matches([True] * 4), matches([True] * 4)]
    after = [matches([True, True, True, False]), matches([True] * 4)]
    total, each = detector_costs(before, after, kinds=("WBC", "RBC"))
    assert [cost.points for cost in each] == pytest.approx([25.0, 0.0])
    assert total.points == pytest.approx(12.5)
    assert total.low is not None
    assert total.low <= 12.5 <= total.high
    assert (each[1].low, each[1].high) == (0.0, 0.0)
    assert total.samples == 8
