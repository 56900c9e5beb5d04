"""What GStreamer is told to build for each kind of source: text, made here without GStreamer.

Every description leaves the pictures to an appsink that the camera adds. They come to it as RGB in some
order, or as whole JPEGs: GStreamer's own decoder fills a JPEG that is cut off with grey and says nothing, so
those are decoded where that is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from edge.camera.controls import CameraControls
from edge.camera.source_names import without_password

PictureFormat = Literal["raw", "mjpeg"]
"""How a device or a stream sends its pictures."""

SINK_NAME: Final = "leukoscope_frames"
_SINK_CAPS: Final = "image/jpeg; video/x-raw, format=(string){ RGB, BGR, RGBx, BGRx, RGBA, BGRA, GRAY8 }"

# nvarguscamerasrc balances for a kind of light, not for a temperature; these are the lights' usual ones.
_ARGUS_LIGHTS_K: Final = {2: 2850, 4: 3500, 3: 4200, 5: 5500, 6: 6500, 8: 7500}
_RTSP: Final = frozenset({"rtsp", "rtsps", "rtspt"})
_HTTP: Final = frozenset({"http", "https"})


@dataclass(frozen=True, kw_only=True)
class StreamFormat:
    """What is asked of a source; None: its own choice."""

    pictures: PictureFormat = "raw"
    width_px: int | None = None
    height_px: int | None = None
    frame_rate_hz: float | None = None

    def caps(self, media: str) -> str:
        """The filter between two elements, that lets only such pictures of the type ``media`` pass."""
        parts = [media]
        if self.width_px is not None:
            parts.append(f"width={self.width_px}")
        if self.height_px is not None:
            parts.append(f"height={self.height_px}")
        if self.frame_rate_hz is not None:
            rate = Fraction(self.frame_rate_hz).limit_denominator(1001)
            parts.append(f"framerate={rate.numerator}/{rate.denominator}")
        return ",".join(parts)


@dataclass(frozen=True, kw_only=True)
class GstSource:
    """A source as GStreamer builds it.

    ``elements`` is a description without its sink; ``name`` is for people and holds no password. ``device``
    is the V4L2 device behind it, where there is one.
    """

    name: str
    elements: str
    live: bool = True
    device: str | None = None

    @property
    def description(self) -> str:
        """The whole pipeline. Of a live source the newest picture alone waits; of a replay none is lost."""
        keep = "max-buffers=1 drop=true" if self.live else "max-buffers=2 drop=false"
        return (
            f'{self.elements} ! appsink name={SINK_NAME} caps="{_SINK_CAPS}" {keep} sync=false '
            "enable-last-sample=false"
        )


def gst_source(
    source: str,
    *,
    stream: StreamFormat,
    controls: CameraControls,
    latency_ms: int,
    timeout_s: float,
) -> GstSource:
    """What ``source`` means: ``csi:0``, ``/dev/...``, a URL (rtsp, http), ``pipeline: ...``, or a file.

    Raises ValueError where the source cannot hold ``controls``, or its text means nothing.
    """
    kind, _, rest = source.partition(":")
    scheme = urlsplit(source).scheme.lower()
    if kind == "csi":
        if not rest.isdecimal():
            raise ValueError(f"{source!r} names no sensor: write csi:0 for the first")
        return jetson_csi(sensor=int(rest), stream=stream, controls=controls)
    if source.startswith("/dev/"):
        return v4l2(device=source, stream=stream)
    if controls != CameraControls():
        raise ValueError(
            "only csi: and a device take controls; set them at the sender or in the pipeline itself"
        )
    if kind == "pipeline":
        return free_text(rest)
    if scheme in _RTSP:
        return rtsp(url=source, pictures=stream.pictures, latency_ms=latency_ms, timeout_s=timeout_s)
    if scheme in _HTTP:
        return http_mjpeg(url=source, timeout_s=timeout_s)
    return file(path=Path(source), pictures=stream.pictures)


def jetson_csi(*, sensor: int, stream: StreamFormat, controls: CameraControls) -> GstSource:
    """A camera module on a Jetson's CSI connector, by NVIDIA's Argus: debayered and converted in hardware.

    Argus holds exposure and gain between two bounds; set to one value they are fixed, and its digital gain
    with them. It knows no gains of red and blue. Raises ValueError where those are asked.
    """
    options = [f"sensor-id={sensor}"]
    if controls.exposure_us is not None:
        exposure_ns = round(controls.exposure_us * 1000)
        options.append(f'exposuretimerange="{exposure_ns} {exposure_ns}"')
    if controls.gain is not None:
        options.append(f'gainrange="{controls.gain:g} {controls.gain:g}" ispdigitalgainrange="1 1"')
    if controls.exposure_us is not None and controls.gain is not None:
        options.append("aelock=true")
    if controls.colour_gains is not None:
        raise ValueError("csi: takes no gains of red and blue; give white_balance as a temperature in kelvin")
    if controls.colour_temperature_k is not None:
        asked_k = controls.colour_temperature_k
        light = min(_ARGUS_LIGHTS_K, key=lambda each: abs(_ARGUS_LIGHTS_K[each] - asked_k))
        options.append(f"wbmode={light} awblock=true")
    nvmm = stream.caps("video/x-raw(memory:NVMM),format=NV12")
    return GstSource(
        name=f"CSI camera {sensor}",
        elements=f"nvarguscamerasrc {' '.join(options)} ! {nvmm} ! nvvidconv ! video/x-raw,format=BGRx",
    )


def v4l2(*, device: str, stream: StreamFormat) -> GstSource:
    """A UVC or another V4L2 camera; its controls are set by ``edge.camera.v4l2_controls``."""
    source = f"v4l2src device={quoted(device)}"
    if stream.pictures == "mjpeg":
        elements = f"{source} ! {stream.caps('image/jpeg')}"
    else:
        elements = f"{source} ! {stream.caps('video/x-raw')} ! videoconvert"
    return GstSource(name=device, elements=elements, device=device)


def rtsp(*, url: str, pictures: PictureFormat, latency_ms: int, timeout_s: float) -> GstSource:
    """A network camera. By TCP alone: over UDP a lost packet smears the picture, and nobody is told."""
    timeout_us = round(timeout_s * 1e6)
    source = (
        f"rtspsrc location={quoted(url)} protocols=tcp latency={latency_ms} drop-on-latency=true "
        f"timeout={timeout_us} tcp-timeout={timeout_us} ! application/x-rtp,media=video"
    )
    decode = "rtpjpegdepay ! image/jpeg" if pictures == "mjpeg" else "decodebin ! videoconvert"
    return GstSource(name=without_password(url), elements=f"{source} ! {decode}")


def http_mjpeg(*, url: str, timeout_s: float) -> GstSource:
    """A network camera that sends JPEG after JPEG (``multipart/x-mixed-replace``)."""
    return GstSource(
        name=without_password(url),
        elements=(
            f"souphttpsrc location={quoted(url)} is-live=true do-timestamp=true retries=0 "
            f"timeout={max(1, round(timeout_s))} ! multipartdemux single-stream=true ! image/jpeg"
        ),
    )


def file(*, path: Path, pictures: PictureFormat) -> GstSource:
    """A film, replayed frame by frame."""
    decode = "parsebin ! image/jpeg" if pictures == "mjpeg" else "decodebin ! videoconvert"
    return GstSource(name=str(path), elements=f"filesrc location={quoted(str(path))} ! {decode}", live=False)


def free_text(elements: str) -> GstSource:
    """What somebody wrote, without a sink; taken for live. It must end in RGB of some order, or in JPEGs."""
    written = elements.strip()
    first = written.partition("!")[0].split()
    return GstSource(name=f"pipeline of {first[0] if first else 'nothing'}", elements=written)


def quoted(value: str) -> str:
    """``value`` as one word of a description."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
