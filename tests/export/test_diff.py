"""What changes for a station when one bundle takes another's place is said, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner

from edge.bundle import Bundle, open_bundle
from edge.contract.manifest import Manifest, Threshold, content_id
from edge.contract.taxonomy import ObjectKind
from export import cli
from export.bundle import Ingredients, assemble
from export.diff import diff_bundles
from export.diff_text import diff_content, diff_text
from export.errors import AssemblyError
from export.pictures import draw_frames
from export.testing import detector_facts
from tests.edge.bundles import manifest_content

METRIC = {
    "name": "mAP50",
    "value": 0.9,
    "low": 0.88,
    "high": 0.92,
    "samples": 80,
    "groups": 80,
    "grouped_by": "frame",
    "measured_on": "val list",
}


def bundle(**changes: Any) -> Bundle:
    content = {**manifest_content(), **changes}
    return Bundle(
        directory=Path("unread"), manifest=Manifest.model_validate({**content, "id": content_id(content)})
    )


def test_a_bundle_differs_from_itself_in_nothing() -> None:
    found = diff_bundles(bundle(), bundle())
    assert not found.facts
    assert not found.thresholds
    assert not found.metrics
    assert "the same bundle" in diff_text(found)


def test_classes_thresholds_and_metrics_are_named() -> None:
    old = manifest_content()
    classes = ["neutrophil", "monocyte"]
    thresholds = {
        kind: {**limit, "value": limit["value"] + 0.1}
        for kind, limit in old["detector"]["thresholds"].items()
    }
    new = bundle(
        release=9,
        detector={**old["detector"], "thresholds": thresholds},
        classifier={
            **old["classifier"],
            "classes": classes,
            "confusion": {**old["classifier"]["confusion"], "classes": classes},
        },
        metrics=[{**METRIC, "value": 0.95, "low": 0.93, "high": 0.97}],
    )
    found = diff_bundles(bundle(metrics=[METRIC]), new)
    assert found.facts["release"] == ("3", "9")
    assert found.classes_added == ("monocyte",)
    assert found.classes_removed == ("blast",)
    assert found.thresholds["WBC shown from"] == ("0.3", "0.4")
    (metric,) = found.metrics
    assert metric.apart
    text = diff_text(found)
    assert "  + monocyte" in text
    assert "  - blast" in text
    assert "mAP50: 0.900 (0.880 to 0.920) -> 0.950 (0.930 to 0.970) on val list" in text
    content = json.loads(json.dumps(diff_content(found)))
    assert content["classes"] == {"added": ["monocyte"], "removed": ["blast"]}
    assert content["metrics"][0]["intervals_apart"] is True
    assert content["disagreement"] is None


def test_intervals_that_touch_are_not_called_apart_and_a_missing_figure_is_said() -> None:
    old = bundle(metrics=[METRIC])
    (near,) = diff_bundles(old, bundle(metrics=[{**METRIC, "value": 0.91, "low": 0.9, "high": 0.93}])).metrics
    assert not near.apart
    gone = diff_bundles(old, bundle(metrics=[]))
    assert "-> not stated" in diff_text(gone)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    for place, frame in enumerate(draw_frames(facts=detector_facts(), count=2)):
        cv2.imwrite(str(folder / f"{place}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder


def test_the_command_asks_both_bundles_about_the_same_frames(
    handmade_bundle: Path, ingredients: Ingredients, frames: Path, tmp_path: Path
) -> None:
    shy = {ObjectKind.WBC: Threshold(value=0.99, operating_point="nearly nothing")}
    facts = ingredients.detector_facts.model_copy(update={"thresholds": shy})
    stricter = assemble(replace(ingredients, detector_facts=facts, release=3), out=tmp_path / "new")
    arguments = ["diff", str(handmade_bundle), str(stricter.directory), "--frames", str(frames)]
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 0, told.output
    assert "WBC shown from" in told.output
    result = CliRunner().invoke(cli.app, [*arguments, "--json"])
    found = json.loads(result.stdout)["disagreement"]
    assert found["frames"] == 2
    assert found["objects"] > 0
    assert found["share"] > 0
    assert all(each["new"] == "nothing" for each in found["changes"]), "a stricter bundle only shows less"
    same = ["diff", str(handmade_bundle), str(handmade_bundle), "--frames", str(frames), "--json"]
    result = CliRunner().invoke(cli.app, same)
    assert json.loads(result.stdout)["disagreement"]["share"] == 0


def test_a_folder_without_frames_is_named(handmade_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["diff", str(handmade_bundle), str(handmade_bundle), "--frames", str(tmp_path / "empty")]
    result = CliRunner().invoke(cli.app, arguments)
    assert isinstance(result.exception, AssemblyError)
    assert "holds no image" in str(result.exception)


def test_inspect_tells_programs_what_the_golden_set_said(handmade_bundle: Path) -> None:
    result = CliRunner().invoke(cli.app, ["inspect", str(handmade_bundle), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["manifest"]["id"] == open_bundle(handmade_bundle).manifest.id
    assert found["golden"]["fp32"]["passed"] is True
