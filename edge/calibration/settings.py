"""What a station's configuration says of its calibration."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class CalibrationSettings(BaseModel):
    """How far the light may drift from what was calibrated before a person is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_vignetting_drift: Annotated[
        float,
        Field(gt=0, le=1, description="largest share of light that the picture's darkest part may lack"),
    ] = 0.12
    max_colour_drift: Annotated[
        float, Field(gt=0, le=1, description="largest share by which a colour of the background may be off")
    ] = 0.1
