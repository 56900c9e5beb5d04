"""A GenICam camera (USB3 Vision, GigE Vision) by harvesters and the maker's GenTL producer.

A producer is a ``.cti`` file that comes with the maker's driver. Nodes are named by the Standard Features
Naming Convention, pixel formats by the Pixel Format Naming Convention (both EMVA).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from typing_extensions import Self

from edge.camera.controls import CameraControls, HeldControls
from edge.camera.raw_pixels import BGR, BGRX, RGB, RGBX, UYVY, YUYV, Layout, bayer, grey, rgb_from_raw
from edge.errors import CameraError
from edge.frame import Frame, Pixels

PRODUCERS_VARIABLE: Final = "GENICAM_GENTL64_PATH"
"""Folders with producers, as every maker's installer sets it (GenTL standard)."""

# How long one look for a picture lasts, and how long it pauses between looks at the producer.
_LOOK_S: Final = 0.1
_DRAIN_S: Final = 0.002
_PAUSE_MS: Final = 20


def _layouts() -> dict[str, Layout]:
    layouts = {
        "RGB8": RGB,
        "BGR8": BGR,
        "RGBa8": RGBX,
        "BGRa8": BGRX,
        "YUV422_8": YUYV,
        "YCbCr422_8": YUYV,
        "YUV422_8_UYVY": UYVY,
        "YCbCr422_8_CbYCrY": UYVY,
    }
    for bits in (8, 10, 12, 14, 16):
        # harvesters unpacks what is packed, so that each of its samples takes two bytes too.
        for ending in ("", "p", "Packed") if bits in {10, 12} else ("",):
            layouts[f"Mono{bits}{ending}"] = grey(bits=bits)
            for pattern in ("RG", "GR", "BG", "GB"):
                layouts[f"Bayer{pattern}{bits}{ending}"] = bayer(pattern, bits=bits)
    return layouts


LAYOUTS: Final = _layouts()
"""The pixel formats that become RGB, by their name."""


@dataclass(frozen=True, kw_only=True)
class Harvesters:
    """What is used of the library: its class, and all that it and the producers raise."""

    Harvester: Any
    faults: tuple[type[Exception], ...]


def load_harvesters() -> Harvesters:
    """Load the library. Raises CameraError where it is not installed."""
    try:
        with warnings.catch_warnings():  # the library changes the filters of the whole program
            core = importlib.import_module("harvesters.core")
            genapi, gentl = (importlib.import_module(f"genicam.{part}") for part in ("genapi", "gentl"))
    except ImportError as error:
        raise CameraError(
            f"harvesters cannot be loaded ({error}).", remedy="pip install 'leukoscope[genicam]'."
        ) from error
    faults = (genapi.GenericException, gentl.GenericException, ValueError, OSError)
    return Harvesters(Harvester=core.Harvester, faults=faults)


class GenicamCamera:
    """Frames of the camera with the serial number ``serial``, or of the only one.

    The newest frame is given. Exposure and gain are told where they were asked, as the camera holds them.
    ``timeout_s`` without a frame, or a word from the producer, is a loss.
    """

    def __init__(
        self,
        *,
        producer: Path | None = None,
        serial: str | None = None,
        pixel_format: str | None = None,
        width_px: int | None = None,
        height_px: int | None = None,
        frame_rate_hz: float | None = None,
        controls: CameraControls | None = None,
        um_per_px: float | None = None,
        timeout_s: float = 5.0,
        load: Callable[[], Harvesters] = load_harvesters,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._serial = serial
        self._nodes: dict[str, Any] = {
            "PixelFormat": pixel_format,
            "Width": width_px,
            "Height": height_px,
            "AcquisitionFrameRateEnable": None if frame_rate_hz is None else True,
            "AcquisitionFrameRate": frame_rate_hz,
        }
        self._controls = controls or CameraControls()
        self._um_per_px = um_per_px
        self._timeout_s = timeout_s
        self._load = load
        self._environment = environment
        self._clock = clock
        self._faults: tuple[type[Exception], ...] = ()
        self._harvester: Any = None
        self._acquirer: Any = None
        self._newest_only = False
        self._held = HeldControls()
        self._index = 0

    @property
    def name(self) -> str:
        """Which camera it is."""
        return "GenICam camera" if self._serial is None else f"GenICam camera {self._serial}"

    @property
    def live(self) -> bool:
        """Always."""
        return True

    def __enter__(self) -> Self:
        """Load the producers, take the camera, set it up and start it. Raises CameraError."""
        library = self._load()
        self._faults = library.faults
        producers = self._producers()
        try:
            self._harvester = library.Harvester()
            for each in producers:
                self._harvester.add_file(str(each))
            self._harvester.update()
            with _own_interrupt():
                self._acquirer = self._harvester.create({"serial_number": self._found_serial()})
            self._set_up(self._acquirer.remote_device.node_map)
            self._newest_only = self._keep_newest_only()
            self._acquirer.timeout_period_on_update_event_data_call = _PAUSE_MS
            self._acquirer.start()
        except CameraError:
            self._close()
            raise
        except self._faults as error:
            self._close()
            raise CameraError(
                f"The {self.name} cannot be opened ({error}).",
                remedy="Close other programs that use it; see that the producer is for it and this machine.",
            ) from error
        self._index = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and give the camera back; closing twice is harmless."""
        self._close()

    def read(self) -> Frame | None:
        """Wait for the newest frame. Raises CameraError where none comes, or in a format that is unknown."""
        if self._acquirer is None:
            raise CameraError(f"The {self.name} is not open.", remedy="Open it before reading.")
        try:
            pixels = self._newest()
        except self._faults as error:
            raise CameraError(
                f"The {self.name} is lost ({error}).",
                remedy="Check its cable, its power and its hub or switch.",
            ) from error
        frame = Frame(
            pixels=pixels,
            index=self._index,
            source=self.name,
            # Its own stamp is by a clock that nothing ties to this machine's.
            captured_at=datetime.now(timezone.utc),
            monotonic_s=self._clock(),
            um_per_px=self._um_per_px,
            exposure_us=self._held.exposure_us,
            gain=self._held.gain,
            colour_gains=self._held.colour_gains,
        )
        self._index += 1
        return frame

    def _producers(self) -> list[Path]:
        if self._producer is not None:
            if not self._producer.is_file():
                raise CameraError(
                    f"The GenTL producer {self._producer} is not there.",
                    remedy="Install the camera maker's driver, and name its .cti file in camera.producer.",
                )
            return [self._producer]
        folders = self._environment.get(PRODUCERS_VARIABLE, "").split(os.pathsep)
        found = [each for folder in folders if folder for each in sorted(Path(folder).glob("*.cti"))]
        if not found:
            raise CameraError(
                f"No GenTL producer is named, and {PRODUCERS_VARIABLE} leads to none.",
                remedy="Install the camera maker's driver, and name its .cti file in camera.producer.",
            )
        return found

    def _found_serial(self) -> str:
        serials = [str(each.serial_number) for each in self._harvester.device_info_list]
        if self._serial is None and len(serials) == 1:
            return serials[0]
        if self._serial is not None and self._serial in serials:
            return self._serial
        if not serials:
            raise CameraError(
                f"The {self.name} is not there: the producer finds no camera.",
                remedy="Check its cable, its power and its address; USB needs the maker's udev rules.",
            )
        raise CameraError(
            f"The {self.name} is not there; found: {', '.join(serials)}."
            if self._serial
            else f"There is more than one camera: {', '.join(serials)}.",
            remedy="Give one of these serial numbers in camera.serial.",
        )

    def _set_up(self, nodes: Any) -> None:  # noqa: ANN401
        for node, value in self._nodes.items():
            if value is not None and (nodes.has_node(node) or not node.endswith("Enable")):
                _set(nodes, node, value)
        if nodes.PixelFormat.value not in LAYOUTS:
            known = [each for each in nodes.PixelFormat.symbolics if each in LAYOUTS]
            raise CameraError(
                f"The {self.name} sends {nodes.PixelFormat.value}, which is not understood.",
                remedy=f"Set camera.pixel_format to one of: {', '.join(known) or 'none that it offers'}.",
            )
        self._held = self._fixed(nodes)

    def _fixed(self, nodes: Any) -> HeldControls:  # noqa: ANN401
        controls = self._controls
        exposure_us = gain = None
        colour_gains: tuple[float, float] | None = None
        if controls.exposure_us is not None:
            _set_where_there(nodes, {"ExposureMode": "Timed", "ExposureAuto": "Off"})
            exposure_us = _set(nodes, "ExposureTime", controls.exposure_us)
        if controls.gain is not None:
            _set_where_there(nodes, {"GainAuto": "Off"})
            gain = _set(nodes, "Gain", controls.gain)
        if controls.colour_gains is not None:
            _set_where_there(nodes, {"BalanceWhiteAuto": "Off"})
            held = []
            for colour, asked in zip(("Red", "Blue"), controls.colour_gains, strict=True):
                _set(nodes, "BalanceRatioSelector", colour)
                held.append(float(_set(nodes, "BalanceRatio", asked)))
            colour_gains = (held[0], held[1])
        return HeldControls(exposure_us=exposure_us, gain=gain, colour_gains=colour_gains)

    def _keep_newest_only(self) -> bool:
        """Whether the producer throws away what nobody fetched; else that is done in reading."""
        streams = self._acquirer.data_streams
        nodes = streams[0].node_map if streams else None
        if nodes is None or not nodes.has_node("StreamBufferHandlingMode"):
            return False
        if "NewestOnly" not in nodes.StreamBufferHandlingMode.symbolics:
            return False
        nodes.StreamBufferHandlingMode.value = "NewestOnly"
        return True

    def _newest(self) -> Pixels:
        deadline_s = self._clock() + self._timeout_s
        buffer = None
        while buffer is None:
            if self._clock() >= deadline_s:
                raise CameraError(
                    f"The {self.name} gave no picture for {self._timeout_s:g} s.",
                    remedy="Check its cable and its power; over the network, that large packets pass.",
                )
            # None is an incomplete picture too, of which packets were lost: the next one is waited for.
            buffer = self._acquirer.try_fetch(timeout=_LOOK_S)
        try:
            while not self._newest_only and (newer := self._acquirer.try_fetch(timeout=_DRAIN_S)) is not None:
                buffer.queue()
                buffer = newer
            return _pixels(buffer.payload.components[0])
        finally:
            # A buffer that is kept is one that the camera lacks.
            buffer.queue()

    def _close(self) -> None:
        acquirer, self._acquirer = self._acquirer, None
        harvester, self._harvester = self._harvester, None
        steps: Iterable[Any] = (
            *((acquirer.stop, acquirer.destroy) if acquirer is not None else ()),
            *((harvester.reset,) if harvester is not None else ()),
        )
        for step in steps:
            with contextlib.suppress(*self._faults):  # a camera that is gone cannot be told to stop
                step()


@contextlib.contextmanager
def _own_interrupt() -> Iterator[None]:
    """The library takes Ctrl-C for itself where it runs in the main thread; this gives it back."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _set(nodes: Any, node: str, value: Any) -> Any:  # noqa: ANN401
    if not nodes.has_node(node):
        raise CameraError(
            f"The camera has no feature {node}.",
            remedy="Leave the setting out; its manual names what it offers.",
        )
    feature = getattr(nodes, node)
    feature.value = value
    return feature.value


def _set_where_there(nodes: Any, values: Mapping[str, str]) -> None:  # noqa: ANN401
    for node, value in values.items():
        if nodes.has_node(node):
            _set(nodes, node, value)


def _pixels(component: Any) -> Pixels:  # noqa: ANN401
    """Raises ValueError where the buffer is shorter than its picture."""
    layout = LAYOUTS[component.data_format]
    width_px = int(component.width)
    return rgb_from_raw(
        component.data,
        layout=layout,
        width_px=width_px,
        height_px=int(component.height),
        stride_bytes=width_px * layout.pixel_bytes + int(component.x_padding),
    )
