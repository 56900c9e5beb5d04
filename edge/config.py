"""The station's configuration: one TOML file, every fault of it told at once with its line."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.analysis.differential import BLAST_THRESHOLDS
from edge.analysis.gates import GateSettings
from edge.calibration.settings import CalibrationSettings
from edge.camera.settings import CameraSettings
from edge.camera.source_names import without_password
from edge.config_path import ConfigPath
from edge.contract.message import Name
from edge.engine.choice import PrecisionChoice
from edge.errors import ConfigError
from edge.outbox.settings import MqttSettings, OutboxLimits
from edge.toml_lines import KeyLines
from edge.update.settings import UpdateSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PLAINER: Final = {
    "extra_forbidden": "unknown key",
    "missing": "is required",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(_Part):
    """How the networks run."""

    threads: Annotated[
        int, Field(ge=0, le=64, description="processor threads for the networks; 0 = all but one")
    ] = 0
    precision: Annotated[
        PrecisionChoice, Field(description="auto = the best that proves itself here; fp32, fp16 or int8")
    ] = "auto"


class PageSettings(_Part):
    """The operator's page."""

    enabled: Annotated[bool, Field(description="whether the page is served")] = True
    host: Annotated[
        str, Field(description="address to listen on; anything but loopback shows slides to the network")
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port; 0 = any free one")] = 8470
    names: Annotated[
        tuple[str, ...], Field(description="further host names under which the page is opened")
    ] = ()
    remote_control: Annotated[
        bool, Field(description="let other machines open and close slides, not only look")
    ] = False


class SlideSettings(_Part):
    """Slide sessions."""

    target_cells: Annotated[
        int, Field(ge=1, le=10_000, description="named white cells that a differential is meant to reach")
    ] = 100
    min_cells: Annotated[
        int, Field(ge=1, le=10_000, description="named cells below which a count is never called enough")
    ] = 100
    look_every_cells: Annotated[
        int, Field(ge=1, le=10_000, description="named cells between two looks at the intervals' widths")
    ] = 50
    blast_half_width: Annotated[
        float | None,
        Field(gt=0, lt=0.5, description="half-width of the blast share's interval that is enough"),
    ] = None
    class_half_width: Annotated[
        float | None,
        Field(gt=0, lt=0.5, description="half-width of every class's interval that is enough"),
    ] = None
    blast_thresholds: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...],
        Field(max_length=6, description="blast shares whose probability of being passed is told"),
    ] = BLAST_THRESHOLDS
    identity: Annotated[
        Literal["pseudonym", "plain"],
        Field(description="whether records carry the accession id, or its pseudonym by a keyed hash"),
    ] = "pseudonym"
    key_file: Annotated[
        ConfigPath | None,
        Field(description="the laboratory's key of the pseudonyms; left out: a key of this station's own"),
    ] = None
    record_every_fields: Annotated[
        int, Field(ge=1, description="after how many fields the open slide's state is recorded")
    ] = 10
    open_at_start: Annotated[
        bool, Field(description="open a session at the start, so that nothing is seen and not counted")
    ] = True


class SupervisionSettings(_Part):
    """When a part of the station counts as stuck, and how often it is begun anew."""

    stuck_after_s: Annotated[
        float, Field(ge=0.5, le=300, description="seconds without progress after which a part is stuck")
    ] = 10.0
    restarts: Annotated[
        int, Field(ge=0, le=100, description="how often a part is begun anew before the station does without")
    ] = 5
    within_s: Annotated[float, Field(gt=0, description="seconds in which that many restarts may fall")] = 60.0


class MetricsSettings(_Part):
    """The figures that a Prometheus on this machine may fetch."""

    enabled: Annotated[bool, Field(description="whether the figures are served")] = False
    host: Annotated[
        str, Field(description="address to listen on; anything but loopback tells the network")
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port; 0 = any free one")] = 9471


class StationConfig(_Part):
    """The whole of ``station.toml``."""

    site: Annotated[Name, Field(description="the laboratory, as it stands in MQTT topics")]
    station: Annotated[Name, Field(description="this microscope, unique within the site")]
    state_dir: Annotated[ConfigPath, Field(description="where the outbox and the counters live")] = Path(
        "/var/lib/leukoscope"
    )
    bundle: Annotated[
        ConfigPath | None, Field(description="the bundle's directory; left out: the starter bundle")
    ] = None
    camera: CameraSettings
    calibration: CalibrationSettings = CalibrationSettings()
    gates: GateSettings = GateSettings()
    engine: EngineSettings = EngineSettings()
    slide: SlideSettings = SlideSettings()
    outbox: OutboxLimits = OutboxLimits()
    mqtt: Annotated[MqttSettings | None, Field(description="left out: results stay in the outbox")] = None
    page: PageSettings = PageSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    metrics: MetricsSettings = MetricsSettings()
    update: Annotated[UpdateSettings | None, Field(description="left out: no updates")] = None

    @property
    def engines_dir(self) -> Path:
        """Where engines are kept that were built on this machine."""
        return self.state_dir / "engines"

    @property
    def calibration_dir(self) -> Path:
        """Where the calibrations of this station's objectives are kept."""
        return self.state_dir / "calibration"


def load_config(path: Path) -> StationConfig:
    """Read and check ``path``; relative paths in it are taken from its own directory.

    Raises ConfigError with every fault found, each with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The configuration {path} cannot be read: {error.strerror}.",
            remedy="Name another with --config, or start from firmware_config/station.toml.",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The configuration {path} is not UTF-8 text: {error.reason}.") from error
    return parse_config(text, path=path)


def parse_config(text: str, *, path: Path) -> StationConfig:
    """The configuration in ``text``; ``path`` is what messages call it. Raises ConfigError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", remedy="Mend that line.") from error
    try:
        return StationConfig.model_validate(document, context={"directory": path.resolve().parent})
    except ValidationError as error:
        raise ConfigError(
            _all_faults(error, KeyLines(text), path), remedy="Every key is explained in station.toml."
        ) from error


def _all_faults(error: ValidationError, lines: KeyLines, path: Path) -> str:
    found = []
    for fault in error.errors(include_url=False):
        place = fault["loc"]
        line = lines.line(place)
        key = ".".join(str(part) for part in place)
        said = _PLAINER.get(fault["type"], fault["msg"][0].lower() + fault["msg"][1:])
        if fault["type"] == "extra_forbidden":
            said += _meant(place)
        elif fault["type"] != "missing" and isinstance(fault["input"], int | float | str):
            # Of a whole table nothing is shown: an address in it may hold a password.
            given = fault["input"]
            said += f" (it is {(without_password(given) if isinstance(given, str) else given)!r})"
        found.append((line or 0, f"{path}:{line or 1}: {key}: {said}"))
    return "\n".join(message for _, message in sorted(found))


def _meant(place: tuple[str | int, ...]) -> str:
    """The known key that a mistyped one is nearest to, anywhere in the configuration."""
    near = difflib.get_close_matches(str(place[-1]), sorted(_known_keys(StationConfig.model_json_schema())))
    return f"; did you mean {near[0]!r}?" if near else ""


def _known_keys(schema: object) -> set[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties", {})
        return set(properties).union(*(_known_keys(part) for part in schema.values()), set())
    if isinstance(schema, list):
        return set().union(*(_known_keys(part) for part in schema), set())
    return set()
