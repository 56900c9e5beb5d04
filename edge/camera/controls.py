"""Exposure, gain and white balance held fixed, so that the fields of a slide can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Positive = Annotated[float, Field(gt=0)]


class CameraControls(BaseModel):
    """What the camera is asked to hold fixed; what is left out stays the camera's own automatic.

    A camera may refuse or round: frames tell what it says that it did.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    exposure_us: Annotated[
        float | None, Field(gt=0, le=10_000_000, description="exposure in microseconds; left out: automatic")
    ] = None
    gain: Annotated[
        float | None,
        Field(
            ge=0,
            description="gain in the camera's own measure (a factor, decibels, steps); left out: its own",
        ),
    ] = None
    white_balance: Annotated[
        tuple[_Positive, _Positive] | Annotated[float, Field(ge=1000, le=40_000)] | None,
        Field(description="gains of red and blue, or a colour temperature in kelvin; left out: automatic"),
    ] = None

    @property
    def colour_gains(self) -> tuple[float, float] | None:
        """Gains of red and blue; None where a temperature or nothing is asked."""
        return self.white_balance if isinstance(self.white_balance, tuple) else None

    @property
    def colour_temperature_k(self) -> float | None:
        """Colour temperature in kelvin; None where gains or nothing are asked."""
        return self.white_balance if isinstance(self.white_balance, float | int) else None


@dataclass(frozen=True, kw_only=True)
class HeldControls:
    """What a camera says that it holds of them; None where it does not say."""

    exposure_us: float | None = None
    gain: float | None = None
    colour_gains: tuple[float, float] | None = None
    colour_temperature_k: float | None = None
