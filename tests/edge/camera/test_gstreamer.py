"""GStreamer for real: test pictures, films, a stream over HTTP, a camera over RTSP in a process that dies."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.camera.controls import CameraControls, HeldControls
from edge.camera.gstreamer import GStreamerCamera
from edge.camera.gstreamer_bindings import GStreamer, load_gstreamer
from edge.camera.gstreamer_pipelines import GstSource, PictureFormat, StreamFormat, gst_source
from edge.errors import CameraError
from tests.edge.camera import contract
from tests.edge.camera.conftest import FILM_FRAMES
from tests.edge.camera.mjpeg_sender import Stream, endless, jpeg, picture
from tests.edge.camera.rtsp_sender import MJPEG, VP8, WITH_SOUND, RtspCamera

pytestmark = pytest.mark.usefixtures("gstreamer")


def source(text: str, *, pictures: PictureFormat = "raw") -> GstSource:
    return gst_source(
        text, stream=StreamFormat(pictures=pictures), controls=CameraControls(), latency_ms=50, timeout_s=5
    )


def camera(text: str, *, pictures: PictureFormat = "raw", timeout_s: float = 5) -> GStreamerCamera:
    return GStreamerCamera(source=source(text, pictures=pictures), timeout_s=timeout_s)


def pattern(caps: str, *, options: str = "") -> str:
    return f"pipeline: videotestsrc is-live=true {options} ! video/x-raw,framerate=60/1,{caps}"


@pytest.fixture
def damaged_film(film: Path, tmp_path: Path) -> Path:
    """The film with the second half of its third picture lost."""
    content = bytearray(film.read_bytes())
    at = -1
    for _ in range(3):
        at = content.index(b"00dc", at + 1)
    size = int.from_bytes(content[at + 4 : at + 8], "little")
    content[at + 8 + size // 2 : at + 8 + size] = bytes(size - size // 2)
    path = tmp_path / "damaged.avi"
    path.write_bytes(content)
    return path


@pytest.fixture(params=[MJPEG, VP8], ids=["mjpeg", "vp8"])
def rtsp(request: pytest.FixtureRequest) -> Iterator[tuple[RtspCamera, PictureFormat]]:
    server = RtspCamera(request.param)
    yield server, "mjpeg" if request.param == MJPEG else "raw"
    server.kill()


def test_a_test_picture_is_a_camera() -> None:
    contract.holds(lambda: camera(pattern("format=RGB,width=64,height=48")))


@pytest.mark.parametrize("pictures", ["raw", "mjpeg"])
def test_a_film_is_a_camera(film: Path, pictures: PictureFormat) -> None:
    contract.holds(lambda: camera(str(film), pictures=pictures))


def test_a_stream_is_a_camera(stream: Stream) -> None:
    contract.holds(lambda: camera(stream.url))


def test_an_rtsp_camera_is_a_camera(rtsp: tuple[RtspCamera, PictureFormat]) -> None:
    server, pictures = rtsp
    contract.holds(lambda: camera(server.url, pictures=pictures))


def test_an_rtsp_camera_that_dies_in_mid_stream_comes_back(rtsp: tuple[RtspCamera, PictureFormat]) -> None:
    server, pictures = rtsp
    contract.comes_back(
        lambda: camera(server.url, pictures=pictures), unplug=server.kill, plug_in=server.start
    )


def test_an_rtsp_camera_that_freezes_is_lost_in_time_let_go_and_found_again() -> None:
    server = RtspCamera()
    try:
        with camera(server.url, pictures="mjpeg", timeout_s=1) as subject:
            assert subject.read() is not None
            server.freeze()
            _, fault = contract.until_lost(subject)
            lost_s = time.monotonic()
        assert "no picture for 1 s" in fault.fault
        assert time.monotonic() - lost_s < 5, "its connection is not waited for"
        contract.tells_that_it_is_absent(camera(server.url, pictures="mjpeg", timeout_s=1))
        server.thaw()
        with camera(server.url, pictures="mjpeg") as again:
            assert again.read() is not None
    finally:
        server.kill()


def test_an_rtsp_cameras_sound_is_left_alone() -> None:
    server = RtspCamera(WITH_SOUND)
    try:
        for pictures in ("raw", "mjpeg"):
            with camera(server.url, pictures=pictures) as subject:
                assert [subject.read() is not None for _ in range(30)] == [True] * 30
    finally:
        server.kill()


def test_an_rtsp_camera_that_wants_a_password_is_told_it_and_tells_nobody() -> None:
    server = RtspCamera(login=("anna", "secret"))
    try:
        refused = contract.tells_that_it_is_absent(camera(server.url))
        assert "rtsp://name:password@host" in refused.remedy
        with camera(server.url.replace("//", "//anna:secret@"), pictures="mjpeg") as subject:
            frame = subject.read()
        assert frame is not None
        assert frame.source == subject.name == server.url
    finally:
        server.kill()


def test_a_missing_decoder_is_told(gstreamer: GStreamer) -> None:
    decoder = gstreamer.Gst.Registry.get().lookup_feature("vp8dec")
    rank = decoder.get_rank()
    server = RtspCamera(VP8)
    decoder.set_rank(0)  # as good as not there
    try:
        fault = contract.tells_that_it_is_absent(camera(server.url))
        assert "missing a plug-in" in fault.fault
        assert "gstreamer1.0-libav" in fault.remedy
    finally:
        decoder.set_rank(rank)
        server.kill()


def test_opening_and_closing_leaves_neither_files_nor_threads() -> None:
    def open_things() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))

    def open_once() -> tuple[int, int]:
        with camera(pattern("format=RGB,width=64,height=48")) as subject:
            subject.read()
        return open_things()

    files, threads = zip(*(open_once() for _ in range(5)), strict=True)
    files_after, threads_after = [open_once() for _ in range(20)][-1]
    assert files_after <= max(files)
    assert threads_after <= max(threads)


def test_a_stream_that_vanishes_comes_back(stream: Stream) -> None:
    contract.comes_back(lambda: camera(stream.url), unplug=stream.kill, plug_in=stream.start)


@pytest.mark.parametrize("layout", ["RGB", "BGR", "RGBx", "BGRx", "RGBA", "BGRA"])
def test_rows_with_padding_and_any_order_become_rgb(layout: str) -> None:
    # 127 pixels are 381 bytes, which GStreamer pads to 384.
    with camera(pattern(f"format={layout},width=127,height=95", options="pattern=red")) as subject:
        frame = subject.read()
    assert frame is not None
    assert frame.pixels.shape == (95, 127, 3)
    assert (frame.pixels == (255, 0, 0)).all()


def test_grey_pictures_become_rgb() -> None:
    with camera(pattern("format=GRAY8,width=127,height=95", options="pattern=white")) as subject:
        frame = subject.read()
    assert frame is not None
    assert frame.pixels.shape == (95, 127, 3)
    assert frame.pixels.min() > 200


@pytest.mark.parametrize("pictures", ["raw", "mjpeg"])
def test_a_film_gives_every_frame_once_and_ends(film: Path, pictures: PictureFormat) -> None:
    with camera(str(film), pictures=pictures) as subject:
        assert not subject.live
        frames = []
        while (frame := subject.read()) is not None:
            frames.append(frame)
        assert subject.read() is None, "the end stays the end"
    assert [frame.index for frame in frames] == list(range(FILM_FRAMES))
    reds = [float(frame.pixels[..., 0].mean()) for frame in frames]
    assert reds == sorted(reds)
    assert reds[0] > 90, "RGB, not BGR"


def over(subject: GStreamerCamera) -> float:
    """Wait until the source has given its last picture; when that was."""
    ended, times_s = threading.Event(), []
    running = subject._running
    gst = running.gst.Gst

    def seen(_pad: object, info: Any) -> Any:
        if info.get_event().type == gst.EventType.EOS:
            times_s.append(time.monotonic())
            ended.set()
        return gst.PadProbeReturn.OK

    pad = running.pipeline.get_by_name("pictures").get_static_pad("src")
    pad.add_probe(gst.PadProbeType.EVENT_DOWNSTREAM, seen)
    assert ended.wait(10)
    return times_s[0]


def test_of_a_live_source_the_newest_picture_alone_waits() -> None:
    with camera(pattern("format=RGB,width=32,height=32", options="name=pictures num-buffers=30")) as subject:
        over(subject)
        assert subject.read() is not None
        with pytest.raises(CameraError, match="stopped giving pictures"):
            subject.read()


def test_a_live_frames_time_is_the_time_of_its_capture() -> None:
    began_s = time.monotonic()
    with camera(pattern("format=RGB,width=32,height=32", options="name=pictures num-buffers=30")) as subject:
        over_s = over(subject)
        frame = subject.read()
    assert frame is not None
    assert began_s < frame.monotonic_s < over_s, "taken before the source ended, though it is read after"
    late_s = (datetime.now(timezone.utc) - frame.captured_at).total_seconds()
    assert late_s >= time.monotonic() - frame.monotonic_s - 0.01


def test_a_damaged_picture_of_a_film_is_never_given(
    damaged_film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with camera(str(damaged_film), pictures="mjpeg") as subject:
        count = 0
        while subject.read() is not None:
            count += 1
        assert count == FILM_FRAMES - 1
        assert subject.damaged == 1
    assert "A damaged picture is skipped" in caplog.text


def test_a_damaged_picture_of_a_stream_is_never_given() -> None:
    noise = np.random.default_rng(3).integers(0, 60, (96, 128, 3), dtype=np.uint8)
    whole = jpeg(picture(5) + noise)
    cut = whole[: len(whole) // 2]
    sender = Stream(pictures=lambda: iter([whole, whole, cut, whole, b"no picture at all", whole] * 4))
    try:
        with camera(sender.url, timeout_s=0.5) as subject:
            frames, fault = contract.until_lost(subject)
            assert "no picture for" in fault.fault
            assert subject.damaged > 0
        assert frames
        assert min(frame.pixels[-1, :, 0].min() for frame in frames) > 90, "whole to its last row"
    finally:
        sender.kill()


def test_a_stream_that_is_cut_in_mid_frame_is_lost_and_no_half_picture_is_given() -> None:
    sender = Stream(torn=lambda number: number == 5)
    try:
        with camera(sender.url) as subject:
            frames, _ = contract.until_lost(subject)
        assert all(frame.pixels[-1, :, 0].min() > 80 for frame in frames)
    finally:
        sender.kill()


def test_a_size_that_changes_in_mid_stream_changes_the_frames() -> None:
    small, large = jpeg(picture(1)), jpeg(picture(2, width_px=160, height_px=120))
    sender = Stream(pictures=lambda: iter([small] * 20 + [large] * 40))
    try:
        with camera(sender.url, timeout_s=0.5) as subject:
            frames, _ = contract.until_lost(subject)
        shapes = [(frame.height_px, frame.width_px) for frame in frames]
        assert list(dict.fromkeys(shapes)) == [(96, 128), (120, 160)]
    finally:
        sender.kill()


def test_a_raw_size_that_changes_in_mid_stream_changes_the_frames() -> None:
    with camera(
        f"{pattern('width=64,height=48')} ! videoconvert ! videoscale name=scale ! capsfilter name=size"
    ) as it:
        assert it.read() is not None
        running = it._running
        caps = running.gst.Gst.Caps.from_string("video/x-raw,width=127,height=95")
        running.pipeline.get_by_name("size").set_property("caps", caps)
        shapes = {it.read().pixels.shape for _ in range(60)}
    assert (95, 127, 3) in shapes


def test_a_source_that_falls_silent_is_lost_after_its_time() -> None:
    sender = Stream(pictures=lambda: itertools.islice(endless(), 10))
    try:
        with camera(sender.url, timeout_s=0.3) as subject:
            _, fault = contract.until_lost(subject)
        assert "no picture for 0.3 s" in fault.fault
        assert "sender" in fault.remedy
    finally:
        sender.kill()


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("/dev/leukoscope-gone", "leukoscope-gone is not there", "udev"),
        ("rtsp://anna:secret@127.0.0.1:9/smear", "rtsp://127.0.0.1:9/smear cannot be opened", "network"),
        ("http://anna:secret@127.0.0.1:9/smear", "http://127.0.0.1:9/smear cannot be opened", "network"),
        ("gone.avi", r"gone\.avi cannot be opened", "path"),
        (__file__, "cannot be opened", "whole video file"),
        (
            "pipeline: nosuchthing ! videoconvert",
            "lacks the element nosuchthing",
            "gst-inspect-1.0 nosuchthing",
        ),
        ("pipeline: videotestsrc ! video/x-raw,format=I420", "could not link", "videoconvert"),
        ("pipeline: videotestsrc num-buffers=0 ! videoconvert", "gives no picture", "plugged in"),
    ],
)
def test_what_is_absent_is_told_with_its_remedy(text: str, said: str, remedy: str) -> None:
    fault = contract.tells_that_it_is_absent(camera(text))
    with pytest.raises(CameraError, match=said):
        raise fault
    assert remedy in fault.remedy
    assert "secret" not in str(fault)


def test_the_bus_does_not_grow(gstreamer: GStreamer) -> None:
    with camera(pattern("format=RGB,width=32,height=32")) as subject:
        for _ in range(20):
            subject.read()
        subject.read()
        assert not subject._running.pipeline.get_bus().have_pending()


def test_missing_bindings_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(CameraError, match="not installed") as fault:
        load_gstreamer(system_packages=tmp_path)
    assert "python3-gi" in fault.value.remedy


def test_bindings_for_another_python_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gi").mkdir()
    (tmp_path / "gi" / "__init__.py").write_text("")
    (tmp_path / "gi" / "_gi.cpython-27-x86_64-linux-gnu.so").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(CameraError, match="are not for Python") as fault:
        load_gstreamer(system_packages=tmp_path)
    assert "python3" in fault.value.remedy


def test_controls_are_set_once_it_streams_and_told_by_its_frames(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    asked: list[tuple[str, CameraControls]] = []

    def fix(path: str, controls: CameraControls) -> HeldControls:
        asked.append((path, controls))
        return HeldControls(exposure_us=7900.0, gain=4.0)

    elements = source(pattern("format=RGB,width=32,height=32")).elements
    controls = CameraControls(exposure_us=8000)
    with GStreamerCamera(
        source=GstSource(name="scope", elements=elements, device=str(device)), controls=controls, fix=fix
    ) as subject:
        frame = subject.read()
    assert frame is not None
    assert asked == [(str(device), controls)]
    assert (frame.exposure_us, frame.gain) == (7900.0, 4.0), "what the driver holds, not what was asked"


def test_libraries_that_are_loaded_later_can_still_raise() -> None:
    """GStreamer brings libunwind, through which onnxruntime's exceptions would end the process."""
    look = (
        "import cv2\n"
        "from edge.camera.gstreamer_bindings import load_gstreamer\n"
        "load_gstreamer()\n"
        "import onnxruntime\n"
        "try:\n"
        "    onnxruntime.InferenceSession(b'no network', providers=['CPUExecutionProvider'])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "InvalidProtobuf"), done.stderr
