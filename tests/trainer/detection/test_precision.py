from __future__ import annotations

import numpy as np
import pytest

from trainer.detection.precision import (
    Found,
    average_precision,
    bootstrap,
    iou_matrix,
    match,
    operating_point,
)


def found(*answers: tuple[tuple[float, float, float, float], float], kind: int = 0) -> Found:
    return Found(
        boxes=np.array([box for box, _ in answers], dtype=np.float32).reshape(-1, 4),
        scores=np.array([score for _, score in answers], dtype=np.float32),
        kinds=np.full(len(answers), kind, dtype=np.int64),
    )


def labels(*boxes: tuple[float, float, float, float], kind: int = 0):
    return np.array(boxes, dtype=np.float32).reshape(-1, 4), np.full(len(boxes), kind, dtype=np.int64)


A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
FAR = (80, 80, 90, 90)


def test_overlap_of_boxes_by_hand():
    overlaps = iou_matrix(
        np.array([A], dtype=np.float32), np.array([A, (5, 0, 15, 10), FAR], dtype=np.float32)
    )
    assert overlaps[0].tolist() == pytest.approx([1, 1 / 3, 0])


def test_everything_found_first_is_one():
    assert average_precision(match([found((A, 0.9), (B, 0.8), (FAR, 0.1))], [labels(A, B)], kind=0)) == 1


def test_by_hand_hit_miss_hit_of_three():
    # Precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3: the envelope is 1 over a third, then 2/3 over another.
    matches = match([found((A, 0.9), (FAR, 0.8), (B, 0.7))], [labels(A, B, C)], kind=0)
    assert matches.hit.tolist() == [True, False, True]
    assert average_precision(matches) == pytest.approx(1 / 3 + 2 / 3 / 3)


def test_a_label_is_found_once():
    matches = match([found((A, 0.5), (A, 0.9))], [labels(A)], kind=0)
    assert matches.hit.tolist() == [True, False]


def test_a_better_answer_leaves_the_other_label_free():
    between = (4, 0, 14, 10)
    near = (6, 0, 16, 10)
    matches = match([found((near, 0.9), (between, 0.8))], [labels(near, (2, 0, 12, 10))], kind=0)
    assert matches.hit.tolist() == [True, True]


def test_an_answer_of_another_kind_or_frame_does_not_count():
    assert not match([found((A, 0.9), kind=1)], [labels(A)], kind=0).hit.size
    matches = match([found((A, 0.9)), found()], [labels(), labels(A)], kind=0)
    assert matches.hit.tolist() == [False]
    assert average_precision(matches) == 0


def test_a_kind_without_labels_has_no_precision():
    assert np.isnan(average_precision(match([found((A, 0.9))], [labels()], kind=0)))


def test_counting_a_frame_twice_is_having_it_twice():
    answers = [found((A, 0.9), (FAR, 0.7)), found((B, 0.8), (FAR, 0.95))]
    truth = [labels(A, C), labels(B)]
    doubled = match([answers[0], answers[1], answers[1]], [truth[0], truth[1], truth[1]], kind=0)
    counted = average_precision(match(answers, truth, kind=0), np.array([1, 2]))
    assert counted == pytest.approx(average_precision(doubled))


def test_the_interval_holds_the_value_and_is_a_point_where_every_frame_is_alike():
    answers = [found((A, 0.9), (FAR, 0.8 if index % 3 else 0.95)) for index in range(30)]
    mixed = match(answers, [labels(A, B)] * 30, kind=0)
    same = match([found((A, 0.9))] * 30, [labels(A)] * 30, kind=0)
    first, second, mean = bootstrap([mixed, same], replicates=200)
    assert first.low < first.value < first.high
    assert (second.low, second.value, second.high) == (1, 1, 1)
    assert mean.value == pytest.approx((first.value + 1) / 2)


def test_frames_of_one_group_are_redrawn_together_so_the_interval_is_wider():
    bad_slide = [found((A, 0.9), (FAR, 0.95))] * 10
    answers = [*bad_slide, *[found((A, 0.9), (B, 0.8))] * 50]
    matches = match(answers, [labels(A, B)] * 60, kind=0)
    (alone, _), (together, _) = (
        bootstrap([matches], groups=groups, replicates=300) for groups in (None, np.arange(60) // 10)
    )
    assert alone.value == together.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_limit_with_the_operating_point_by_hand():
    point = operating_point(match([found((A, 0.9), (B, 0.6), (FAR, 0.5))], [labels(A, B)], kind=0))
    assert (point.precision, point.recall, point.f1) == (1, 1, 1)
    assert point.score == pytest.approx(0.6)


def test_without_answers_nothing_is_let_through():
    assert operating_point(match([found()], [labels(A)], kind=0)).score == 1
