"""Hand-written networks, exported as trained ones are, for tests that need no training."""

from pathlib import Path

from export.bundle import Ingredients
from export.golden import GoldenPictures, draw_golden_pictures
from export.onnx import export_onnx
from export.parts import signature_of
from export.testing import ColourClassifier, PurpleDetector, classifier_facts, detector_facts


def export_detector(path: Path) -> Path:
    return export_onnx(network=PurpleDetector(), signature=signature_of(detector_facts()), path=path)


def export_classifier(path: Path) -> Path:
    return export_onnx(network=ColourClassifier(), signature=signature_of(classifier_facts()), path=path)


def handmade_ingredients(detector_file: Path, classifier_file: Path) -> Ingredients:
    drawn = draw_golden_pictures(detector=detector_facts(), classifier=classifier_facts())
    return Ingredients(
        name="handmade",
        release=2,
        detector_files={"fp32": detector_file},
        detector_facts=detector_facts(),
        classifier_files={"fp32": classifier_file},
        classifier_facts=classifier_facts(),
        golden=GoldenPictures(frames=drawn.frames[:2], cells=drawn.cells[:4]),
    )
