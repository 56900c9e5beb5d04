"""Small bundles written by hand, so that a test can put anything into them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.contract.manifest import MANIFEST_NAME, MODEL_CARD_NAME, content_id

FILES = {
    "detector.onnx": b"a detector" * 50,
    "classifier.onnx": b"a classifier" * 40,
    "golden/answers.json": b"{}",
    "golden/frames/00.png": b"a frame",
    MODEL_CARD_NAME: b"# A card\n",
}


def manifest_content(files: Mapping[str, bytes] = FILES) -> dict[str, Any]:
    """A manifest that lists ``files``; the id is set when it is written."""
    classes = ["neutrophil", "blast"]
    limit = {"value": 0.3, "operating_point": "best F1"}
    return {
        "schema": "leukoscope/bundle/1",
        "name": "probe",
        "release": 3,
        "software": "leukoscope 0.1.0",
        "detector": {
            "files": {"fp32": "detector.onnx"},
            "input": {"width_px": 416, "height_px": 320},
            "um_per_px": 0.11,
            "kinds": ["WBC"],
            "max_objects": 8,
            "thresholds": {"WBC": limit},
        },
        "classifier": {
            "files": {"fp32": "classifier.onnx"},
            "input": {"width_px": 96, "height_px": 96},
            "class_set": "differential",
            "classes": classes,
            "crop_margin": 1.2,
            "doubtful_below": limit,
            "distance_limit": limit,
            "calibration": {"method": "none", "temperature": 1.0, "expected_calibration_error": 0.0},
            "confusion": {"classes": classes, "counts": [[1, 0], [0, 1]], "measured_on": "nothing"},
        },
        "golden": {
            "answers": "golden/answers.json",
            "frames": ["golden/frames/00.png"],
            "cells": [],
            "tolerance": {"fp32": 0.01},
        },
        "data": {"fingerprint": "0" * 64, "sources": []},
        "metrics": [],
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
            for name, content in files.items()
        },
    }


def write_bundle(directory: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """A whole bundle that holds ``files``."""
    write_files(directory, files)
    write_manifest(directory, manifest_content(files))
    return directory


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


def write_manifest(directory: Path, content: dict[str, Any]) -> None:
    """Write ``content`` with the id that belongs to it."""
    (directory / MANIFEST_NAME).write_text(json.dumps({"id": content_id(content), **content}))
