"""A camera module of a Raspberry Pi, by libcamera's picamera2 (The Picamera2 Library, Raspberry Pi Ltd)."""

from __future__ import annotations

import concurrent.futures
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, Final

import numpy as np
from typing_extensions import Self

from edge.camera.controls import CameraControls
from edge.errors import CameraError
from edge.frame import Frame, Pixels

# libcamera names a format by its bits in a little-endian word: "BGR888" lies in memory as R, G, B.
_RGB_IN_MEMORY: Final = "BGR888"
_DEFAULT_SIZE_PX: Final = (1280, 960)
_NS_PER_S: Final = 1_000_000_000
_US_PER_S: Final = 1_000_000
_DEFAULT_RATE_HZ: Final = 30.0
_MANUAL: Final = 1
# What picamera2 raises of its own and lets through of libcamera.
_FAULTS: Final = (RuntimeError, ValueError, IndexError, KeyError, OSError)


@dataclass(frozen=True, kw_only=True)
class SensorMode:
    """A readout of the sensor: its size decides the field of view, its depth the speed."""

    size_px: tuple[int, int] | None = None
    bit_depth: int | None = None

    def asked(self) -> dict[str, Any]:
        """As picamera2 takes it; empty where nothing is asked."""
        asked: dict[str, Any] = {}
        if self.size_px is not None:
            asked["output_size"] = self.size_px
        if self.bit_depth is not None:
            asked["bit_depth"] = self.bit_depth
        return asked


def load_picamera2() -> Any:  # noqa: ANN401
    """The module ``picamera2``. Raises CameraError where it is not installed."""
    try:
        return importlib.import_module("picamera2")
    except ImportError as error:
        raise CameraError(
            f"picamera2 cannot be loaded ({error}).",
            remedy="Install python3-picamera2; make the station's environment with --system-site-packages.",
        ) from error


def boot_time_s() -> float:
    """The clock by which libcamera stamps frames: seconds since the machine started, asleep or not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Picamera2Camera:
    """Frames of camera ``number``, RGB as the image processor makes it, the newest always.

    The exposure, gain and colour gains of each frame are those of its own metadata, its time that of the
    sensor. ``timeout_s`` without a frame is a loss.
    """

    def __init__(
        self,
        *,
        number: int = 0,
        size_px: tuple[int, int] | None = None,
        sensor: SensorMode | None = None,
        frame_rate_hz: float | None = None,
        controls: CameraControls | None = None,
        um_per_px: float | None = None,
        timeout_s: float = 5.0,
        load: Callable[[], Any] = load_picamera2,
        clock: Callable[[], float] = time.monotonic,
        boot_clock: Callable[[], float] = boot_time_s,
    ) -> None:
        self._number = number
        self._size_px = size_px or _DEFAULT_SIZE_PX
        self._sensor = sensor or SensorMode()
        self._frame_rate_hz = frame_rate_hz
        self._controls = controls or CameraControls()
        self._um_per_px = um_per_px
        self._timeout_s = timeout_s
        self._load = load
        self._clock = clock
        self._boot_clock = boot_clock
        self._camera: Any = None
        self._index = 0
        self._latest_s = float("-inf")

    @property
    def name(self) -> str:
        """Which of the machine's cameras it is."""
        return f"picamera2 camera {self._number}"

    @property
    def live(self) -> bool:
        """Always."""
        return True

    def __enter__(self) -> Self:
        """Open, configure and start the camera. Raises CameraError."""
        library = self._load()
        try:
            present = library.Picamera2.global_camera_info()
            if self._number >= len(present):
                models = ", ".join(str(each.get("Model")) for each in present) or "none"
                raise CameraError(
                    f"The {self.name} is not there; found: {models}.",
                    remedy="Check the ribbon cable and `rpicam-hello --list-cameras`; cameras count from 0.",
                )
            self._camera = library.Picamera2(self._number)
            self._camera.configure(self._configuration(self._camera))
            self._camera.start()
        except _FAULTS as error:
            self._close()
            raise CameraError(
                f"The {self.name} cannot be opened ({error}).",
                remedy="Check that no other program uses it, its sensor mode, and the user's group video.",
            ) from error
        except CameraError:
            self._close()
            raise
        self._index, self._latest_s = 0, float("-inf")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and give the camera back; closing twice is harmless."""
        self._close()

    def read(self) -> Frame | None:
        """Wait for the newest frame. Raises CameraError where none comes."""
        if self._camera is None:
            raise CameraError(f"The {self.name} is not open.", remedy="Open it before reading.")
        try:
            request = self._camera.capture_request(wait=False).get_result(timeout=self._timeout_s)
            try:
                pixels: Pixels = np.ascontiguousarray(request.make_array("main"), dtype=np.uint8)
                metadata: dict[str, Any] = request.get_metadata()
            finally:
                # A request that is kept is a buffer that the camera lacks: after a few it stops.
                request.release()
        except concurrent.futures.TimeoutError as error:
            raise CameraError(
                f"The {self.name} gave no picture for {self._timeout_s:g} s.",
                remedy="Check the ribbon cable, and the kernel's log for the sensor.",
            ) from error
        except _FAULTS as error:
            raise CameraError(
                f"The {self.name} is lost ({error}).", remedy="Check the ribbon cable and the power supply."
            ) from error
        return self._frame(pixels, metadata)

    def _configuration(self, camera: Any) -> Any:  # noqa: ANN401
        options: dict[str, Any] = {"sensor": asked} if (asked := self._sensor.asked()) else {}
        return camera.create_video_configuration(
            main={"format": _RGB_IN_MEMORY, "size": self._size_px},
            controls=self._asked(camera.camera_controls),
            buffer_count=4,
            display=None,
            encode=None,
            **options,
        )

    def _asked(self, offered: dict[str, Any]) -> dict[str, Any]:
        """Controls by libcamera's names. A fixed exposure alone leaves the gain automatic, and vice versa."""
        asked: dict[str, Any] = {}
        controls = self._controls
        rate_hz = self._frame_rate_hz or _DEFAULT_RATE_HZ
        # An exposure is cut to the length of a frame, which picamera2 sets to a thirtieth of a second.
        duration_us = max(round(_US_PER_S / rate_hz), round(controls.exposure_us or 0))
        if self._frame_rate_hz is not None or duration_us > _US_PER_S / _DEFAULT_RATE_HZ:
            asked["FrameDurationLimits"] = (duration_us, duration_us)
        if controls.exposure_us is not None and controls.gain is not None:
            asked["AeEnable"] = False
        for control, mode, value in (
            ("ExposureTime", "ExposureTimeMode", controls.exposure_us),
            ("AnalogueGain", "AnalogueGainMode", controls.gain),
        ):
            if value is None:
                continue
            asked[control] = round(value) if control == "ExposureTime" else value
            if "AeEnable" not in asked and mode in offered:
                asked[mode] = _MANUAL  # from libcamera 0.5 on; before, the value alone fixed it
        if controls.white_balance is not None:
            asked["AwbEnable"] = False
        if controls.colour_gains is not None:
            asked["ColourGains"] = controls.colour_gains
        if controls.colour_temperature_k is not None:
            asked["ColourTemperature"] = round(controls.colour_temperature_k)
        lacking = sorted(set(asked) - set(offered))
        if lacking:
            raise CameraError(
                f"The {self.name} does not offer the control {', '.join(lacking)}.",
                remedy="Leave it out of camera.controls; for a colour temperature give gains instead.",
            )
        return asked

    def _frame(self, pixels: Pixels, metadata: dict[str, Any]) -> Frame:
        age_s = 0.0
        if "SensorTimestamp" in metadata:
            age_s = max(0.0, self._boot_clock() - metadata["SensorTimestamp"] / _NS_PER_S)
        self._latest_s = max(self._latest_s, self._clock() - age_s)
        frame = Frame(
            pixels=pixels,
            index=self._index,
            source=self.name,
            captured_at=datetime.now(timezone.utc) - timedelta(seconds=age_s),
            monotonic_s=self._latest_s,
            um_per_px=self._um_per_px,
            exposure_us=metadata.get("ExposureTime"),
            gain=metadata.get("AnalogueGain"),
            colour_gains=metadata.get("ColourGains"),
            colour_temperature_k=metadata.get("ColourTemperature"),
        )
        self._index += 1
        return frame

    def _close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()  # which stops it first
