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
from edge.engine.golden import GoldenReport, check_golden, read_answers, read_picture
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


def golden_bundle(
    directory: Path, *, answers: Any = ANSWERS, frame: bytes | None = None, limits: Any = None
) -> Bundle:
    files = {
        **FILES,
        "golden/answers.json": json.dumps(answers).encode(),
        "golden/frames/00.png": png(320, 416) if frame is None else frame,
        "golden/cells/00.png": png(96, 96),
    }
    content = manifest_content(files)
    content["golden"]["cells"] = ["golden/cells/00.png"]
    content["golden"].update(limits or {})
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


ROUNDED = {"tolerance": {"fp32": 0.01, "int8": 0.25}, "changed": {"int8": 0.05}}
UNSEEN = (ObjectKind.WBC, 0.29, (200.0, 200.0, 260.0, 270.0))
"""Just below the score from which a station shows it."""


def in_int8(directory: Path, **fault: Any) -> GoldenReport:
    bundle = golden_bundle(directory, limits=ROUNDED)
    return check_golden(bundle=bundle, precision="int8", **engines(bundle, **fault))


def test_int8_may_drift_where_fp32_may_not(tmp_path: Path) -> None:
    report = in_int8(tmp_path, probabilities=(0.4, 0.6), objects=[(ObjectKind.WBC, 0.8, BOX)])
    assert report.passed
    assert "allowed 5.0% of each" in str(report)


def test_what_neither_run_shows_is_not_held_against_int8_but_is_against_fp32(tmp_path: Path) -> None:
    seen = [(ObjectKind.WBC, 0.9, BOX), UNSEEN]
    assert in_int8(tmp_path / "int8", objects=seen).largest_difference < 1e-6
    bundle = golden_bundle(tmp_path / "fp32", limits=ROUNDED)
    assert not check_golden(bundle=bundle, **engines(bundle, objects=seen)).passed


@pytest.mark.parametrize(
    "fault",
    [
        {"objects": []},
        {"objects": [(ObjectKind.WBC, 0.6, BOX)]},
        {"probabilities": (0.51, 0.49)},
        {"probabilities": (0.48, 0.52), "distance": 5.0},
    ],
    ids=["lost", "weaker", "named otherwise by a hair", "farther"],
)
def test_int8_that_answers_otherwise_fails(tmp_path: Path, fault: dict[str, Any]) -> None:
    report = in_int8(tmp_path, **fault)
    assert not report.passed
    assert "FAILED" in str(report)


def test_an_object_that_barely_came_is_counted_but_one_that_clearly_came_is_a_difference(
    tmp_path: Path,
) -> None:
    place = (200.0, 200.0, 260.0, 270.0)
    barely = in_int8(tmp_path / "barely", objects=[(ObjectKind.WBC, 0.9, BOX), (ObjectKind.WBC, 0.32, place)])
    assert barely.largest_difference == pytest.approx(0.02)
    assert barely.changed_share == 0.5
    assert not barely.passed, "half of the objects is more than one in twenty"
    clearly = in_int8(
        tmp_path / "clearly", objects=[(ObjectKind.WBC, 0.9, BOX), (ObjectKind.WBC, 0.8, place)]
    )
    assert clearly.largest_difference == pytest.approx(0.5)
    lost = in_int8(tmp_path / "lost", objects=[])
    assert lost.largest_difference == pytest.approx(0.6)


def test_one_network_cannot_hide_behind_the_other(tmp_path: Path) -> None:
    report = in_int8(tmp_path, probabilities=(0.51, 0.49))
    assert (report.changed_share, report.agreed_share) == (1.0, 0.5)
    assert "changed: 0.0% of the objects, 100.0% of the cells" in str(report)


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
