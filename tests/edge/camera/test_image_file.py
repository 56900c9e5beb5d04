"""A broken file must be told, never taken for a picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.image_file import read_image
from edge.errors import ImageError


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)


def encoded(suffix: str, rgb: np.ndarray, *parameters: int) -> bytes:
    done, content = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), list(parameters))
    assert done
    return content.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_formats_come_back_as_rgb(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"smear{suffix}"
    path.write_bytes(encoded(suffix, picture))
    read = read_image(path)
    assert np.array_equal(read, picture)
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous


def test_grey_and_transparent_images_become_rgb(tmp_path: Path, picture: np.ndarray) -> None:
    grey, alpha = tmp_path / "grey.png", tmp_path / "alpha.png"
    assert cv2.imwrite(str(grey), picture[..., 0])
    assert cv2.imwrite(str(alpha), np.dstack([picture, picture[..., :1]]))
    assert read_image(grey).shape == (48, 64, 3)
    assert read_image(alpha).shape == (48, 64, 3)


def test_names_beyond_ascii_are_read(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "Ausstrich № 3 血.png"
    path.write_bytes(encoded(".png", picture))
    assert read_image(path).shape == (48, 64, 3)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_cut_off_anywhere_is_refused(tmp_path: Path, picture: np.ndarray, progressive: int) -> None:
    whole = encoded(".jpg", picture, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    path = tmp_path / "smear.jpg"
    path.write_bytes(whole)
    assert read_image(path).shape == (48, 64, 3)
    for kept in range(4, len(whole) - 1, 97):
        path.write_bytes(whole[:kept])
        with pytest.raises(ImageError, match=r"smear\.jpg"):
            read_image(path)


def test_a_cut_jpeg_is_refused_though_its_thumbnail_is_whole(tmp_path: Path, picture: np.ndarray) -> None:
    thumbnail = encoded(".jpg", picture[::4, ::4].copy())
    whole = encoded(".jpg", picture)
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path = tmp_path / "phone.jpg"
    path.write_bytes(whole[:2] + segment + whole[2:])
    assert read_image(path).shape == (48, 64, 3)
    path.write_bytes(whole[:2] + segment + whole[2 : len(whole) // 2])
    with pytest.raises(ImageError, match="cut off"):
        read_image(path)


def test_bytes_after_a_jpegs_end_are_no_fault(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "motion.jpg"
    path.write_bytes(encoded(".jpg", picture) + b"\xff\xda a film that a telephone appends")
    assert read_image(path).shape == (48, 64, 3)


def test_a_cut_png_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "smear.png"
    path.write_bytes(encoded(".png", picture)[:-40])
    with pytest.raises(ImageError, match="cut off"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"no picture at all", "not an image"), (b"BM" + bytes(80), "decoded")],
)
def test_what_is_no_image_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "smear.bmp"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=said) as fault:
        read_image(path)
    assert fault.value.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: cannot be read \(No such file"):
        read_image(tmp_path / "gone.png")
