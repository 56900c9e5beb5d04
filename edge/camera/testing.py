"""Cameras of libraries that drive hardware, made up: they follow picamera2's and harvesters' interfaces.

What the libraries check, these check; what runs out there, runs out here. Each is a *module* as its loader
gives it, with ``unplug`` and ``plug_in`` beside.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.camera.genicam import Harvesters

_BUFFERS = 4


class FakePicamera2:
    """Stands for the module ``picamera2`` on a machine with cameras of the ``models``.

    A picture is red, green 40 and blue 90, its red rising from 100 with each request; its rows are padded to
    64 bytes as the Pi's are. A control that is not offered is refused, and a camera whose requests are not
    given back falls silent, as with libcamera.
    """

    def __init__(
        self, *, models: Sequence[str] = ("imx477",), offered: Mapping[str, Any] | None = None
    ) -> None:
        self.models = list(models)
        self.offered = dict(
            offered
            or {
                "AeEnable": (False, True, True),
                "ExposureTime": (60, 674_191_602, 20_000),
                "AnalogueGain": (1.0, 22.26, 1.0),
                "AwbEnable": (False, True, True),
                "ColourGains": (0.0, 32.0, None),
                "FrameDurationLimits": (33_333, 120_000, 33_333),
            }
        )
        self.plugged = True
        self.taken = False
        self.held_requests = 0
        self.configurations: list[dict[str, Any]] = []
        self.Picamera2 = _PicameraClass(self)

    def unplug(self) -> None:
        """Pull the ribbon cable: nothing comes any more, and no camera is found."""
        self.plugged = False

    def plug_in(self) -> None:
        """Put it back."""
        self.plugged = True


class _PicameraClass:
    """As the class ``Picamera2``: it is asked what is there, and called to open a camera."""

    def __init__(self, module: FakePicamera2) -> None:
        self._module = module

    def global_camera_info(self) -> list[dict[str, Any]]:
        module = self._module
        return [{"Model": model, "Num": at} for at, model in enumerate(module.models) if module.plugged]

    def __call__(self, camera_num: int = 0) -> _Picamera:
        if self._module.taken:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        return _Picamera(self._module, self._module.models[camera_num])


class _Picamera:
    def __init__(self, module: FakePicamera2, model: str) -> None:
        self._module = module
        self.camera_properties = {"Model": model}
        self.camera_controls = module.offered
        self._configuration: dict[str, Any] | None = None
        self._started = False
        self._given = 0
        module.taken = True

    def create_video_configuration(
        self,
        main: Mapping[str, Any],
        controls: Mapping[str, Any],
        buffer_count: int = 6,
        **others: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        return {"main": main, "controls": controls, "buffer_count": buffer_count, **others}

    def configure(self, configuration: dict[str, Any]) -> None:
        if any(side % 2 for side in configuration["main"]["size"]):
            raise RuntimeError("width and height should be even")
        for control in configuration["controls"]:
            if control not in self.camera_controls:
                raise RuntimeError(f"Control {control} is not advertised by libcamera")
        self._module.configurations.append(configuration)
        self._configuration = configuration

    def start(self) -> None:
        if self._configuration is None:
            raise RuntimeError("Camera has not been configured")
        self._started = True

    def capture_request(self, wait: bool | None = None) -> _Job:
        if wait is not False:
            raise AssertionError("a camera that is gone would be waited for without end")
        module = self._module
        silent = not module.plugged or module.held_requests >= _BUFFERS
        if self._configuration is None or not self._started or silent:
            return _Job(None)
        self._given += 1
        module.held_requests += 1
        return _Job(_Request(module, self._configuration, number=self._given))

    def close(self) -> None:
        self._started = False
        self._module.taken = False
        self._module.held_requests = 0


class _Job:
    """A future as picamera2 gives it; one that never comes fails at once, to spare the wait."""

    def __init__(self, request: _Request | None) -> None:
        self._request = request

    def get_result(self, timeout: float | None = None) -> _Request:
        if self._request is None:
            if timeout is None:
                raise AssertionError("a camera that is gone would be waited for without end")
            raise concurrent.futures.TimeoutError
        return self._request


class _Request:
    def __init__(self, module: FakePicamera2, configuration: Mapping[str, Any], *, number: int) -> None:
        self._module = module
        self._main = configuration["main"]
        self._asked = configuration["controls"]
        self._number = number

    def make_array(self, name: str) -> NDArray[np.uint8]:
        if name != "main":
            raise RuntimeError(f"Stream {name!r} is not defined")
        width_px, height_px = self._main["size"]
        in_memory = (100 + self._number % 100, 40, 90)
        if self._main["format"] == "RGB888":  # libcamera's names run against memory
            in_memory = in_memory[::-1]
        padded = np.zeros((height_px, -(-width_px * 3 // 64) * 64), dtype=np.uint8)
        padded[:, : width_px * 3] = np.tile(np.array(in_memory, dtype=np.uint8), width_px)
        return np.asarray(padded[:, : width_px * 3], order="C").reshape(height_px, width_px, 3)

    def get_metadata(self) -> dict[str, Any]:
        return {
            "SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 20_000_000,
            "ExposureTime": self._asked.get("ExposureTime", 20_000) - 4,  # sensors count in lines
            "AnalogueGain": self._asked.get("AnalogueGain", 1.0),
            "ColourGains": self._asked.get("ColourGains", (2.1, 1.7)),
            "ColourTemperature": 4800,
        }

    def release(self) -> None:
        self._module.held_requests -= 1


class GenTLError(Exception):
    """Stands for what genicam raises."""


class _Node:
    def __init__(
        self,
        value: Any,  # noqa: ANN401
        *,
        symbolics: Sequence[str] = (),
        low: float = 0,
        high: float = 1e9,
        step: float = 0,
    ) -> None:
        self._value = value
        self.symbolics = tuple(symbolics)
        self._low, self._high, self._step = low, high, step

    @property
    def value(self) -> Any:  # noqa: ANN401
        return self._value

    @value.setter
    def value(self, asked: Any) -> None:  # noqa: ANN401
        if self.symbolics and asked not in self.symbolics:
            raise GenTLError(f"cannot convert value {asked!r}, the value is invalid")
        if not self.symbolics and not isinstance(asked, bool):
            if not self._low <= asked <= self._high:
                raise GenTLError(f"Value = {asked} must be between {self._low} and {self._high}")
            asked = round(asked / self._step) * self._step if self._step else asked
        self._value = asked


class _NodeMap:
    def __init__(self, nodes: Mapping[str, _Node]) -> None:
        vars(self).update(nodes)

    def has_node(self, name: str) -> bool:
        return name in vars(self)


class FakeHarvesters:
    """Stands for harvesters with one producer, that finds cameras of these ``serials``.

    ``picture(pixel_format, width_px, height_px)`` gives the samples of a frame, rows without padding; each
    row is then followed by ``padding_bytes``. Without ``newest_only`` frames wait in a queue of three, oldest
    first, and ``waiting`` tells how many a slow reader finds.
    """

    def __init__(
        self,
        *,
        picture: Callable[[str, int, int], NDArray[Any]],
        serials: Sequence[str] = ("4711",),
        formats: Sequence[str] = ("Mono8", "BayerRG8", "RGB8"),
        padding_bytes: int = 0,
        newest_only: bool = True,
    ) -> None:
        self.picture = picture
        self.serials = list(serials)
        self.padding_bytes = padding_bytes
        self.newest_only = newest_only
        self.plugged = True
        self.owned: set[str] = set()
        self.files: list[str] = []
        self.fetched = 0
        self.held_buffers = 0
        self.waiting = 0
        self.lost_packets = 0
        self.nodes = _NodeMap(
            {
                "PixelFormat": _Node(formats[0], symbolics=formats),
                "Width": _Node(64, low=16, high=4096),
                "Height": _Node(48, low=16, high=4096),
                "AcquisitionFrameRate": _Node(30.0, low=1, high=100),
                "ExposureAuto": _Node("Continuous", symbolics=("Off", "Continuous")),
                "ExposureTime": _Node(5000.0, low=20, high=1e7, step=12.5),
                "GainAuto": _Node("Continuous", symbolics=("Off", "Continuous")),
                "Gain": _Node(0.0, low=0, high=24),
                "BalanceWhiteAuto": _Node("Continuous", symbolics=("Off", "Continuous")),
                "BalanceRatioSelector": _Node("Red", symbolics=("Red", "Blue")),
                "BalanceRatio": _Node(1.0, low=0, high=16),
            }
        )

    def load(self) -> Harvesters:
        """As ``load_harvesters`` does."""
        return Harvesters(Harvester=lambda: _Harvester(self), faults=(GenTLError, ValueError, OSError))

    def unplug(self) -> None:
        """Pull the cable: the producer speaks of an error, and finds no camera."""
        self.plugged = False

    def plug_in(self) -> None:
        """Put it back."""
        self.plugged = True


class _Harvester:
    def __init__(self, module: FakeHarvesters) -> None:
        self._module = module
        self.device_info_list: list[SimpleNamespace] = []

    def add_file(self, path: str) -> None:
        self._module.files.append(path)

    def update(self) -> None:
        serials = self._module.serials if self._module.plugged else []
        self.device_info_list = [SimpleNamespace(serial_number=each) for each in serials]

    def create(self, search_key: Mapping[str, str]) -> _Acquirer:
        serial = search_key["serial_number"]
        if serial in self._module.owned:
            raise GenTLError("Requested resource is already in use. (ID: -1004)")
        self._module.owned.add(serial)
        return _Acquirer(self._module, serial)

    def reset(self) -> None:
        self.device_info_list = []


class _Acquirer:
    def __init__(self, module: FakeHarvesters, serial: str) -> None:
        self._module = module
        self._serial = serial
        self._started = False
        self.timeout_period_on_update_event_data_call = 1
        self.remote_device = SimpleNamespace(node_map=module.nodes)
        modes = ("OldestFirst", "NewestOnly")
        stream = {"StreamBufferHandlingMode": _Node(modes[0], symbolics=modes)} if module.newest_only else {}
        self.data_streams = [SimpleNamespace(node_map=_NodeMap(stream))]

    def start(self) -> None:
        self._started = True

    def try_fetch(self, *, timeout: float) -> _Buffer | None:
        if timeout <= 0:
            raise AssertionError("harvesters takes a timeout of 0 for none at all")
        module = self._module
        if not module.plugged:
            raise GenTLError("Error during I/O. (ID: -1010)")
        if not self._started or module.held_buffers >= _BUFFERS:
            return None
        if module.lost_packets:
            module.lost_packets -= 1
            return None
        if timeout < 0.05:  # noqa: PLR2004 - a look whether more is waiting already
            if not module.waiting:
                return None
            module.waiting -= 1
        module.fetched += 1
        module.held_buffers += 1
        return _Buffer(module)

    def stop(self) -> None:
        if not self._module.plugged:
            raise GenTLError("Error during I/O. (ID: -1010)")
        self._started = False

    def destroy(self) -> None:
        self._module.owned.discard(self._serial)
        self._module.held_buffers = 0


class _Buffer:
    def __init__(self, module: FakeHarvesters) -> None:
        self._module = module
        nodes: Any = module.nodes
        width_px, height_px = nodes.Width.value, nodes.Height.value
        samples = module.picture(nodes.PixelFormat.value, width_px, height_px)
        rows = samples.reshape(height_px, -1).view(np.uint8)
        padded = np.pad(rows, ((0, 0), (0, module.padding_bytes)))
        component = SimpleNamespace(
            data=padded.reshape(-1),
            data_format=nodes.PixelFormat.value,
            width=width_px,
            height=height_px,
            x_padding=module.padding_bytes,
        )
        self.payload = SimpleNamespace(components=[component])

    def queue(self) -> None:
        self._module.held_buffers -= 1
