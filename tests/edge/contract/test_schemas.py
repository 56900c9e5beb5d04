"""The schemas in docs/ are those of the code, and say what the models say."""

import json
from datetime import datetime, timezone

import jsonschema
import pytest

from edge.contract.orders import Command
from edge.contract.schemas import SCHEMAS, render
from tests.conftest import REPOSITORY

KEPT = REPOSITORY / "docs" / "schemas"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_kept_schema_is_current(name):
    assert (KEPT / f"{name}.json").read_text() == render(name), "run `make schemas`"


def test_no_schema_is_kept_that_the_code_does_not_have():
    assert {path.stem for path in KEPT.glob("*.json")} == set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_schema_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(json.loads(render(name)))


def test_a_schema_accepts_what_the_model_writes_and_refuses_what_it_refuses():
    validator = jsonschema.Draft202012Validator(json.loads(render("command")))
    good = Command(
        id="1", command="open_slide", slide="A", expires_at=datetime(2026, 1, 1, tzinfo=timezone.utc)
    )
    written = json.loads(good.model_dump_json(by_alias=True))
    assert validator.is_valid(written)
    assert not validator.is_valid({**written, "command": "format_disk"})
    assert not validator.is_valid({**written, "extra": 1})
