"""Exposure, gain and white balance held fixed, so that the fields of a slide can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from edge.frame import Frame

_TOLERANCE: Final = 0.05
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


def not_held(controls: CameraControls, frame: Frame) -> tuple[str, ...]:
    """What was asked and is not so by ``frame``, each in words; empty where all holds within a twentieth."""
    asked_and_held: dict[str, tuple[float | None, float | None]] = {
        "exposure_us": (controls.exposure_us, frame.exposure_us),
        "gain": (controls.gain, frame.gain),
        "colour temperature": (controls.colour_temperature_k, frame.colour_temperature_k),
    }
    for at, colour in enumerate(("red", "blue")):
        asked, held = controls.colour_gains, frame.colour_gains
        asked_and_held[f"gain of {colour}"] = (asked and asked[at], held and held[at])
    return tuple(
        f"{name} {asked:g} (the camera {'does not tell' if held is None else f'holds {held:g}'})"
        for name, (asked, held) in asked_and_held.items()
        if asked is not None and (held is None or abs(held - asked) > _TOLERANCE * max(asked, 1.0))
    )
