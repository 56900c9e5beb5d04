"""Exported once for the whole suite: the exporter takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle import Ingredients
from export.golden import GoldenPictures, draw_golden_pictures
from export.onnx import export_onnx
from export.parts import signature_of
from export.testing import ColourClassifier, PurpleDetector, classifier_facts, detector_facts


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "detector.onnx"
    return export_onnx(network=PurpleDetector(), signature=signature_of(detector_facts()), path=path)


@pytest.fixture(scope="session")
def classifier_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "classifier.onnx"
    return export_onnx(network=ColourClassifier(), signature=signature_of(classifier_facts()), path=path)


@pytest.fixture(scope="session")
def ingredients(detector_file: Path, classifier_file: Path) -> Ingredients:
    drawn = draw_golden_pictures(detector=detector_facts(), classifier=classifier_facts())
    return Ingredients(
        name="probe",
        release=2,
        detector_files={"fp32": detector_file},
        detector_facts=detector_facts(),
        classifier_files={"fp32": classifier_file},
        classifier_facts=classifier_facts(),
        golden=GoldenPictures(frames=drawn.frames[:2], cells=drawn.cells[:4]),
    )
