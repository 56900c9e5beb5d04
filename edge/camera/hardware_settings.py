"""The settings of cameras that are hardware or a stream: one table each, with what all of them share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from typing_extensions import Self

from edge.camera.controls import CameraControls
from edge.camera.gstreamer_pipelines import GstSource, PictureFormat, StreamFormat, gst_source
from edge.camera.source_names import is_live
from edge.config_path import ConfigPath

MicrometresPerPixel = Annotated[float, Field(gt=0, le=10)]
ObjectiveName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,31}$")]
"""An objective as it is called at this station, such as ``100x``: it names the files of its calibration."""
_NO_FILE = re.compile(r"(csi|pipeline):")


def _size(width_px: int | None, height_px: int | None) -> tuple[int, int] | None:
    return None if width_px is None or height_px is None else (width_px, height_px)


def _file_from_own_directory(source: str | int, info: ValidationInfo) -> str | int:
    directory = (info.context or {}).get("directory")
    if directory is None or is_live(source) or _NO_FILE.match(str(source)):
        return source
    return str(Path(directory) / str(source))


class HardwareSettings(BaseModel):
    """What every camera that is hardware or a stream has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: Annotated[
        ObjectiveName | None,
        Field(description="whose calibration corrects the frames; left out: none does"),
    ] = None
    um_per_px: Annotated[
        MicrometresPerPixel | None,
        Field(description="micrometres of the smear to a pixel; left out: not known"),
    ] = None
    width_px: Annotated[int | None, Field(gt=0, description="asked of a device; left out: its own")] = None
    height_px: Annotated[int | None, Field(gt=0, description="asked of a device; left out: its own")] = None
    frame_rate_hz: Annotated[
        float | None, Field(gt=0, description="asked of a device; left out: its own")
    ] = None
    controls: Annotated[
        CameraControls, Field(description="exposure, gain and white balance held fixed on a device")
    ] = CameraControls()
    timeout_s: Annotated[
        float,
        Field(
            gt=0,
            le=120,
            description="seconds without a picture after which a camera is lost; twice that for the first",
        ),
    ] = 5.0
    retry_cap_s: Annotated[
        float, Field(gt=0, le=600, description="longest wait before a lost camera is tried again, in seconds")
    ] = 15.0

    @property
    def separate_images(self) -> bool:
        """Whether every frame is a place of its own, so that stillness cannot be asked of it."""
        return False

    @property
    def takes_controls(self) -> bool:
        """Whether exposure, gain and white balance can be held here, and not only at the sender."""
        return True


class VideoSettings(HardwareSettings):
    """A video file, a network stream, or a camera of this machine, by OpenCV."""

    kind: Literal["video"]
    source: Annotated[
        Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=0)],
        AfterValidator(_file_from_own_directory),
        Field(
            description="a file, a URL (http, https, rtsp, ...), a device such as /dev/leukoscope-camera, "
            "or a device's number"
        ),
    ]

    @property
    def device(self) -> str | None:
        """The device's path; None for a file or a stream."""
        if isinstance(self.source, int):
            return f"/dev/video{self.source}"
        return self.source if self.source.startswith("/dev/") else None

    @property
    def takes_controls(self) -> bool:
        """Whether exposure, gain and white balance can be held here, and not only at the sender."""
        return self.device is not None

    @model_validator(mode="after")
    def _controls_belong_to_a_device(self) -> Self:
        if self.device is None and self.controls != CameraControls():
            raise ValueError("only a device takes controls; set a network camera's at the camera itself")
        return self


class GStreamerSettings(HardwareSettings):
    """Whatever GStreamer receives."""

    kind: Literal["gstreamer"]
    source: Annotated[
        str,
        Field(
            min_length=1,
            description="csi:0 (a Jetson's camera module), a device, a URL (rtsp, http), a file, or "
            "'pipeline: ...' in GStreamer's own words",
        ),
        AfterValidator(_file_from_own_directory),
    ]
    pictures: Annotated[
        PictureFormat, Field(description="raw, or mjpeg where a device, stream or file sends JPEGs")
    ] = "raw"
    latency_ms: Annotated[
        int, Field(ge=0, le=10_000, description="how long rtsp waits for late packets, in milliseconds")
    ] = 200

    @property
    def gst_source(self) -> GstSource:
        """The pipeline that these settings describe."""
        return gst_source(
            self.source,
            stream=StreamFormat(
                pictures=self.pictures,
                width_px=self.width_px,
                height_px=self.height_px,
                frame_rate_hz=self.frame_rate_hz,
            ),
            controls=self.controls,
            latency_ms=self.latency_ms,
            timeout_s=self.timeout_s,
        )

    @property
    def takes_controls(self) -> bool:
        """Whether exposure, gain and white balance can be held here, and not only at the sender."""
        return self.source.startswith(("csi:", "/dev/"))

    @model_validator(mode="after")
    def _source_is_understood(self) -> Self:
        _ = self.gst_source
        return self


class Picamera2Settings(HardwareSettings):
    """A camera module of a Raspberry Pi, by libcamera's picamera2."""

    kind: Literal["picamera2"]
    camera: Annotated[int, Field(ge=0, description="which camera, from 0")] = 0
    sensor_width_px: Annotated[
        int | None, Field(gt=0, description="with sensor_height_px the sensor's mode; left out: the best fit")
    ] = None
    sensor_height_px: Annotated[int | None, Field(gt=0, description="see sensor_width_px")] = None
    sensor_bit_depth: Annotated[int | None, Field(ge=8, le=16, description="bits of the sensor's mode")] = (
        None
    )

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height that are asked; None: 1280 x 960."""
        return _size(self.width_px, self.height_px)

    @property
    def sensor_size_px(self) -> tuple[int, int] | None:
        """Width and height of the sensor's mode; None: the best fit."""
        return _size(self.sensor_width_px, self.sensor_height_px)

    @model_validator(mode="after")
    def _sizes_come_in_pairs(self) -> Self:
        pairs = ((self.width_px, self.height_px), (self.sensor_width_px, self.sensor_height_px))
        if any((width is None) != (height is None) for width, height in pairs):
            raise ValueError("a width and its height are given together, or neither")
        return self


class GenicamSettings(HardwareSettings):
    """A GenICam camera (USB3 Vision, GigE Vision) by its maker's GenTL producer."""

    kind: Literal["genicam"]
    producer: Annotated[
        ConfigPath | None,
        Field(description="the producer's .cti file; left out: those of GENICAM_GENTL64_PATH"),
    ] = None
    serial: Annotated[
        str | None, Field(min_length=1, description="serial number of the camera; left out: the only one")
    ] = None
    pixel_format: Annotated[
        str | None,
        Field(min_length=1, description="as the camera names it, such as BayerRG8; left out: its own"),
    ] = None

    @model_validator(mode="after")
    def _white_balance_is_by_gains(self) -> Self:
        if self.controls.colour_temperature_k is not None:
            raise ValueError(
                "GenICam knows no colour temperature; give white_balance as gains of red and blue"
            )
        return self
