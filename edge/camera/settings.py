"""Which camera a station has, as its configuration says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from edge.camera.folder import FolderCamera
from edge.camera.protocol import Camera
from edge.camera.reconnecting import Backoff, CameraState, Reconnecting
from edge.camera.video import VideoCamera, is_live
from edge.config_path import ConfigPath
from edge.errors import CameraError

MicrometresPerPixel = Annotated[float, Field(gt=0, le=10)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _file_from_own_directory(source: str | int, info: ValidationInfo) -> str | int:
    directory = (info.context or {}).get("directory")
    if directory is None or is_live(source):
        return source
    return str(Path(directory) / str(source))


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


class VideoSettings(_Settings):
    """A video file, a network stream, or a camera of this machine."""

    kind: Literal["video"]
    source: Annotated[
        Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)],
        AfterValidator(_file_from_own_directory),
        Field(
            description="a file, a URL (http, https, rtsp, ...), a device such as /dev/leukoscope-camera, "
            "or a device's number"
        ),
    ]
    um_per_px: Annotated[
        MicrometresPerPixel | None,
        Field(description="micrometres of the smear to a pixel; left out: not known"),
    ] = None
    width_px: Annotated[int | None, Field(gt=0, description="asked of a device; left out: its own")] = None
    height_px: Annotated[int | None, Field(gt=0, description="asked of a device; left out: its own")] = None
    frame_rate_hz: Annotated[
        float | None, Field(gt=0, description="asked of a device; left out: its own")
    ] = None
    timeout_s: Annotated[
        float, Field(gt=0, le=120, description="seconds without a picture after which a stream is lost")
    ] = 10.0
    retry_cap_s: Annotated[
        float, Field(gt=0, le=600, description="longest wait before a lost camera is tried again, in seconds")
    ] = 15.0

    @property
    def separate_images(self) -> bool:
        """Whether every frame is a place of its own, so that stillness cannot be asked of it."""
        return False


CameraSettings = Annotated[VirtualSlideSettings | FolderSettings | VideoSettings, Field(discriminator="kind")]


def open_camera(
    settings: VirtualSlideSettings | FolderSettings | VideoSettings,
    *,
    on_state: Callable[[CameraState, CameraError | None], None] | None = None,
) -> Camera:
    """The camera that ``settings`` describe; its hardware opens in ``__enter__``.

    A stream or device comes wrapped so that it is opened again when it is lost; ``on_state`` then hears of
    each change. Other sources have no such changes and ignore it.
    """
    if isinstance(settings, FolderSettings):
        return FolderCamera(
            folder=settings.path,
            recursive=settings.recursive,
            strict=settings.strict,
            um_per_px=settings.um_per_px,
        )
    if isinstance(settings, VideoSettings):
        if not is_live(settings.source):
            return make_video(settings)
        return Reconnecting(
            make=lambda: make_video(settings),
            backoff=Backoff(cap_s=settings.retry_cap_s),
            on_state=on_state,
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


def make_video(settings: VideoSettings) -> VideoCamera:
    """The bare video camera, which fails where it is away; for those who ask whether it is there."""
    return VideoCamera(
        source=settings.source,
        um_per_px=settings.um_per_px,
        width_px=settings.width_px,
        height_px=settings.height_px,
        frame_rate_hz=settings.frame_rate_hz,
        timeout_s=settings.timeout_s,
    )
