"""Video by GStreamer: whatever a pipeline gives, independent of how OpenCV was built."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, Final

from typing_extensions import Self

from edge.camera.controls import CameraControls, HeldControls
from edge.camera.device_access import check_device
from edge.camera.gstreamer_bindings import GStreamer, load_gstreamer
from edge.camera.gstreamer_pipelines import SINK_NAME, GstSource
from edge.camera.gstreamer_samples import NS_PER_S, age_of, pixels_of
from edge.camera.stream_jpeg import JpegDecoder, jpeg_decoder
from edge.camera.v4l2_controls import fix_controls
from edge.errors import CameraError, ImageError
from edge.frame import Frame

_log = logging.getLogger(__name__)

# How long an error may wait on the bus while no picture comes.
_LOOK_S: Final = 0.1
# A video stream shows nothing before its next key picture.
_OPENING: Final = 2
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_USUAL_PACKAGES: Final = "gstreamer1.0-plugins-base and gstreamer1.0-plugins-good"
# Elements of other packages.
_PACKAGES: Final = {
    "nvarguscamerasrc": "nvidia-l4t-gstreamer, on a Jetson alone",
    "nvvidconv": "nvidia-l4t-gstreamer, on a Jetson alone",
    "libcamerasrc": "gstreamer1.0-libcamera",
}
# By GStreamer's domain and code of an error.
_REMEDIES: Final = {
    ("gst-core-error-quark", 12): "Install the decoder (Debian, Ubuntu: apt install gstreamer1.0-libav).",
    ("gst-stream-error-quark", 6): "Install the decoder (Debian, Ubuntu: apt install gstreamer1.0-libav).",
    ("gst-resource-error-quark", 4): "Close the other program that uses it (`fuser -v DEVICE` names it).",
    (
        "gst-resource-error-quark",
        15,
    ): "Give name and password in the address: rtsp://name:password@host/path.",
}


@dataclass(frozen=True, kw_only=True)
class _Running:
    gst: GStreamer
    pipeline: Any
    sink: Any
    decode: JpegDecoder

    def stop(self) -> None:
        self.pipeline.set_state(self.gst.Gst.State.NULL)


class GStreamerCamera:
    """Reads frames of a pipeline.

    Of a live source only the newest picture waits, and its loss, or ``timeout_s`` without a picture (twice
    that for the first), is a CameraError; a file gives every frame, and its end is the end. A picture that is
    damaged (a JPEG that lost bytes) is never given: it is counted in ``damaged`` and the next one taken. The
    size may change from frame to frame. A live frame's time is the time of its capture where the source
    stamps its pictures.
    """

    def __init__(
        self,
        *,
        source: GstSource,
        controls: CameraControls | None = None,
        um_per_px: float | None = None,
        timeout_s: float = 5.0,
        load: Callable[[], GStreamer] = load_gstreamer,
        fix: Callable[[str, CameraControls], HeldControls] = fix_controls,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._controls = controls or CameraControls()
        self._um_per_px = um_per_px
        self._timeout_s = timeout_s
        self._load = load
        self._fix = fix
        self._clock = clock
        self._running: _Running | None = None
        self._failure: CameraError | None = None
        self._first: Frame | None = None
        self._held = HeldControls()
        self._index = 0
        self._latest_s: float | None = None
        self._damaged_before = False
        self.damaged = 0
        """How many pictures could not be decoded since the camera was opened."""

    @property
    def name(self) -> str:
        """The source, without any password."""
        return self._source.name

    @property
    def live(self) -> bool:
        """Whether the source is anything but a file."""
        return self._source.live

    def __enter__(self) -> Self:
        """Build the pipeline and wait for its first picture. Raises CameraError."""
        if self._source.device is not None:
            check_device(self._source.device)
        gst = self._load()
        pipeline = self._built(gst)
        running = _Running(
            gst=gst, pipeline=pipeline, sink=pipeline.get_by_name(SINK_NAME), decode=jpeg_decoder()
        )
        self._running, self._failure, self._latest_s, self.damaged = running, None, None, 0
        try:
            pipeline.set_state(gst.Gst.State.PLAYING)
            # A pipeline starts before anybody knows whether its source gives anything.
            first = self._wait(running, limit_s=_OPENING * self._timeout_s)
            if first is None:
                raise CameraError(f"The camera {self.name} gives no picture.", remedy=self._remedy())
            if self._source.device is not None:
                # Some drivers take controls only while they stream.
                self._held = self._fix(self._source.device, self._controls)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        # A live camera's first picture may be from before its controls were set.
        self._first = None if self.live else first
        self._index = 0 if self.live else 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the pipeline; closing twice is harmless."""
        running, self._running, self._first = self._running, None, None
        if running is not None:
            running.stop()

    def read(self) -> Frame | None:
        """Wait for the next frame; None at a file's end. Raises CameraError where the source is lost."""
        if self._running is None:
            raise CameraError(f"The camera {self.name} is not open.", remedy="Open it before reading.")
        frame, self._first = self._first, None
        frame = frame or self._wait(self._running, limit_s=self._timeout_s)
        if frame is None and self.live:
            raise CameraError(f"The camera {self.name} stopped giving pictures.", remedy=self._remedy())
        return frame

    def _built(self, gst: GStreamer) -> Any:  # noqa: ANN401
        try:
            return gst.Gst.parse_launch(self._source.description)
        except gst.GLib.Error as error:
            missing = re.search(r'no element "([^"]*)"', error.message)
            if missing is None:
                raise CameraError(
                    f"{self.name} is not a pipeline: {_shown(error.message)}.",
                    remedy="Try it with gst-launch-1.0; it ends in RGB (videoconvert) or in JPEGs.",
                ) from error
            element = missing[1]
            raise CameraError(
                f"GStreamer lacks the element {element} that {self.name} needs.",
                remedy=f"Install its package ({_PACKAGES.get(element, _USUAL_PACKAGES)}); "
                f"`gst-inspect-1.0 {element}` tells whether it is there.",
            ) from error

    def _wait(self, running: _Running, *, limit_s: float) -> Frame | None:
        """The next whole picture; None at the end of the stream."""
        deadline_s = self._clock() + limit_s
        while True:
            left_s = deadline_s - self._clock()
            sample = running.sink.try_pull_sample(max(0, round(min(_LOOK_S, left_s) * NS_PER_S)))
            self._hear_bus(running)
            if sample is not None:
                frame = self._frame(sample, running)
                if frame is not None:
                    return frame
            elif self._failure is not None:
                raise self._failure
            elif running.sink.is_eos():
                return None
            if left_s <= 0:
                raise CameraError(
                    f"The camera {self.name} gave no picture for {limit_s:g} s.",
                    remedy=self._remedy(),
                )

    def _hear_bus(self, running: _Running) -> None:
        # All that is said is taken off, or the bus would grow; the first error is the cause, the rest follow.
        kinds = running.gst.Gst.MessageType
        bus = running.pipeline.get_bus()
        while (said := bus.pop_filtered(kinds.ERROR | kinds.WARNING)) is not None:
            if said.type == kinds.WARNING:
                fault, _ = said.parse_warning()
                _log.warning("%s: %s", self.name, _shown(fault.message))
            elif self._failure is None:
                fault, detail = said.parse_error()
                happened = "cannot be opened" if self._latest_s is None else "is lost"
                self._failure = CameraError(
                    f"The camera {self.name} {happened}: {_shown(fault.message).rstrip('.')}.",
                    remedy=_REMEDIES.get((fault.domain, fault.code)) or self._remedy(detail or ""),
                )

    def _frame(self, sample: Any, running: _Running) -> Frame | None:  # noqa: ANN401
        try:
            pixels = pixels_of(sample, gst=running.gst, name=self.name, decode=running.decode)
        except (ImageError, ValueError) as error:
            # One word for a row of them: a loose cable damages every picture.
            if not self._damaged_before:
                _log.warning("A damaged picture is skipped: %s", error.args[0])
            self.damaged, self._damaged_before = self.damaged + 1, True
            return None
        self._damaged_before = False
        age_s = age_of(sample, gst=running.gst, pipeline=running.pipeline) if self.live else 0.0
        if not 0.0 <= age_s <= self._timeout_s:
            age_s = 0.0  # a source that stamps by a clock of its own tells nothing here
        taken_s = self._clock() - age_s
        self._latest_s = taken_s if self._latest_s is None else max(self._latest_s, taken_s)
        frame = Frame(
            pixels=pixels,
            index=self._index,
            source=self.name,
            captured_at=datetime.now(timezone.utc) - timedelta(seconds=age_s),
            monotonic_s=self._latest_s,
            um_per_px=self._um_per_px,
            exposure_us=self._held.exposure_us,
            gain=self._held.gain,
            colour_gains=self._held.colour_gains,
            colour_temperature_k=self._held.colour_temperature_k,
        )
        self._index += 1
        return frame

    def _remedy(self, detail: str = "") -> str:
        if "Permission denied" in detail:
            return "Let this user open it: `usermod -aG video USER`, then log in anew."
        if not self.live:
            return "Check the path, and that it is a whole video file of a common format."
        if "://" in self.name:
            return "Check the address, the network and that the sender runs."
        return "Check that it is plugged in, free of other programs, and open to this user (group video)."


def _shown(text: str) -> str:
    return _CREDENTIALS.sub("", text)
