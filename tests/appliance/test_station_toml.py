"""The commented configuration, held against the code's own schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from edge.analysis.gates import GateSettings
from edge.calibration.settings import CalibrationSettings
from edge.camera.controls import CameraControls
from edge.camera.hardware_settings import (
    GenicamSettings,
    GStreamerSettings,
    Picamera2Settings,
    VideoSettings,
)
from edge.camera.settings import FolderSettings, VirtualSlideSettings
from edge.config import (
    EngineSettings,
    MetricsSettings,
    PageSettings,
    SlideSettings,
    StationConfig,
    SupervisionSettings,
    load_config,
    parse_config,
)
from edge.outbox.settings import MqttSettings, OutboxLimits, TlsSettings
from edge.update.settings import TrialSettings, UpdateSettings

CONFIG = Path(__file__).resolve().parents[2] / "firmware_config" / "station.toml"
CAMERAS: dict[str, type[BaseModel]] = {
    "video": VideoSettings,
    "gstreamer": GStreamerSettings,
    "picamera2": Picamera2Settings,
    "genicam": GenicamSettings,
    "folder": FolderSettings,
    "virtual_slide": VirtualSlideSettings,
}
WITHOUT_DEFAULT = {
    "bundle",
    "objective",
    "um_per_px",
    "width_px",
    "height_px",
    "frame_rate_hz",
    "fields",
    "names",
    "blast_half_width",
    "class_half_width",
    "key_file",
    "controls",
}
"""Keys whose default is to be left out; the file shows an example."""


def test_as_it_is_it_is_accepted() -> None:
    config = load_config(CONFIG)
    assert config.camera.kind == "video"
    assert config.mqtt is None
    assert config.gates == GateSettings()


def uncommented(*, camera: str) -> str:
    """The file with every commented key taken in, and one camera's block."""
    shown = re.sub(r"(?m)^#(?: (?=[a-z][a-z_0-9]* = |\[)|(?=[a-z][a-z_0-9]* = ))", "", CONFIG.read_text())
    blocks = re.split(r"(?m)^(?=\[)", shown)
    chosen = [block for block in blocks if not block.startswith("[camera]") or f'kind = "{camera}"' in block]
    return "".join(chosen)


@pytest.mark.parametrize("camera", CAMERAS)
def test_with_every_key_taken_in_it_is_accepted(camera: str) -> None:
    config = parse_config(uncommented(camera=camera), path=CONFIG)
    assert config.camera.kind == camera
    assert config.mqtt is not None
    assert config.mqtt.tls is not None


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_key_of_the_schema_is_shown(camera: str) -> None:
    parsed = parse_config(uncommented(camera=camera), path=CONFIG)
    missing = [
        f"{type(part).__name__}.{name}"
        for part in parts_of(parsed)
        for name in type(part).model_fields
        if name not in part.model_fields_set
    ]
    assert missing == []


def parts_of(model: BaseModel) -> Iterator[BaseModel]:
    yield model
    for name in type(model).model_fields:
        if isinstance(part := getattr(model, name), BaseModel):
            yield from parts_of(part)


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("calibration", CalibrationSettings),
        ("gates", GateSettings),
        ("engine", EngineSettings),
        ("slide", SlideSettings),
        ("outbox", OutboxLimits),
        ("page", PageSettings),
        ("supervision", SupervisionSettings),
        ("metrics", MetricsSettings),
        ("camera", VideoSettings),
        ("mqtt", MqttSettings),
        ("update", UpdateSettings),
        ("update.trial", TrialSettings),
    ],
)
def test_the_defaults_it_shows_are_the_codes(table: str, model: type[BaseModel]) -> None:
    shown: Any = parse_config(uncommented(camera="video"), path=CONFIG)
    for part in table.split("."):
        shown = getattr(shown, part)
    for name, field in model.model_fields.items():
        if field.is_required() or name in WITHOUT_DEFAULT or (table, name) == ("mqtt", "port"):
            continue
        if field.default is None:  # an example
            continue
        value: Any = getattr(shown, name)
        assert value == field.default, f"{table}.{name}"


def test_the_schema_has_no_part_that_these_tests_pass_over() -> None:
    known = {
        CalibrationSettings,
        GateSettings,
        EngineSettings,
        SlideSettings,
        OutboxLimits,
        PageSettings,
        SupervisionSettings,
        MetricsSettings,
        MqttSettings,
        TlsSettings,
        UpdateSettings,
        TrialSettings,
    }
    parsed = parse_config(uncommented(camera="video"), path=CONFIG)
    assert {type(part) for part in parts_of(parsed)} == known | {StationConfig, VideoSettings, CameraControls}
