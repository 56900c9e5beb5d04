"""Starts and kills the RTSP camera of ``rtsp_server.py``."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

_PATTERN = "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=30/1"
MJPEG = f"( {_PATTERN} ! jpegenc ! rtpjpegpay name=pay0 )"
VP8 = f"( {_PATTERN} ! vp8enc deadline=1 keyframe-max-dist=5 ! rtpvp8pay name=pay0 )"


_TONE = "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay1"
WITH_SOUND = f"( {_PATTERN} ! jpegenc ! rtpjpegpay name=pay0 {_TONE} )"


class RtspCamera:
    """A camera on the loopback; it comes back on the port that it had."""

    def __init__(self, launch: str = MJPEG, *, login: tuple[str, str] | None = None) -> None:
        self._launch = launch
        self._login = login
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/smear"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("rtsp_server.py")),
                str(self.port),
                self._launch,
                *(self._login or ()),
            ],
            cwd=REPOSITORY,
            env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, "the RTSP server did not start"
        self.port = int(said)

    def freeze(self) -> None:
        """Leave its connections open, and say nothing more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
