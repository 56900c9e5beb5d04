"""What a person may set about updates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edge.config_path import ConfigPath
from edge.contract.message import Name, Share
from edge.update.rules import Patience
from edge.update.shadowing import ShadowGate
from edge.update.trial import Gate

Url = Annotated[str, Field(pattern=r"^https?://")]
MiB = 1024 * 1024
HOUR_S = 3600


class TrialSettings(BaseModel):
    """What a new bundle must show while it serves, before it stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: Annotated[int, Field(ge=20, description="fields it must have analysed, or ...")] = 50
    serving_s: Annotated[
        float, Field(ge=60, description="... seconds it must have served, whichever comes first")
    ] = 1800
    deadline_s: Annotated[
        float,
        Field(ge=60, description="seconds of service after which a bundle not yet proved is rolled back"),
    ] = 2 * HOUR_S
    latency_factor: Annotated[
        float,
        Field(ge=1, description="how many times slower (p99) than the bundle before it a field may be"),
    ] = 1.5
    deaths: Annotated[
        int,
        Field(ge=1, le=10, description="how often the station may die in a trial before it is rolled back"),
    ] = 3

    @model_validator(mode="after")
    def _enough_time(self) -> Self:
        if self.deadline_s <= self.serving_s:
            raise ValueError(
                "deadline_s must be later than serving_s, or no bundle that sees few fields passes"
            )
        return self


class UpdateSettings(BaseModel):
    """Where new bundles come from, and how they are tried. Without this table there are no updates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: Annotated[
        Url | ConfigPath,
        Field(union_mode="left_to_right", description="the signed repository: its address, or a directory"),
    ]
    root: Annotated[
        ConfigPath, Field(description="the repository's root of trust (root.json), brought here by hand")
    ]
    ca_file: Annotated[
        ConfigPath | None,
        Field(description="authorities that may vouch for the address; absent: the system's own"),
    ] = None
    ring: Annotated[
        Name, Field(description="the ring that this station is in; a release names its rings")
    ] = "stable"
    every_s: Annotated[
        float, Field(ge=60, description="seconds between looks for a newer bundle; commands look at once")
    ] = HOUR_S
    attempts: Annotated[
        int, Field(ge=1, le=10, description="how often a bundle may fail to prove itself here")
    ] = 3
    downloads: Annotated[
        int, Field(ge=1, le=1000, description="how often bringing it may fail before it is given up")
    ] = 10
    reserve_bytes: Annotated[
        int, Field(ge=0, description="disk space that a download must leave for the station's records")
    ] = 512 * MiB
    prepare_s: Annotated[float, Field(ge=10, description="seconds that preparing its engines may take")] = (
        HOUR_S
    )
    prove_s: Annotated[float, Field(ge=10, description="seconds that its golden set may take")] = 300
    shadow_fields: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="live fields on which a proved bundle runs beside the active one before it is tried; "
            "0: none. Nothing that it says is counted",
        ),
    ] = 0
    shadow_max_disagreement: Annotated[
        Share | None,
        Field(description="largest share of objects that it may read otherwise; left out: only told"),
    ] = None
    trial: TrialSettings = TrialSettings()

    @model_validator(mode="after")
    def _authorities_of_an_address(self) -> Self:
        if self.ca_file is not None and isinstance(self.repository, Path):
            raise ValueError("ca_file is for a repository with an https:// address")
        return self

    @property
    def patience(self) -> Patience:
        """How often a candidate may fail."""
        return Patience(attempts=self.attempts, downloads=self.downloads, deaths=self.trial.deaths)

    @property
    def gate(self) -> Gate:
        """What a trial has to show."""
        return Gate(
            fields=self.trial.fields,
            serving_s=self.trial.serving_s,
            deadline_s=self.trial.deadline_s,
            latency_factor=self.trial.latency_factor,
        )

    @property
    def shadow(self) -> ShadowGate | None:
        """What a candidate has to show beside the active bundle; None where it goes without."""
        if not self.shadow_fields:
            return None
        return ShadowGate(fields=self.shadow_fields, max_disagreement=self.shadow_max_disagreement)
