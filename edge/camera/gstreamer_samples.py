"""What a sample of an appsink holds: the picture as RGB, and how long ago it was taken."""

from __future__ import annotations

from typing import Any, Final

from edge.camera.gstreamer_bindings import GStreamer
from edge.camera.raw_pixels import BGR, BGRX, GREY, RGB, RGBX, Layout, rgb_from_raw
from edge.camera.stream_jpeg import JpegDecoder
from edge.frame import Pixels

_LAYOUTS: Final[dict[str, Layout]] = {
    "RGB": RGB,
    "BGR": BGR,
    "RGBx": RGBX,
    "BGRx": BGRX,
    "RGBA": RGBX,
    "BGRA": BGRX,
    "GRAY8": GREY,
}
NS_PER_S: Final = 1_000_000_000


def pixels_of(
    sample: Any,  # noqa: ANN401
    *,
    gst: GStreamer,
    name: str,
    decode: JpegDecoder,
) -> Pixels:
    """The picture in ``sample``, whatever its size and the padding of its rows; JPEGs by ``decode``.

    Raises ImageError or ValueError where the buffer holds no whole picture; ``name`` is for the message.
    """
    buffer, caps = sample.get_buffer(), sample.get_caps()
    mapped, content = buffer.map(gst.Gst.MapFlags.READ)
    if not mapped:
        raise ValueError(f"the memory of a picture of {name} cannot be read")
    try:
        if caps.get_structure(0).get_name() == "image/jpeg":
            return decode(bytes(content.data), name)
        # Caps come with every picture, so a size that changes in mid-stream is nothing special.
        info = gst.GstVideo.VideoInfo.new_from_caps(caps)
        meta = gst.GstVideo.buffer_get_video_meta(buffer)
        return rgb_from_raw(
            content.data,
            layout=_LAYOUTS[info.finfo.name],
            width_px=info.width,
            height_px=info.height,
            stride_bytes=info.stride[0] if meta is None else meta.stride[0],
            offset_bytes=info.offset[0] if meta is None else meta.offset[0],
        )
    finally:
        buffer.unmap(content)


def age_of(sample: Any, *, gst: GStreamer, pipeline: Any) -> float:  # noqa: ANN401
    """Seconds since the picture was taken, by the clock of ``pipeline``; 0 where nothing tells.

    A stamp is a running time: the clock's time less the time at which the pipeline began (GStreamer's
    "Clocks and synchronization").
    """
    stamp, clock = sample.get_buffer().pts, pipeline.get_clock()
    if stamp == gst.Gst.CLOCK_TIME_NONE or clock is None:
        return 0.0
    running = sample.get_segment().to_running_time(gst.Gst.Format.TIME, stamp)
    if running == gst.Gst.CLOCK_TIME_NONE:
        return 0.0
    return float(clock.get_time() - pipeline.get_base_time() - running) / NS_PER_S
