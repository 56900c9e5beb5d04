"""A JPEG that lost bytes under way is told, wherever it lost them."""

from __future__ import annotations

import importlib.util
import sys

import cv2
import numpy as np
import pytest

from edge.camera.stream_jpeg import jpeg_decoder
from edge.errors import ImageError

TRIALS = 60


def smear(*parameters: int) -> bytes:
    rng = np.random.default_rng(11)
    rows, columns = np.mgrid[0:240, 0:320]
    clean = np.stack([200 + 20 * np.sin(columns / 30), 150 + 30 * np.cos(rows / 40), 180 + 0 * rows], axis=-1)
    noisy = (clean + rng.normal(0, 6, clean.shape)).clip(0, 255).astype(np.uint8)
    done, coded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 85, *parameters])
    assert done
    return coded.tobytes()


def scan_start(jpeg: bytes) -> int:
    return jpeg.index(b"\xff\xda") + 14


def without_tables(jpeg: bytes) -> bytes:
    """As UVC cameras send them: the Huffman tables of Motion-JPEG are known to everybody, and left out."""
    kept, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if jpeg[at + 1] != 0xC4:
            kept += jpeg[at : at + 2 + length]
        at += 2 + length
    return kept + jpeg[at:]


@pytest.fixture
def strict() -> None:
    if importlib.util.find_spec("simplejpeg") is None:
        pytest.skip("simplejpeg is not installed (pip install simplejpeg)")


@pytest.mark.parametrize("without_simplejpeg", [False, True])
def test_a_whole_picture_is_rgb(without_simplejpeg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if without_simplejpeg:
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    red = np.zeros((48, 64, 3), dtype=np.uint8)
    red[..., 2] = 200  # OpenCV's order
    pixels = jpeg_decoder()(cv2.imencode(".jpg", red)[1].tobytes(), "red")
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels[..., 0].min() > 190
    assert pixels[..., 1:].max() < 10


@pytest.mark.parametrize("without_simplejpeg", [False, True])
def test_a_picture_that_is_cut_off_is_told(without_simplejpeg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if without_simplejpeg:
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    whole, decode = smear(), jpeg_decoder()
    for kept in range(4, len(whole) - 2, 997):
        with pytest.raises(ImageError, match="camera 7"):
            decode(whole[:kept], "camera 7")
    for nothing in (b"", b"no picture at all"):
        with pytest.raises(ImageError):
            decode(nothing, "camera 7")


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("restarts", [(), (cv2.IMWRITE_JPEG_RST_INTERVAL, 8)], ids=["plain", "restarts"])
@pytest.mark.parametrize("lost_bytes", [64, 512, 4096])
def test_bytes_lost_in_the_middle_are_told(lost_bytes: int, restarts: tuple[int, ...]) -> None:
    whole, decode = smear(*restarts), jpeg_decoder()
    rng = np.random.default_rng(lost_bytes)
    seen = 0
    for _ in range(TRIALS):
        at = int(rng.integers(scan_start(whole), len(whole) - lost_bytes - 2))
        try:
            decode(whole[:at] + whole[at + lost_bytes :], "camera 7")
        except ImageError:
            seen += 1
    # What is lost from restart to restart can leave a stream that is shorter, and nothing else.
    assert seen == TRIALS if not restarts else seen >= 0.95 * TRIALS


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("filler", ["zeros", "noise"])
def test_bytes_overwritten_in_the_middle_are_told(filler: str) -> None:
    whole, decode = smear(), jpeg_decoder()
    rng = np.random.default_rng(5)
    seen = 0
    for _ in range(TRIALS):
        at = int(rng.integers(scan_start(whole), len(whole) - 514))
        wrong = bytes(512) if filler == "zeros" else rng.integers(0, 256, 512, dtype=np.uint8).tobytes()
        try:
            decode(whole[:at] + wrong + whole[at + 512 :], "camera 7")
        except ImageError:
            seen += 1
    assert seen == TRIALS


@pytest.mark.parametrize("without_simplejpeg", [False, True])
def test_the_habits_of_cameras_are_no_damage(
    without_simplejpeg: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without_simplejpeg:
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    whole, decode = smear(cv2.IMWRITE_JPEG_RST_INTERVAL, 8), jpeg_decoder()
    plain = decode(whole, "camera 7")
    marker = whole.index(b"\xff\xd3", scan_start(whole))
    for habit in (
        whole + bytes(400),
        without_tables(whole),
        whole[:marker] + b"\x00\x00" + whole[marker:],
    ):
        assert np.abs(decode(habit, "camera 7").astype(int) - plain).max() <= 2
