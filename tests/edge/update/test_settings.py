"""What a person may set about updates."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from edge.update.rules import Patience
from edge.update.settings import UpdateSettings
from edge.update.trial import Gate

STICK = {"repository": "stick", "root": "root.json"}


def test_a_source_and_a_root_are_enough() -> None:
    settings = UpdateSettings.model_validate(STICK, context={"directory": Path("/etc/leukoscope")})
    assert settings.repository == Path("/etc/leukoscope/stick")
    assert settings.root == Path("/etc/leukoscope/root.json")
    assert settings.patience == Patience(attempts=3, downloads=10, deaths=3)
    assert settings.gate == Gate(fields=50, serving_s=1800, deadline_s=7200, latency_factor=1.5)


def test_an_address_is_not_taken_for_a_directory() -> None:
    settings = UpdateSettings.model_validate({**STICK, "repository": "https://lab.example/leukoscope"})
    assert settings.repository == "https://lab.example/leukoscope"


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"root": "root.json"}, "Field required"),
        ({"repository": "stick"}, "Field required"),
        ({**STICK, "ca_file": "ca.pem"}, "ca_file is for a repository with an https:// address"),
        ({**STICK, "trial": {"serving_s": 600, "deadline_s": 600}}, "deadline_s must be later"),
        ({**STICK, "tries": 3}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        UpdateSettings.model_validate(settings)


def test_every_setting_is_explained() -> None:
    schema = UpdateSettings.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    unexplained = [
        name
        for part in parts
        for name, each in part["properties"].items()
        if "description" not in each and "$ref" not in each
    ]
    assert unexplained == []
