"""The whole evaluation over real cells, named by a small classifier over their pixels."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.errors import EvaluationError
from trainer.evaluation.baselines import colour_statistics, nearest_neighbour
from trainer.evaluation.distance import relative_distances
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.shifts import SHIFTS, Shifted

pytestmark = pytest.mark.data

CLASSES = ("monocyte", "myeloblast", "seg_neutrophil")
OF_CLASS, BLOCK, FOLDS, SIDE_PX = 80, 8, 2, 48
JPEG = next(each for each in SHIFTS if each.severity == "quality 75")
DARK = next(each for each in SHIFTS if each.severity == "-1 EV")


def _read(data_dir: Path):
    """80 cells of each class in order of their files; each 8 neighbours are a block."""
    pictures, names = [], []
    for name in CLASSES:
        for file in sorted((data_dir / "pbc_aml" / name).iterdir())[:OF_CLASS]:
            picture = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
            pictures.append(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA))
            names.append(f"{name}/{file.name}")
    labels = np.repeat(np.arange(len(CLASSES)), OF_CLASS)
    return np.stack(pictures), labels, np.arange(len(labels)) // BLOCK, names


def _features(pictures):
    return np.stack([cv2.resize(each, (12, 12)).ravel() for each in pictures]).astype(np.float32)


@pytest.fixture(scope="module")
def judged(data_dir):
    """Predictions of two folds over blocks, and answers for the same pictures shifted."""
    pictures, labels, groups, names = _read(data_dir)
    shifted = {each: each(pictures) for each in (JPEG, DARK)}
    colours = colour_statistics(pictures)
    folds, answers = [], {each: [] for each in shifted}
    for fold in range(FOLDS):
        held = groups % FOLDS == fold
        model = make_pipeline(StandardScaler(), PCA(20), LogisticRegression(max_iter=2000))
        model.fit(_features(pictures[~held]), labels[~held])
        inner = model[:-1].transform
        for each, changed in shifted.items():
            answers[each].append(model.predict_log_proba(_features(changed[held])))
        folds.append(
            Predictions(
                classes=CLASSES,
                names=tuple(np.array(names)[held]),
                grouped_by="block",
                labels=labels[held],
                logits=model.predict_log_proba(_features(pictures[held])).astype(np.float32),
                groups=groups[held],
                folds=np.full(held.sum(), fold),
                distances=relative_distances(
                    inner(_features(pictures[~held])).astype(np.float32),
                    labels[~held],
                    inner(_features(pictures[held])).astype(np.float32),
                ),
                colour_named=nearest_neighbour(colours[~held], labels[~held], colours[held]),
                train_groups=np.unique(groups[~held]),
                train_folds=np.full(len(np.unique(groups[~held])), fold),
            )
        )
    return Predictions.joined(folds), [
        Shifted(shift=each, logits=np.concatenate(parts).astype(np.float32))
        for each, parts in answers.items()
    ]


def test_real_cells_are_judged_whole(judged, tmp_path: Path):
    predictions, shifted = judged
    found = evaluate(predictions, positive="myeloblast", shifted=shifted)
    assert (found.pictures, found.groups) == (240, 30)
    assert found.overall.accuracy.low > 0.7
    assert found.out_of_distribution.beyond.low < 0.05 < found.out_of_distribution.beyond.high
    assert found.calibration.error_after.high < found.calibration.error_before.value
    for each in found.prediction_sets:
        assert each.coverage.value == pytest.approx(each.level, abs=0.05)
    assert "Patients are unknown" in found.words[1]
    found.save(tmp_path / "evaluation.json")
    assert type(found).load(tmp_path / "evaluation.json") == found


def test_a_small_classifier_of_pixels_is_shown_to_be_worth_less_than_colour(judged):
    predictions, _ = judged
    baseline = evaluate(predictions, positive=None, draws=300).colour_baseline.overall
    assert baseline.reached.accuracy.value > 0.85, "these slides were not stained alike"
    assert baseline.difference.accuracy.high < 0


def test_a_dark_lamp_costs_accuracy_and_a_good_jpeg_does_not(judged):
    predictions, shifted = judged
    jpeg, dark = evaluate(predictions, positive=None, draws=300, shifted=shifted).shifts
    assert (jpeg.shift, dark.shift) == ("jpeg", "exposure")
    assert jpeg.accuracy_difference.low <= 0 <= jpeg.accuracy_difference.high
    assert dark.accuracy_difference.high < -0.05


def test_a_block_of_real_cells_on_both_sides_is_refused(judged):
    predictions, _ = judged
    leaky = np.append(predictions.train_groups, predictions.groups[0])
    fold = np.append(predictions.train_folds, predictions.folds[0])
    with pytest.raises(EvaluationError, match=rf"{predictions.groups[0]} \(monocyte/MO_\d+\.jpg\)"):
        evaluate(replace(predictions, train_groups=leaky, train_folds=fold), positive=None)
