"""Video by OpenCV: a file, a network stream, or a camera of this machine."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import cv2
from typing_extensions import Self

from edge.camera.controls import CameraControls, HeldControls
from edge.camera.device_access import check_device
from edge.camera.image_file import rgb_from_bgr
from edge.camera.source_names import is_live, is_stream, without_password
from edge.camera.v4l2_controls import fix_controls
from edge.errors import CameraError
from edge.frame import Frame, Pixels

_log = logging.getLogger(__name__)


class VideoCamera:
    """Reads frames of ``source``: a file's path, a stream's URL, a device's path or number.

    A file is a replay: every frame comes, and the end is the end. A stream or a device is live: its loss is
    a CameraError. ``width_px``, ``height_px`` and ``frame_rate_hz`` are asked of a device, which may give
    something near; the frames tell the truth. ``timeout_s`` bounds each wait for a stream, twice that its
    opening. OpenCV scales a stream whose size changes to its first size, and conceals damaged JPEGs, without
    a word: where that matters, ``edge.camera.gstreamer`` reads the same stream.
    """

    def __init__(
        self,
        *,
        source: str | int,
        controls: CameraControls | None = None,
        um_per_px: float | None = None,
        width_px: int | None = None,
        height_px: int | None = None,
        frame_rate_hz: float | None = None,
        timeout_s: float = 5.0,
        fix: Callable[[str, CameraControls], HeldControls] = fix_controls,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._controls = controls or CameraControls()
        self._fix = fix
        self._held = HeldControls()
        self._um_per_px = um_per_px
        self._wanted = {
            cv2.CAP_PROP_FRAME_WIDTH: width_px,
            cv2.CAP_PROP_FRAME_HEIGHT: height_px,
            cv2.CAP_PROP_FPS: frame_rate_hz,
        }
        self._timeout_s = timeout_s
        self._clock = clock
        self._capture: cv2.VideoCapture | None = None
        self._first: Pixels | None = None
        self._index = 0
        self.announced_frames: int | None = None
        """How many frames a file says it holds; None for a live source."""

    @property
    def name(self) -> str:
        """The source, with any password in a URL left out."""
        return f"device {self._source}" if isinstance(self._source, int) else without_password(self._source)

    @property
    def live(self) -> bool:
        """Whether the source is a stream or a device."""
        return is_live(self._source)

    def __enter__(self) -> Self:
        """Open the source and wait for its first frame. Raises CameraError."""
        if not self.live and not Path(str(self._source)).is_file():
            raise CameraError(f"The video file {self.name} does not exist.", remedy="Check the path.")
        if self._device_path is not None:
            check_device(self._device_path)
        capture = self._open()
        # Many a device opens and then gives nothing, so only a picture proves that it works.
        got, first = capture.read() if capture.isOpened() else (False, None)
        if not got or first is None:
            capture.release()
            raise CameraError(f"The camera {self.name} gives no picture.", remedy=self._remedy())
        self._capture = capture
        if self._device_path is not None:
            # Some drivers take controls only while they stream.
            try:
                self._held = self._fix(self._device_path, self._controls)
            except CameraError:
                self.__exit__(None, None, None)
                raise
        self._first = None if self.live else rgb_from_bgr(first)
        self._index = 0
        if not self.live:
            self.announced_frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the source; closing twice is harmless."""
        if self._capture is not None:
            self._capture.release()
        self._capture = self._first = None

    def read(self) -> Frame | None:
        """Wait for the next frame; None at a file's end. Raises CameraError where a live source is lost."""
        if self._capture is None:
            raise CameraError(f"The camera {self.name} is not open.", remedy="Open it before reading.")
        pixels, self._first = self._first, None
        if pixels is None:
            got, bgr = self._capture.read()
            if not got or bgr is None:
                self._tell_end()
                return None
            pixels = rgb_from_bgr(bgr)
        frame = Frame(
            pixels=pixels,
            index=self._index,
            source=self.name,
            captured_at=datetime.now(timezone.utc),
            monotonic_s=self._clock(),
            um_per_px=self._um_per_px,
            exposure_us=self._held.exposure_us,
            gain=self._held.gain,
            colour_gains=self._held.colour_gains,
            colour_temperature_k=self._held.colour_temperature_k,
        )
        self._index += 1
        return frame

    @property
    def _device_path(self) -> str | None:
        if isinstance(self._source, int):
            return f"/dev/video{self._source}"
        return self._source if self._source.startswith("/dev/") else None

    def _open(self) -> cv2.VideoCapture:
        self._require(cv2.CAP_V4L2 if self._device_path is not None else cv2.CAP_FFMPEG)
        if is_stream(self._source):
            wait_ms = int(self._timeout_s * 1000)
            # A video stream shows nothing before its next key picture.
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 2 * wait_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait_ms]
            return cv2.VideoCapture(str(self._source), cv2.CAP_FFMPEG, limits)
        if not self.live:
            return cv2.VideoCapture(str(self._source), cv2.CAP_FFMPEG)
        # A lasting name from udev is a link; OpenCV knows a device by its real path or number alone.
        device = self._source if isinstance(self._source, int) else os.path.realpath(self._source)
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        for key, value in self._wanted.items():
            if value is not None:
                capture.set(key, value)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not the oldest that still waits
        return capture

    def _require(self, back_end: int) -> None:
        registry = cv2.videoio_registry
        if registry.hasBackend(back_end):
            return
        has = {registry.getBackendName(each) for each in registry.getBackends() if registry.hasBackend(each)}
        lacks = registry.getBackendName(back_end)
        raise CameraError(
            f"This build of OpenCV lacks {lacks}, which {self.name} needs; it has "
            f"{', '.join(sorted(has)) or 'no video at all'}.",
            remedy='Install opencv-python from PyPI, or use kind = "gstreamer".',
        )

    def _tell_end(self) -> None:
        if self.live:
            raise CameraError(f"The camera {self.name} stopped giving pictures.", remedy=self._remedy())
        if self.announced_frames is not None and self._index < self.announced_frames:
            _log.warning(
                "%s ended after %d of the %d frames that it announces: it may be cut off.",
                self.name,
                self._index,
                self.announced_frames,
            )

    def _remedy(self) -> str:
        if is_stream(self._source):
            return "Check the address, the network and that the sender runs."
        if self.live:
            return "Check that it is plugged in, free of other programs, and open to this user (group video)."
        return "Check that it is a whole video file of a common format (mp4, avi, mkv)."
