"""What reading a frame costs: one film by OpenCV, by GStreamer's decoder, and by whole JPEGs, in turn.

    python benchmarks/camera.py

The film is a generated smear, 1920 x 1080, JPEG after JPEG. Each reader takes all of it in each round, one
after the other; the ratio is to OpenCV's processor time in the same round. Processor time is that of all
threads.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge.camera.controls import CameraControls
from edge.camera.gstreamer import GStreamerCamera
from edge.camera.gstreamer_pipelines import PictureFormat, StreamFormat, gst_source
from edge.camera.protocol import Camera
from edge.camera.video import VideoCamera
from edge.camera.virtual_slide import draw_field

WIDTH_PX, HEIGHT_PX = 1920, 1080
FRAMES, ROUNDS = 40, 5
LIVE_FRAMES = 120


def write_film(path: Path) -> None:
    pixels, _ = draw_field(seed=1, width_px=WIDTH_PX, height_px=HEIGHT_PX, um_per_px=0.08)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH_PX, HEIGHT_PX))
    for number in range(FRAMES):
        writer.write(cv2.cvtColor(np.roll(pixels, 16 * number, axis=1), cv2.COLOR_RGB2BGR))
    writer.release()


def by_gstreamer(source: str, pictures: PictureFormat = "raw") -> GStreamerCamera:
    stream = StreamFormat(pictures=pictures)
    return GStreamerCamera(
        source=gst_source(source, stream=stream, controls=CameraControls(), latency_ms=0, timeout_s=10)
    )


def read_all(make: Callable[[], Camera]) -> tuple[float, float]:
    """Milliseconds of processor and of wall clock for a frame of the whole film."""
    with make() as camera:
        camera.read()
        processor_s, wall_s = time.process_time(), time.perf_counter()
        count = 0
        while camera.read() is not None:
            count += 1
    processor_s, wall_s = time.process_time() - processor_s, time.perf_counter() - wall_s
    return 1000 * processor_s / count, 1000 * wall_s / count


def live_ages_ms() -> list[float]:
    """How old a live picture of a test pattern is when ``read`` gives it."""
    caps = f"video/x-raw,format=BGRx,width={WIDTH_PX},height={HEIGHT_PX},framerate=30/1"
    with by_gstreamer(f"pipeline: videotestsrc is-live=true pattern=ball ! {caps}") as camera:
        ages_ms = []
        for _ in range(LIVE_FRAMES):
            frame = camera.read()
            assert frame is not None  # noqa: S101
            ages_ms.append(1000 * (time.monotonic() - frame.monotonic_s))
    return ages_ms


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "smear.avi"
        write_film(film)
        readers: dict[str, Callable[[], Camera]] = {
            "OpenCV (kind video)": lambda: VideoCamera(source=str(film)),
            "GStreamer, its own decoder": lambda: by_gstreamer(str(film)),
            "GStreamer, whole JPEGs, checked": lambda: by_gstreamer(str(film), "mjpeg"),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
        for _ in range(ROUNDS):
            for name, make in readers.items():
                taken[name].append(read_all(make))
    first = [processor_ms for processor_ms, _ in taken["OpenCV (kind video)"]]
    print(f"| a film of {WIDTH_PX} x {HEIGHT_PX}, MJPEG | processor ms a frame | wall ms a frame | ratio |")
    print("|---|---|---|---|")
    for name, rounds in taken.items():
        processor_ms, wall_ms = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(each / base for (each, _), base in zip(rounds, first, strict=True))
        print(f"| {name} | {processor_ms:.1f} | {wall_ms:.1f} | {ratio:.2f} |")
    ages_ms = live_ages_ms()
    median_ms, late_ms = statistics.median(ages_ms), np.percentile(ages_ms, 99)
    print(f"\nA live picture of {WIDTH_PX} x {HEIGHT_PX} is {median_ms:.1f} ms old when it is given")
    print(f"(99th percentile {late_ms:.1f} ms).")


if __name__ == "__main__":
    main()
