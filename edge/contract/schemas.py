"""The JSON Schemas of everything that crosses a wall, for those who write in other languages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from edge.contract.manifest import Manifest
from edge.contract.orders import Ack, Command, CommandAnswer
from edge.contract.records import DiscardRecord, FieldRecord, ReviewRecord, SlideRecord, UpdateRecord
from edge.contract.review_export import ReviewedCell
from edge.contract.status import HealthRecord, StateRecord

SCHEMAS: Final[dict[str, type[BaseModel]]] = {
    "bundle": Manifest,
    "field": FieldRecord,
    "slide": SlideRecord,
    "review": ReviewRecord,
    "update": UpdateRecord,
    "discard": DiscardRecord,
    "health": HealthRecord,
    "state": StateRecord,
    "ack": Ack,
    "command": Command,
    "answer": CommandAnswer,
    "reviewed-cell": ReviewedCell,
}


def render(name: str) -> str:
    """The schema called ``name`` as JSON text. Raises KeyError for a name not in SCHEMAS."""
    schema = SCHEMAS[name].model_json_schema(by_alias=True)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"leukoscope/{name}/1",
        **schema,
    }
    return json.dumps(schema, indent=2) + "\n"


def write_all(directory: Path) -> None:
    """Write every schema into ``directory``, a file each."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (directory / f"{name}.json").write_text(render(name), encoding="utf-8")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
