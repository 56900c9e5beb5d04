import re

import cv2
import numpy as np
import pytest

from trainer.evaluation.intervals import redrawn
from trainer.evaluation.shifts import SHIFTS, Shifted, expose, judge_shift, restain, save_as_jpeg


@pytest.fixture
def cell():
    """A purple nucleus in a pale cell on bright ground, with some texture."""
    rng = np.random.default_rng(0)
    picture = np.full((64, 64, 3), 225, dtype=np.uint8)
    cv2.circle(picture, (32, 32), 24, (190, 170, 205), -1)
    cv2.circle(picture, (30, 34), 14, (95, 60, 140), -1)
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda each: f"{each.kind}, {each.severity}")
def test_a_shift_changes_pictures_the_same_way_each_time_and_leaves_the_input(shift, cell):
    pictures = np.stack([cell, cell[::-1]])
    before = pictures.copy()
    found = shift(pictures)
    assert found.shape == pictures.shape
    assert found.dtype == np.uint8
    assert (pictures == before).all()
    assert (found != before).any()
    assert (shift(pictures) == found).all()
    assert (shift(pictures[:1]) == found[:1]).all(), "whatever other pictures come with it"


def test_there_is_every_kind_and_each_severity_is_named_once_with_its_unit():
    assert {each.kind for each in SHIFTS} == {"stain", "blur", "exposure", "jpeg"}
    assert len({(each.kind, each.severity) for each in SHIFTS}) == len(SHIFTS)
    words = {"blur": r"^\d \w+ standard deviation$", "exposure": r"^[+-][\d.]+ EV$", "jpeg": r"^quality \d+$"}
    for each in SHIFTS:
        assert re.search(words.get(each.kind, "laboratory"), each.severity)


@pytest.mark.parametrize("kind", ["blur", "jpeg"])
def test_a_worse_severity_loses_more(kind, cell):
    lost = [np.abs(each(cell[None])[0].astype(float) - cell).mean() for each in SHIFTS if each.kind == kind]
    assert lost == sorted(lost)
    assert lost[-1] > 1.2 * lost[0]


def test_one_step_of_exposure_doubles_the_light_behind_gamma():
    grey = np.full((4, 4, 3), 80, dtype=np.uint8)
    brighter = expose(grey, steps_ev=1)
    assert (brighter[0, 0, 0] / 80) ** 2.2 == pytest.approx(2, rel=0.02)
    assert (expose(grey, steps_ev=-1)[0, 0, 0] / 80) ** 2.2 == pytest.approx(0.5, rel=0.03)


def test_jpeg_is_that_of_a_file_written_in_the_codecs_own_order(cell):
    _, data = cv2.imencode(".jpg", cv2.cvtColor(cell, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 40])
    expected = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert (save_as_jpeg(cell, quality=40) == expected).all()


def test_two_laboratories_stain_differently(cell):
    first, second = (restain(cell, laboratory=each, amount=1.0).astype(int) for each in (1, 2))
    assert np.abs(first.mean(axis=(0, 1)) - second.mean(axis=(0, 1))).max() > 3


def test_no_pictures_stay_none():
    assert SHIFTS[0](np.empty((0, 8, 8, 3), dtype=np.uint8)).shape == (0, 8, 8, 3)


def test_a_shift_is_judged_beside_the_same_pictures_unchanged():
    labels = np.arange(40) % 2
    named = np.where(np.arange(40) < 4, 1 - labels, labels)
    logits = np.eye(2, dtype=np.float32)[np.where(np.arange(40) < 10, 1 - labels, labels)]
    found = judge_shift(
        Shifted(shift=SHIFTS[-1], logits=logits),
        labels=labels,
        named=named,
        classes=2,
        positive=0,
        drawn=redrawn(labels, np.arange(40), word="patient", draws=100, seed=0),
    )
    assert (found.shift, found.severity) == ("jpeg", SHIFTS[-1].severity)
    assert found.accuracy.value == 0.75
    assert found.accuracy_difference.value == pytest.approx(0.75 - 0.9)
    assert found.accuracy_difference.high < 0
    assert found.balanced_accuracy.value == 0.75
    assert found.sensitivity.value == 0.75
    assert found.sensitivity.pictures == 20
