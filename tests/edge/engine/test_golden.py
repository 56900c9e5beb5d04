"""The golden set tells a sound engine from one that drifted, lost an object or misnames cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bundle import Bundle, open_bundle
from edge.contract.taxonomy import ObjectKind
from edge.engine.golden import check_golden, read_answers, read_picture
from edge.engine.signature import classifier_signature, detector_signature
from edge.engine.testing import FakeEngine, ScriptedObject, finds, names
from edge.errors import BundleError, EngineError
from tests.edge.bundles import FILES, manifest_content, write_files, write_manifest

BOX = (20.0, 20.0, 80.0, 90.0)
ANSWERS: dict[str, Any] = {
    "schema": "leukoscope/golden/1",
    "frames": {"golden/frames/00.png": [{"object": "WBC", "score": 0.9, "box_px": list(BOX)}]},
    "cells": {"golden/cells/00.png": {"probabilities": [0.25, 0.75], "distance": 0.1}},
}


def png(height_px: int, width_px: int) -> bytes:
    picture = np.zeros((height_px, width_px, 3), np.uint8)
    picture[..., 2] = 200  # red, as OpenCV orders it
    return cv2.imencode(".png", picture)[1].tobytes()


def golden_bundle(directory: Path, *, answers: Any = ANSWERS, frame: bytes | None = None) -> Bundle:
    files = {
        **FILES,
        "golden/answers.json": json.dumps(answers).encode(),
        "golden/frames/00.png": png(320, 416) if frame is None else frame,
        "golden/cells/00.png": png(96, 96),
    }
    content = manifest_content(files)
    content["golden"]["cells"] = ["golden/cells/00.png"]
    write_files(directory, files)
    write_manifest(directory, content)
    return open_bundle(directory)


def engines(
    bundle: Bundle,
    *,
    objects: list[ScriptedObject] | None = None,
    probabilities: tuple[float, float] = (0.25, 0.75),
    distance: float = 0.1,
) -> dict[str, FakeEngine]:
    detector = bundle.manifest.detector
    seen = [(ObjectKind.WBC, 0.9, BOX)] if objects is None else objects
    return {
        "detector": FakeEngine(
            signature=detector_signature(detector),
            answer=finds(seen, kinds=detector.kinds, max_objects=detector.max_objects),
        ),
        "classifier": FakeEngine(
            signature=classifier_signature(bundle.manifest.classifier),
            answer=names(probabilities, distance=distance),
        ),
    }


def test_the_same_answers_pass(tmp_path: Path) -> None:
    bundle = golden_bundle(tmp_path)
    report = check_golden(bundle=bundle, **engines(bundle))
    assert report.passed
    assert report.agreed_share == 1
    assert report.largest_difference < 1e-6
    assert str(report).startswith("golden set passed: 1 frames and 1 cells in fp32")


def test_the_engine_sees_the_picture_in_rgb(tmp_path: Path) -> None:
    bundle = golden_bundle(tmp_path)
    ours = engines(bundle)
    check_golden(bundle=bundle, **ours)
    assert ours["detector"].batches[0][0, 0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    "fault",
    [
        {"objects": []},
        {"objects": [(ObjectKind.WBC, 0.88, BOX)]},
        {"objects": [(ObjectKind.WBC, 0.9, (20.0, 20.0, 82.0, 90.0))]},
        {"objects": [(ObjectKind.WBC, 0.9, BOX), (ObjectKind.WBC, 0.5, (200.0, 200.0, 260.0, 270.0))]},
        {"probabilities": (0.27, 0.73)},
        {"distance": 0.2},
    ],
    ids=["lost", "weaker", "moved", "invented", "unsure", "farther"],
)
def test_every_kind_of_drift_fails(tmp_path: Path, fault: dict[str, Any]) -> None:
    bundle = golden_bundle(tmp_path)
    report = check_golden(bundle=bundle, **engines(bundle, **fault))
    assert not report.passed
    assert "FAILED" in str(report)


def test_a_drift_within_the_tolerance_passes(tmp_path: Path) -> None:
    bundle = golden_bundle(tmp_path)
    report = check_golden(bundle=bundle, **engines(bundle, probabilities=(0.255, 0.745)))
    assert report.passed
    assert report.largest_difference == pytest.approx(0.005, abs=1e-6)


def test_a_precision_without_tolerance_is_refused(tmp_path: Path) -> None:
    bundle = golden_bundle(tmp_path)
    with pytest.raises(EngineError, match=r"no tolerance for int8\. Set the precision to one it has: fp32"):
        check_golden(bundle=bundle, precision="int8", **engines(bundle))


@pytest.mark.parametrize(
    "answers",
    [
        "not answers",
        {**ANSWERS, "schema": "leukoscope/golden/9"},
        {**ANSWERS, "frames": {}},
        {**ANSWERS, "cells": {"golden/cells/00.png": {"probabilities": [1.0], "distance": 0}}},
        {**ANSWERS, "frames": {"golden/frames/00.png": [{"object": "RBC", "score": 1, "box_px": BOX}]}},
    ],
)
def test_answers_that_do_not_fit_are_refused(tmp_path: Path, answers: Any) -> None:
    bundle = golden_bundle(tmp_path, answers=answers)
    with pytest.raises(BundleError, match=r"golden/answers\.json"):
        read_answers(bundle)


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    bundle = golden_bundle(tmp_path, frame=b"not a picture")
    with pytest.raises(BundleError, match=r"00\.png cannot be decoded"):
        read_picture(bundle, "golden/frames/00.png")
