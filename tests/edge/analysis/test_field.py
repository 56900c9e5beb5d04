"""Detector and classifier together, with scripted answers."""

import numpy as np
import pytest

from edge.analysis.field import FieldAnalyzer
from edge.contract.taxonomy import ObjectKind
from edge.engine.signature import classifier_signature, detector_signature
from edge.engine.testing import FakeEngine, finds, names
from tests.edge.facts import classifier_facts, detector_facts

WBC, RBC = ObjectKind.WBC, ObjectKind.RBC


def analyzer(objects, probabilities=(0.9, 0.05, 0.05), distance=1.0):
    found = detector_facts()
    named = classifier_facts()
    detector = FakeEngine(
        signature=detector_signature(found),
        answer=finds(objects, kinds=found.kinds, max_objects=found.max_objects),
    )
    classifier = FakeEngine(
        signature=classifier_signature(named), answer=names(probabilities, distance=distance)
    )
    return (
        FieldAnalyzer(detector=detector, classifier=classifier, detector_facts=found, classifier_facts=named),
        detector,
        classifier,
    )


def frame(width=640, height=480):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_white_cells_are_named_in_one_batch_and_the_rest_are_not():
    subject, _, classifier = analyzer(
        [(WBC, 0.9, (65, 69, 130, 134)), (WBC, 0.8, (200, 100, 260, 160)), (RBC, 0.7, (10, 10, 50, 50))]
    )
    cells = subject.analyze(frame())
    assert [cell.kind for cell in cells] == [WBC, WBC, RBC]
    assert [len(batch) for batch in classifier.batches] == [2]
    assert cells[0].naming.cell_class == "neutrophil"
    assert cells[0].crop.shape == (64, 64, 3)
    assert cells[2].naming is None


def test_boxes_come_back_in_frame_pixels():
    # 640 x 480 goes into 416 x 320 at 0.65, and lies 4 pixels down.
    subject, _, _ = analyzer([(WBC, 0.9, (65, 69, 130, 134))])
    (cell,) = subject.analyze(frame())
    assert cell.box_px == pytest.approx((100, 100, 200, 200), abs=0.1)


def test_what_is_below_its_threshold_is_told_only_when_asked():
    subject, _, _ = analyzer([(WBC, 0.9, (65, 69, 130, 134)), (RBC, 0.05, (10, 10, 50, 50))])
    assert len(subject.analyze(frame())) == 1
    assert len(subject.analyze(frame(), min_score=0.01)) == 2


@pytest.mark.parametrize(
    ("probabilities", "distance", "doubtful", "unknown"),
    [
        ((0.9, 0.05, 0.05), 1.0, False, False),
        ((0.5, 0.3, 0.2), 1.0, True, False),
        ((0.05, 0.05, 0.9), 11.0, False, True),
    ],
)
def test_doubtful_and_unknown_cells_do_not_count(probabilities, distance, doubtful, unknown):
    subject, _, _ = analyzer([(WBC, 0.9, (65, 69, 130, 134))], probabilities, distance)
    naming = subject.analyze(frame())[0].naming
    assert (naming.doubtful, naming.out_of_distribution) == (doubtful, unknown)
    assert naming.counts == (not doubtful and not unknown)


def test_a_large_frame_of_known_scale_is_looked_at_tile_by_tile():
    subject, detector, _ = analyzer([(WBC, 0.9, (200, 150, 216, 166))])
    cells = subject.analyze(frame(2592, 1944), um_per_px=0.055)
    assert len(detector.batches) == len(cells) == 25
    assert len({cell.box_px for cell in cells}) == len(cells)


@pytest.mark.parametrize(("size_px", "um_per_px"), [((640, 480), None), ((2592, 1944), 0.055)])
def test_what_is_prepared_beforehand_is_not_made_again_and_says_the_same(size_px, um_per_px, monkeypatch):
    subject, detector, _ = analyzer([(WBC, 0.9, (200, 150, 216, 166))])
    picture = frame(*size_px)
    expected = subject.analyze(picture, um_per_px=um_per_px)
    shown = [batch.copy() for batch in detector.batches]
    detector.batches.clear()
    prepared = subject.prepare(picture, um_per_px=um_per_px)
    monkeypatch.setattr(subject, "prepare", None)
    found = subject.analyze(picture, um_per_px=um_per_px, prepared=prepared)
    assert [cell.box_px for cell in found] == [cell.box_px for cell in expected]
    np.testing.assert_array_equal(np.stack(detector.batches), np.stack(shown))


def test_a_box_wholly_in_the_margin_is_nothing():
    subject, _, _ = analyzer([(WBC, 0.9, (100, 317, 140, 320))])
    assert subject.analyze(frame()) == ()
