"""A manifest grows without breaking those that were made before it grew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge.bundle import starter_bundle
from edge.contract.manifest import MANIFEST_NAME, Manifest, content_id
from tests.edge.bundles import manifest_content

QUANTIZATION = {
    "method": "percentile 99.99",
    "calibration_sha256": "c" * 64,
    "calibration_pictures": 96,
    "calibrated_on": "training frames",
    "layers": 62,
    "kept_float": ["features.0"],
    "cost": [],
}


def identified(content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "id": content_id(content)}


def test_a_bundle_of_the_first_shape_keeps_its_id() -> None:
    kept = json.loads((starter_bundle() / MANIFEST_NAME).read_text("utf-8"))
    read = Manifest.model_validate(kept)
    assert read.model_dump(mode="json", by_alias=True) == kept
    assert content_id(kept) == read.id


def test_what_an_int8_file_was_made_of_is_part_of_the_id() -> None:
    plain = manifest_content()
    told = {**plain, "detector": {**plain["detector"], "int8": QUANTIZATION}}
    told["golden"] = {**plain["golden"], "changed": {"int8": 0.05}}
    read = Manifest.model_validate(identified(told))
    assert read.detector.int8 is not None
    assert read.detector.int8.calibration_sha256 == "c" * 64
    assert read.golden.changed == {"int8": 0.05}
    assert read.id != Manifest.model_validate(identified(plain)).id
    dumped = read.model_dump(mode="json", by_alias=True)
    assert Manifest.model_validate(dumped) == read


def test_fp16_is_a_precision_with_a_tolerance_but_never_a_file() -> None:
    content = manifest_content()
    content["golden"] = {**content["golden"], "tolerance": {"fp32": 0.01, "fp16": 0.03}}
    assert Manifest.model_validate(identified(content)).golden.tolerance["fp16"] == 0.03
    content["detector"] = {**content["detector"], "files": {"fp16": "detector.onnx"}}
    with pytest.raises(ValidationError, match=r"detector\.files"):
        Manifest.model_validate(identified(content))


def test_a_field_that_nobody_knows_is_still_refused() -> None:
    content = manifest_content()
    content["golden"] = {**content["golden"], "exceptions": {"int8": 0.5}}
    with pytest.raises(ValidationError, match="exceptions"):
        Manifest.model_validate(identified(content))
