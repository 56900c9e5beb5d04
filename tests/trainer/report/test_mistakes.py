"""The mistakes that a report shows."""

import numpy as np
import pytest

from trainer.report.mistakes import Wrong, worst_mistakes


def probabilities(named_at: list[tuple[int, float]], classes: int = 3) -> np.ndarray:
    rows = np.zeros((len(named_at), classes))
    for row, (named, confidence) in zip(rows, named_at, strict=True):
        row[:] = (1 - confidence) / (classes - 1)
        row[named] = confidence
    return rows


def test_the_surest_wrong_answers_come_first_and_right_ones_never() -> None:
    answers = probabilities([(1, 0.6), (0, 0.99), (2, 0.9), (1, 0.7)])
    assert worst_mistakes([0, 0, 1, 2], answers) == (
        Wrong(index=2, true=1, named=2, confidence=0.9),
        Wrong(index=3, true=2, named=1, confidence=0.7),
        Wrong(index=0, true=0, named=1, confidence=0.6),
    )


def test_a_habitual_confusion_does_not_fill_the_page() -> None:
    answers = probabilities([(1, 0.9 - 0.01 * row) for row in range(8)] + [(2, 0.5)])
    chosen = worst_mistakes([0] * 9, answers, per_pair=2)
    assert [(wrong.index, wrong.named) for wrong in chosen] == [(0, 1), (1, 1), (8, 2)]
    assert len(worst_mistakes([0] * 9, answers, per_pair=8, at_most=5)) == 5


def test_of_equally_sure_ones_the_earlier_row_is_chosen_every_time() -> None:
    answers = probabilities([(1, 0.8)] * 40)
    assert [wrong.index for wrong in worst_mistakes([0] * 40, answers, per_pair=4)] == [0, 1, 2, 3]


def test_no_mistakes_are_none_shown() -> None:
    assert worst_mistakes([1, 2], probabilities([(1, 0.9), (2, 0.4)])) == ()
    assert worst_mistakes([], np.zeros((0, 3))) == ()


@pytest.mark.parametrize(
    "broken", [np.full((2, 3), np.nan), np.array([[3.0, -2.0, 0.0]] * 2), np.zeros((3, 3)), np.zeros(2)]
)
def test_logits_damaged_numbers_or_missing_rows_are_refused(broken: np.ndarray) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        worst_mistakes([0, 1], broken)
