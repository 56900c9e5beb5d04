"""Which camera a station has, as its configuration says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.camera.controls import CameraControls
from edge.camera.folder import FolderCamera
from edge.camera.genicam import GenicamCamera
from edge.camera.gstreamer import GStreamerCamera
from edge.camera.hardware_settings import (
    GenicamSettings,
    GStreamerSettings,
    HardwareSettings,
    MicrometresPerPixel,
    ObjectiveName,
    Picamera2Settings,
    VideoSettings,
)
from edge.camera.picamera2 import Picamera2Camera, SensorMode
from edge.camera.protocol import Camera
from edge.camera.reconnecting import Backoff, CameraState, Reconnecting
from edge.camera.video import VideoCamera
from edge.config_path import ConfigPath
from edge.errors import CameraError


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: Annotated[
        ObjectiveName | None,
        Field(description="whose calibration corrects the frames; left out: none does"),
    ] = None


class VirtualSlideSettings(_Settings):
    """A generated smear under a stage that moves by itself: for demonstrations and tests."""

    kind: Literal["virtual_slide"]
    seed: Annotated[int, Field(ge=0, description="which smear; the same seed is the same smear")] = 1
    width_px: Annotated[int, Field(ge=64, le=8192, description="frame width in pixels")] = 640
    height_px: Annotated[int, Field(ge=64, le=8192, description="frame height in pixels")] = 480
    um_per_px: Annotated[MicrometresPerPixel, Field(description="micrometres of the smear to a pixel")] = 0.08
    frame_rate_hz: Annotated[float, Field(gt=0, le=120, description="frames in a second")] = 10.0
    fields: Annotated[
        int | None, Field(ge=1, description="end after so many stops of the stage; left out: never")
    ] = None
    live: Annotated[
        bool, Field(description="keep the frame rate; false: frames come as fast as they are read")
    ] = True

    @property
    def separate_images(self) -> bool:
        """Whether every frame is a place of its own, so that stillness cannot be asked of it."""
        return False


class FolderSettings(_Settings):
    """A folder of images, each a field of its own."""

    kind: Literal["folder"]
    path: Annotated[ConfigPath, Field(description="the folder")]
    recursive: Annotated[bool, Field(description="search its subfolders too")] = False
    strict: Annotated[bool, Field(description="stop at an unreadable image instead of skipping it")] = False
    um_per_px: Annotated[
        MicrometresPerPixel | None,
        Field(description="micrometres of the smear to a pixel; left out: not known"),
    ] = None

    @property
    def separate_images(self) -> bool:
        """Whether every frame is a place of its own, so that stillness cannot be asked of it."""
        return True


CameraSettings = Annotated[
    VirtualSlideSettings
    | FolderSettings
    | VideoSettings
    | GStreamerSettings
    | Picamera2Settings
    | GenicamSettings,
    Field(discriminator="kind"),
]


def open_camera(
    settings: CameraSettings,
    *,
    on_state: Callable[[CameraState, CameraError | None], None] | None = None,
) -> Camera:
    """The camera that ``settings`` describe; its hardware opens in ``__enter__``.

    A stream or device comes wrapped so that it is opened again when it is lost; ``on_state`` then hears of
    each change. Other sources have no such changes and ignore it.
    """
    camera = bare_camera(settings)
    if not isinstance(settings, HardwareSettings) or not camera.live:
        return camera
    return Reconnecting(
        make=lambda: bare_camera(settings), backoff=Backoff(cap_s=settings.retry_cap_s), on_state=on_state
    )


def asked_controls(settings: CameraSettings) -> CameraControls | None:
    """What a device is asked to hold fixed; None for a source that takes no controls: a file, a stream."""
    if isinstance(settings, HardwareSettings) and settings.takes_controls:
        return settings.controls
    return None


def bare_camera(settings: CameraSettings) -> Camera:
    """The camera itself, which fails where it is away; for those who ask whether it is there."""
    if isinstance(settings, FolderSettings):
        return FolderCamera(
            folder=settings.path,
            recursive=settings.recursive,
            strict=settings.strict,
            um_per_px=settings.um_per_px,
        )
    if isinstance(settings, VideoSettings):
        return VideoCamera(
            source=settings.source,
            controls=settings.controls,
            um_per_px=settings.um_per_px,
            width_px=settings.width_px,
            height_px=settings.height_px,
            frame_rate_hz=settings.frame_rate_hz,
            timeout_s=settings.timeout_s,
        )
    if isinstance(settings, GStreamerSettings):
        return GStreamerCamera(
            source=settings.gst_source,
            controls=settings.controls,
            um_per_px=settings.um_per_px,
            timeout_s=settings.timeout_s,
        )
    if isinstance(settings, Picamera2Settings):
        return Picamera2Camera(
            number=settings.camera,
            size_px=settings.size_px,
            sensor=SensorMode(size_px=settings.sensor_size_px, bit_depth=settings.sensor_bit_depth),
            frame_rate_hz=settings.frame_rate_hz,
            controls=settings.controls,
            um_per_px=settings.um_per_px,
            timeout_s=settings.timeout_s,
        )
    if isinstance(settings, GenicamSettings):
        return GenicamCamera(
            producer=settings.producer,
            serial=settings.serial,
            pixel_format=settings.pixel_format,
            width_px=settings.width_px,
            height_px=settings.height_px,
            frame_rate_hz=settings.frame_rate_hz,
            controls=settings.controls,
            um_per_px=settings.um_per_px,
            timeout_s=settings.timeout_s,
        )
    # The generator is large, and a station with a microscope never needs it.
    from edge.camera.virtual_slide import VirtualSlide  # noqa: PLC0415

    return VirtualSlide(
        seed=settings.seed,
        width_px=settings.width_px,
        height_px=settings.height_px,
        um_per_px=settings.um_per_px,
        frame_rate_hz=settings.frame_rate_hz,
        fields=settings.fields,
        live=settings.live,
    )
