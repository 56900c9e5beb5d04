"""What GStreamer is told, without GStreamer; and, where it is there, that it understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.camera.controls import CameraControls
from edge.camera.gstreamer_bindings import GStreamer
from edge.camera.gstreamer_pipelines import GstSource, StreamFormat, gst_source, quoted

PLAIN = StreamFormat()
NONE = CameraControls()


def described(source: str, *, stream: StreamFormat = PLAIN, controls: CameraControls = NONE) -> GstSource:
    return gst_source(source, stream=stream, controls=controls, latency_ms=150, timeout_s=4.0)


def test_a_jetsons_camera_is_converted_in_hardware() -> None:
    stream = StreamFormat(width_px=1920, height_px=1080, frame_rate_hz=29.97)
    source = described("csi:1", stream=stream)
    assert source.name == "CSI camera 1"
    assert source.live
    assert source.elements == (
        "nvarguscamerasrc sensor-id=1 ! "
        "video/x-raw(memory:NVMM),format=NV12,width=1920,height=1080,framerate=2997/100 ! "
        "nvvidconv ! video/x-raw,format=BGRx"
    )


def test_a_jetsons_exposure_gain_and_white_balance_are_locked() -> None:
    elements = described(
        "csi:0", controls=CameraControls(exposure_us=8000, gain=2, white_balance=5600)
    ).elements
    for option in (
        'exposuretimerange="8000000 8000000"',
        'gainrange="2 2"',
        'ispdigitalgainrange="1 1"',
        "aelock=true",
        "wbmode=5",
        "awblock=true",
    ):
        assert option in elements
    exposure_alone = described("csi:0", controls=CameraControls(exposure_us=8000)).elements
    assert "aelock" not in exposure_alone, "the gain stays automatic"


def test_a_device_sends_raw_pictures_or_jpegs() -> None:
    stream = StreamFormat(width_px=640, height_px=480, frame_rate_hz=15)
    raw = described("/dev/leukoscope-camera", stream=stream, controls=CameraControls(gain=4))
    assert raw.elements == (
        'v4l2src device="/dev/leukoscope-camera" ! video/x-raw,width=640,height=480,framerate=15/1 '
        "! videoconvert"
    )
    assert raw.device == "/dev/leukoscope-camera", "which takes the controls"
    mjpeg = described("/dev/video0", stream=StreamFormat(pictures="mjpeg"))
    assert mjpeg.elements == 'v4l2src device="/dev/video0" ! image/jpeg'


def test_rtsp_goes_by_tcp_and_is_bounded_in_time() -> None:
    elements = described("rtsp://anna:secret@host/smear").elements
    for option in ("protocols=tcp", "latency=150", "drop-on-latency=true", "tcp-timeout=4000000"):
        assert option in elements
    assert elements.endswith("decodebin ! videoconvert")
    assert described("rtsp://host/smear", stream=StreamFormat(pictures="mjpeg")).elements.endswith(
        "rtpjpegdepay ! image/jpeg"
    )


@pytest.mark.parametrize("source", ["rtsp://anna:secret@host/smear", "http://anna:secret@host/smear"])
def test_names_hold_no_password(source: str) -> None:
    assert described(source).name == source.replace("anna:secret@", "")


def test_of_what_is_live_one_picture_waits_and_of_a_film_none_is_lost() -> None:
    assert "max-buffers=1 drop=true" in described("csi:0").description
    film = described("film.avi")
    assert not film.live
    assert "drop=false" in film.description


def test_a_free_pipeline_is_taken_as_it_is_written() -> None:
    source = described("pipeline:  videotestsrc is-live=true ! videoconvert ")
    assert source.elements == "videotestsrc is-live=true ! videoconvert"
    assert source.name == "pipeline of videotestsrc", "it may hold a password"
    assert source.live


@pytest.mark.parametrize("text", ["plain", "with space", 'a"quote', "a\\backslash", "a ! b", "ünïcode"])
def test_what_is_quoted_is_one_word(text: str, gstreamer: GStreamer) -> None:
    pipeline = gstreamer.Gst.parse_launch(f"filesrc name=film location={quoted(text)} ! fakesink")
    assert pipeline.get_by_name("film").get_property("location") == text


@pytest.mark.parametrize(
    "source",
    [
        "/dev/video0",
        "rtsp://host/smear",
        "http://host/smear",
        "film.avi",
        "pipeline: videotestsrc ! videoconvert",
    ],
)
@pytest.mark.parametrize("pictures", ["raw", "mjpeg"])
def test_every_description_but_the_jetsons_is_understood_here(
    source: str, pictures: str, gstreamer: GStreamer
) -> None:
    stream = StreamFormat(pictures=pictures, width_px=640, height_px=480, frame_rate_hz=12.5)
    assert gstreamer.Gst.parse_launch(described(source, stream=stream).description) is not None


def test_a_films_path_may_hold_anything(gstreamer: GStreamer, tmp_path: Path) -> None:
    path = tmp_path / 'smear "7" \\ ! x.avi'
    assert gstreamer.Gst.parse_launch(described(str(path)).description) is not None


@pytest.mark.parametrize(
    ("source", "controls", "said"),
    [
        ("csi:", NONE, "names no sensor"),
        ("csi:front", NONE, "names no sensor"),
        ("csi:0", CameraControls(white_balance=(1.9, 1.4)), "no gains of red and blue"),
        ("rtsp://host/smear", CameraControls(gain=1), "take controls"),
        ("film.avi", CameraControls(gain=1), "take controls"),
        ("pipeline: videotestsrc", CameraControls(gain=1), "take controls"),
    ],
)
def test_what_a_source_cannot_do_is_refused(source: str, controls: CameraControls, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        described(source, controls=controls)
