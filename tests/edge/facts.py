"""Facts of small imaginary networks, for tests that script the networks' answers."""

from edge.contract.manifest import (
    Calibration,
    Classifier,
    Confusion,
    Detector,
    InputGeometry,
    Threshold,
)
from edge.contract.taxonomy import ObjectKind

CLASSES = ("neutrophil", "lymphocyte", "blast")


def detector_facts() -> Detector:
    return Detector(
        files={"fp32": "detector.onnx"},
        input=InputGeometry(width_px=416, height_px=320),
        um_per_px=0.11,
        kinds=(ObjectKind.WBC, ObjectKind.RBC, ObjectKind.PLATELET),
        max_objects=20,
        thresholds={kind: Threshold(value=0.5, operating_point="test") for kind in ObjectKind},
    )


def classifier_facts() -> Classifier:
    return Classifier(
        files={"fp32": "classifier.onnx"},
        input=InputGeometry(width_px=64, height_px=64),
        class_set="differential",
        classes=CLASSES,
        crop_margin=1.2,
        doubtful_below=Threshold(value=0.6, operating_point="test"),
        distance_limit=Threshold(value=10.0, operating_point="test"),
        calibration=Calibration(method="temperature", temperature=1.0, expected_calibration_error=0.01),
        confusion=Confusion(classes=CLASSES, counts=((95, 3, 2), (4, 90, 6), (1, 4, 95)), measured_on="test"),
    )
