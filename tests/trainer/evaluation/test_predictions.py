from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.errors import RunError
from trainer.evaluation.predictions import Predictions


def _some() -> Predictions:
    return Predictions(
        classes=("all", "normal"),
        names=("a/1.png", "a/2.png", "a/3.png"),
        grouped_by="patient",
        labels=np.array([0, 1, 1]),
        logits=np.array([[2, 0], [0, 1], [1, 0]], dtype=np.float32),
        groups=np.array([0, 1, 1]),
        folds=np.array([0, 0, 0]),
        distances=np.array([1, np.nan, 3], dtype=np.float32),
        colour_named=np.array([0, 0, 1]),
        train_groups=np.array([2, 3]),
        train_folds=np.array([0, 0]),
    )


def test_what_is_saved_comes_back(tmp_path: Path):
    _some().save(tmp_path / "predictions.npz")
    found = Predictions.load(tmp_path / "predictions.npz")
    assert (found.classes, found.names, found.grouped_by) == (_some().classes, _some().names, "patient")
    np.testing.assert_array_equal(found.logits, _some().logits)
    np.testing.assert_array_equal(found.distances, _some().distances)
    np.testing.assert_array_equal(found.train_groups, [2, 3])


def test_a_torn_file_is_named(tmp_path: Path):
    file = tmp_path / "predictions.npz"
    _some().save(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(RunError, match=r"predictions\.npz"):
        Predictions.load(file)


def test_rows_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="groups has 2 rows for 3 pictures"):
        replace(_some(), groups=np.array([0, 1]))


def test_labels_and_colour_names_are_places_among_the_classes():
    with pytest.raises(ValueError, match="labels holds places beyond the 2 classes"):
        replace(_some(), labels=np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="colour_named holds places"):
        replace(_some(), colour_named=np.array([0, -1, 0]))


def test_folds_are_joined_in_order():
    second = replace(_some(), folds=np.array([1, 1, 1]), train_folds=np.array([1, 1]), names=("x", "y", "z"))
    both = Predictions.joined([_some(), second])
    assert both.names == ("a/1.png", "a/2.png", "a/3.png", "x", "y", "z")
    assert both.folds.tolist() == [0, 0, 0, 1, 1, 1]
    assert both.train_folds.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(both.logits, np.concatenate([_some().logits, second.logits]))


def test_folds_that_do_not_belong_together_are_not_joined():
    with pytest.raises(ValueError, match="a fold stands twice"):
        Predictions.joined([_some(), _some()])
    with pytest.raises(ValueError, match="grouped otherwise"):
        Predictions.joined([_some(), replace(_some(), grouped_by="slide")])
