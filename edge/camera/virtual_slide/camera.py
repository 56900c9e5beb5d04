"""A camera on a generated microscope: it films a smear plane under a moving stage, and knows the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from types import TracebackType

from typing_extensions import Self

from edge.camera.virtual_slide.conditions import Conditions
from edge.camera.virtual_slide.objects import PlacedObject
from edge.camera.virtual_slide.optics import dragged, expose
from edge.camera.virtual_slide.plane import SmearPlane
from edge.camera.virtual_slide.stage import Route, Stage, StageView
from edge.camera.virtual_slide.streams import stream
from edge.errors import CameraError
from edge.frame import Frame, Pixels

_NOISE_STREAM = 7


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class VirtualSlide:
    """A ``Camera`` whose frames follow from ``seed`` and the frame's index alone.

    ``fields`` ends it after that many stations of the stage; None goes on for ever. A ``live`` one keeps
    ``frame_rate_hz`` and leaves out the frames that a slow reader missed; the other gives every frame as
    fast as it is read. ``conditions`` (stain, light, population) are everyday ones of the seed's own
    choice unless given; ``mix`` weighs the cell classes and ``blast_share`` sets the share of blasts
    among the white cells. Its stage takes the way of ``route`` unless another ``stage`` is given; with
    ``tells_stage`` false its frames do not tell where that stands.
    """

    def __init__(
        self,
        *,
        seed: int,
        width_px: int = 640,
        height_px: int = 480,
        um_per_px: float = 0.08,
        fields: int | None = None,
        live: bool = True,
        frame_rate_hz: float = 10.0,
        frames_per_station: int = 8,
        conditions: Conditions | None = None,
        mix: Mapping[str, float] | None = None,
        blast_share: float | None = None,
        stage: Stage | None = None,
        tells_stage: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        chosen = conditions or Conditions.everyday(stream(seed))
        population = chosen.population if mix is None else replace(chosen.population, mix=mix)
        if blast_share is not None:
            population = population.with_blast_share(blast_share)
        self._seed = seed
        self._size_px = (width_px, height_px)
        self._um_per_px = um_per_px
        self._fields = fields
        self._live = live
        self._period_s = 1 / frame_rate_hz
        self._optics = chosen.optics
        self._plane = SmearPlane(seed=seed, stain=chosen.stain, population=population)
        self._route = Route(
            seed=seed,
            field_um=(width_px * um_per_px, height_px * um_per_px),
            frames_per_station=frames_per_station,
        )
        self._stage: Stage = stage or self._route
        self._tells_stage = tells_stage
        self._clock, self._sleep, self._now = clock, sleep, now
        self._opened_s: float | None = None
        self._next = 0

    @property
    def name(self) -> str:
        """What a person calls this source."""
        return f"virtual slide {self._seed}"

    @property
    def live(self) -> bool:
        """Whether frames go stale when they are not read in time."""
        return self._live

    @property
    def plane(self) -> SmearPlane:
        """The smear under the objective."""
        return self._plane

    @property
    def route(self) -> Route:
        """The stage's way over it."""
        return self._route

    @property
    def stage(self) -> Stage:
        """What moves it: the route, or another stage that was given."""
        return self._stage

    def __enter__(self) -> Self:
        """Start again at the first frame."""
        self._opened_s = self._clock()
        self._next = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; closing twice is harmless."""
        self._opened_s = None

    def read(self) -> Frame | None:
        """The next frame, or None after the last field. Raises CameraError when it is not open."""
        if self._opened_s is None:
            raise CameraError(f"The {self.name} is not open.", remedy="Read it inside a with statement.")
        if self._live:
            self._keep_time(self._opened_s)
        index = self._next
        if self._fields is not None and index >= self._stage.frames(self._fields):
            return None
        self._next = index + 1
        view = self._stage.view(index)
        return Frame(
            pixels=self._picture(view, index),
            index=index,
            source=self.name,
            captured_at=self._now(),
            monotonic_s=self._clock(),
            um_per_px=self._um_per_px,
            stage_um=self._corner_um(view) if self._tells_stage else None,
        )

    def truth(self, frame: Frame) -> tuple[PlacedObject, ...]:
        """What lies in a frame of this camera, white cells last. Raises ValueError for a foreign frame."""
        if frame.um_per_px is None or frame.source != self.name:
            raise ValueError(f"a frame of {frame.source!r} is none of the {self.name}")
        return self._plane.placed_in(
            origin_um=self._corner_um(self._stage.view(frame.index)),
            width_px=frame.width_px,
            height_px=frame.height_px,
            um_per_px=frame.um_per_px,
        )

    def _keep_time(self, opened_s: float) -> None:
        """Wait until the next frame is due, or pass over those that are over already."""
        early_s = opened_s + self._next * self._period_s - self._clock()
        if early_s > 0:
            self._sleep(early_s)
        else:
            self._next += int(-early_s / self._period_s)

    def _corner_px(self, view: StageView) -> tuple[int, int]:
        x_um, y_um = view.corner_um
        return round(x_um / self._um_per_px), round(y_um / self._um_per_px)

    def _corner_um(self, view: StageView) -> tuple[float, float]:
        x_px, y_px = self._corner_px(view)
        return x_px * self._um_per_px, y_px * self._um_per_px

    def _picture(self, view: StageView, index: int) -> Pixels:
        x_px, y_px = self._corner_px(view)
        width_px, height_px = self._size_px
        travel_px = tuple(round(each / self._um_per_px) for each in view.travel_um)
        margin_px, margin_py = abs(travel_px[0]), abs(travel_px[1])
        light = self._plane.transmittance(
            x_px=x_px - margin_px // 2,
            y_px=y_px - margin_py // 2,
            width_px=width_px + margin_px,
            height_px=height_px + margin_py,
            um_per_px=self._um_per_px,
        )
        if not view.at_rest:
            light = dragged(light, dx_px=travel_px[0], dy_px=travel_px[1])
        return expose(
            light,
            self._optics,
            um_per_px=self._um_per_px,
            rng=stream(self._seed, _NOISE_STREAM, index),
            defocus_um=view.defocus_um,
        )
