"""Files, and a stream over a real socket that vanishes and returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.reconnecting import Backoff, CameraState, Reconnecting
from edge.camera.video import VideoCamera, is_live, without_password
from edge.errors import CameraError

FRAMES = 12


def picture(number: int) -> np.ndarray:
    """RGB, reddish, its brightness rising with ``number``."""
    rgb = np.zeros((96, 128, 3), dtype=np.uint8)
    rgb[..., 0] = 100 + 10 * number
    rgb[..., 1] = 40
    rgb[24:72, 32:96, 2] = 90
    return rgb


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "smear.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(cv2.cvtColor(picture(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


class Stream:
    """A network camera on the loopback; ``kill`` cuts its connections and its port.

    ``stalls_after`` frames it falls silent, its connections open.
    """

    def __init__(self, *, port: int = 0, stalls_after: int | None = None) -> None:
        self._cut = threading.Event()
        self._stalls_after = stalls_after
        handler = type("Handler", (_Mjpeg,), {"stream": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/smear.mjpg"

    def is_over(self, sent: int) -> bool:
        """Whether the sender is cut; a stalled one waits for that in silence."""
        stalled = self._stalls_after is not None and sent >= self._stalls_after
        return self._cut.wait(None if stalled else 0.01)

    def kill(self) -> None:
        self._cut.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Mjpeg(BaseHTTPRequestHandler):
    stream: Stream

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        number = 0
        try:
            while not self.stream.is_over(number):
                done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture(number % 10), cv2.COLOR_RGB2BGR))
                assert done
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {jpeg.size}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg.tobytes() + b"\r\n")
                number += 1
        except (BrokenPipeError, ConnectionResetError):
            return

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        del code, size  # a quiet server


@pytest.fixture
def stream() -> Iterator[Stream]:
    served = Stream()
    yield served
    served.kill()


def test_a_file_is_a_camera(film: Path, camera_contract: Callable[..., None]) -> None:
    camera_contract(lambda: VideoCamera(source=str(film)))


def test_a_stream_is_a_camera(stream: Stream, camera_contract: Callable[..., None]) -> None:
    camera_contract(lambda: VideoCamera(source=stream.url, timeout_s=5))


def test_a_file_gives_every_frame_once_and_ends(film: Path) -> None:
    with VideoCamera(source=str(film), um_per_px=0.1) as camera:
        assert not camera.live
        assert camera.announced_frames == FRAMES
        frames = []
        while (frame := camera.read()) is not None:
            frames.append(frame)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    reds = [float(frame.pixels[..., 0].mean()) for frame in frames]
    assert reds == sorted(reds)
    assert reds[0] > 90, "RGB, not BGR"
    assert frames[0].um_per_px == 0.1


def test_a_cut_file_gives_what_is_readable_and_says_so(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = tmp_path / "cut.avi"
    content = film.read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])
    with VideoCamera(source=str(cut)) as camera:
        count = 0
        while camera.read() is not None:
            count += 1
    assert 0 < count < FRAMES
    assert "may be cut off" in caplog.text


@pytest.mark.parametrize("content", [b"", b"no film"])
def test_what_is_no_film_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "smear.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=r"smear\.mp4") as fault, VideoCamera(source=str(path)):
        pass
    assert "whole video file" in fault.value.remedy


@pytest.mark.parametrize("source", ["gone.mp4", "/dev/leukoscope-gone", 63])
def test_what_is_not_there_is_told(source: str | int) -> None:
    with pytest.raises(CameraError, match=r"gone|63") as fault, VideoCamera(source=source):
        pass
    assert fault.value.remedy


def test_a_stream_that_vanishes_and_returns_goes_on() -> None:
    first = Stream()
    port = first.port
    states: list[CameraState] = []
    back: list[Stream] = []

    def wait(_: float) -> bool:
        # Waiting is when the world changes: the second time, the sender is back.
        if len(states) and states[-1] == "lost" and len(attempts) == 1:
            back.append(Stream(port=port))
        attempts.append(None)
        return False

    attempts: list[None] = []
    camera = Reconnecting(
        make=lambda: VideoCamera(source=first.url, timeout_s=5),
        backoff=Backoff(first_s=0.01, cap_s=0.01),
        wait=wait,
        on_state=lambda state, _: states.append(state),
    )
    try:
        with camera:
            before = [camera.read() for _ in range(3)]
            first.kill()
            after = [camera.read()]
            while camera.losses == 0:  # frames that were under way when the sender died
                after.append(camera.read())
    finally:
        for sender in back:
            sender.kill()
    indices = [frame.index for frame in (*before, *after) if frame is not None]
    assert indices == list(range(len(before) + len(after)))
    assert states == ["streaming", "lost", "streaming"]
    assert len(attempts) == 2, "the first attempt met a closed port"


def test_a_stream_that_falls_silent_is_lost() -> None:
    sender = Stream(stalls_after=40)
    try:
        with VideoCamera(source=sender.url, timeout_s=0.5) as camera:
            # The first picture proves the opening, and has gone stale by now.
            read = [camera.read() for _ in range(39)]
            with pytest.raises(CameraError, match="stopped"):
                camera.read()
        assert None not in read
    finally:
        sender.kill()


def test_passwords_are_never_shown() -> None:
    camera = VideoCamera(source="rtsp://admin:secret@127.0.0.1:1/live?channel=1", timeout_s=1)
    assert camera.name == "rtsp://127.0.0.1:1/live?channel=1"
    with pytest.raises(CameraError) as fault, camera:
        pass
    assert "secret" not in str(fault.value)
    assert without_password("smear@home.avi") == "smear@home.avi"


@pytest.mark.parametrize(
    ("source", "live"),
    [
        ("smear.mp4", False),
        ("C:/smear.avi", False),
        (0, True),
        ("/dev/video0", True),
        ("rtsp://host/a", True),
    ],
)
def test_a_file_waits_and_a_stream_does_not(source: str | int, live: bool) -> None:
    assert is_live(source) is live
