"""What makes a frame a field: still, in focus, well lit, holding a sample, and not counted before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from edge.analysis.focus_trend import FocusTrend, FocusWatch
from edge.frame import Frame
from edge.slide_map.slide_map import Place, SlideMap
from edge.vision.exposure import Exposure, measure_exposure
from edge.vision.focus import sharpness
from edge.vision.motion import mean_difference
from edge.vision.reduction import Reduction, reduce_frame
from edge.vision.stain import Stain, measure_stain

_TRAVELLING: Final = 6.0
"""Mean difference, in grey levels of 255, of a stage on its way; a turn of the focus makes less."""


class Reason(str, Enum):
    """Why a frame is not a field, in the order in which a person would put it right."""

    MOVING = "moving"
    OUT_OF_FOCUS = "out_of_focus"
    BADLY_EXPOSED = "badly_exposed"
    NO_SAMPLE = "no_sample"
    STRANGE_COLOUR = "strange_colour"
    ALREADY_COUNTED = "already_counted"


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A frame that is a field.

    ``focus`` is the measure of ``edge.vision.focus``, ``place`` that of the field on the slide map.
    """

    focus: float
    stained_share: float
    place: Place


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A frame that is no field: the first reason that holds, and the measure that it was judged by."""

    reason: Reason
    measure: float


Verdict = Accepted | Refused


Degrees = Annotated[float, Field(ge=0, le=360)]


class GateSettings(BaseModel):
    """The limits of the gates. The defaults fit a 100x objective on a Wright-Giemsa smear."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_motion: Annotated[
        float,
        Field(gt=0, description="largest mean difference to the frame before, in grey levels of 255"),
    ] = 1.3
    min_focus: Annotated[
        float,
        Field(
            ge=0,
            description="smallest sharpness where the objective's own is not measured (0 = blank; sharp "
            "frames reach 0.3 to 0.9)",
        ),
    ] = 0.26
    min_focus_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="smallest share of the sharpness that the calibrated objective gave",
        ),
    ] = 0.4
    max_black_share: Annotated[
        float, Field(ge=0, le=1, description="largest share of pixels that are clipped to black")
    ] = 0.05
    max_white_share: Annotated[
        float, Field(ge=0, le=1, description="largest share of pixels that are clipped to white")
    ] = 0.7
    min_mean: Annotated[
        float, Field(ge=0, le=255, description="smallest mean brightness, in grey levels of 255")
    ] = 75.0
    max_mean: Annotated[
        float, Field(ge=0, le=255, description="largest mean brightness, in grey levels of 255")
    ] = 245.0
    min_stained_share: Annotated[
        float, Field(ge=0, le=1, description="smallest share of the frame that must be stained")
    ] = 0.02
    stain_hue_deg: Annotated[
        tuple[Degrees, Degrees],
        Field(
            description="from where to where, upwards, the mean hue of what is stained may lie: 0 absorbs "
            "red alone, 120 green, 240 blue"
        ),
    ] = (20.0, 195.0)
    min_stain_saturation: Annotated[
        float, Field(ge=0, description="smallest saturation of what is stained (0 = grey)")
    ] = 0.12
    max_overlap: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="largest share of the frame that earlier fields may have shown; cells in it are not "
            "counted again, so a small rest is worth a look",
        ),
    ] = 0.95
    remembered_fields: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="how many of the latest fields are compared by their picture, where nothing else "
            "tells where a frame lies",
        ),
    ] = 12


class Gates:
    """Judges frames in the order in which they were captured; pure but for what it remembers.

    ``still_images`` says that every frame is a picture of its own (a folder), so that no frame before it
    could tell whether it moved. ``focus_reference`` is the sharpness that the calibrated objective can give:
    frames that its calibration corrected are held to a share of it.
    """

    def __init__(
        self, settings: GateSettings, *, still_images: bool = False, focus_reference: float | None = None
    ) -> None:
        self._settings = settings
        self._focus_reference = focus_reference
        self._focus = FocusWatch()
        self._still_images = still_images
        self._before: Reduction | None = None
        self.slide_map = SlideMap(followed=not still_images, recent_fields=settings.remembered_fields)
        """Where the slide's fields lie, and which of their cells are one."""
        self._refusals: Counter[Reason] = Counter(dict.fromkeys(Reason, 0))
        self.accepted = 0
        """How many frames became fields."""

    @property
    def refusals(self) -> Mapping[Reason, int]:
        """How many frames were refused, by reason; every reason is there."""
        return MappingProxyType(self._refusals)

    @property
    def focus_trend(self) -> FocusTrend | None:
        """Whether the place under the objective becomes sharper; None while that cannot be told."""
        return self._focus.trend

    def begin_slide(self, kept_map: Mapping[str, bytes] | None = None) -> None:
        """Forget the slide before, or go on with the one whose map was kept. Tallies go on.

        Raises MapDamagedError where the map cannot be read; it is empty then.
        """
        self.slide_map.begin_slide(kept_map)

    def take_back(self, accepted: Accepted) -> None:
        """A field of this slide was lost after all: seen again, it may be counted."""
        self.slide_map.take_back(accepted.place)
        self.accepted -= 1

    def judge(self, frame: Frame) -> Verdict:
        """Whether ``frame`` is a field; where it is, it is remembered as counted."""
        reduction = reduce_frame(frame.pixels)
        before, self._before = self._before, reduction
        verdict = self._verdict(frame, reduction, before)
        if isinstance(verdict, Refused):
            self._refusals[verdict.reason] += 1
            if verdict.reason is not Reason.ALREADY_COUNTED:
                self.slide_map.follow(reduction)
        else:
            self.accepted += 1
        return verdict

    def _verdict(self, frame: Frame, reduction: Reduction, before: Reduction | None) -> Verdict:
        limits = self._settings
        moved = 0.0 if self._still_images else _motion(before, reduction)
        if moved > _TRAVELLING:
            self._focus.forget()
            return Refused(reason=Reason.MOVING, measure=moved)
        stain = measure_stain(reduction.rgb)
        sharp = sharpness(reduction.fine_green)
        if stain.share >= limits.min_stained_share and not self._still_images:
            self._focus.see(frame.monotonic_s, sharp)
        fault = (
            _restless(moved, limits)
            or self._blurred(frame, stain, sharp)
            or _badly_lit(measure_exposure(reduction.samples), limits)
            or _badly_stained(stain, limits)
        )
        if fault is not None:
            return fault
        sighting = self.slide_map.look(frame, reduction, focus=sharp)
        if sighting.covered_share >= limits.max_overlap:
            return Refused(reason=Reason.ALREADY_COUNTED, measure=sighting.covered_share)
        return Accepted(focus=sharp, stained_share=stain.share, place=self.slide_map.take(sighting))

    def _blurred(self, frame: Frame, stain: Stain, sharp: float) -> Refused | None:
        limits = self._settings
        if stain.share < limits.min_stained_share:
            return None  # where nothing is stained there is nothing to be sharp: that is not out of focus
        least = limits.min_focus
        if self._focus_reference is not None and frame.calibration is not None:
            least = limits.min_focus_share * self._focus_reference
        return Refused(reason=Reason.OUT_OF_FOCUS, measure=sharp) if sharp < least else None


def _motion(before: Reduction | None, after: Reduction) -> float:
    # A camera's first frame cannot be known to be still.
    return math.inf if before is None else mean_difference(before.coarse_green, after.coarse_green)


def _restless(moved: float, limits: GateSettings) -> Refused | None:
    return Refused(reason=Reason.MOVING, measure=moved) if moved > limits.max_motion else None


def _badly_lit(light: Exposure, limits: GateSettings) -> Refused | None:
    if light.black_share > limits.max_black_share:
        return Refused(reason=Reason.BADLY_EXPOSED, measure=light.black_share)
    if light.white_share > limits.max_white_share:
        return Refused(reason=Reason.BADLY_EXPOSED, measure=light.white_share)
    if not limits.min_mean <= light.mean <= limits.max_mean:
        return Refused(reason=Reason.BADLY_EXPOSED, measure=light.mean)
    return None


def _badly_stained(stain: Stain, limits: GateSettings) -> Refused | None:
    if stain.share < limits.min_stained_share:
        return Refused(reason=Reason.NO_SAMPLE, measure=stain.share)
    # Not a number where a colour cannot be told: that is no colour of a smear either.
    if not stain.saturation >= limits.min_stain_saturation:
        return Refused(reason=Reason.STRANGE_COLOUR, measure=stain.saturation)
    start, end = limits.stain_hue_deg
    range_deg = (end - start) % 360 or 360  # from a hue around to itself: every hue
    if (stain.hue_deg - start) % 360 > range_deg:
        return Refused(reason=Reason.STRANGE_COLOUR, measure=stain.hue_deg)
    return None
