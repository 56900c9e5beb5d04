"""A folder is a camera whose frames wait."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.camera.folder import FolderCamera, images_in, natural_key
from edge.errors import CameraError, ImageError
from tests.edge.camera import contract


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        write(tmp_path / f"field_{number}.png", grey=number * 20)
    return tmp_path


def write(path: Path, *, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((48, 64, 3), grey, dtype=np.uint8))


def sources(camera: FolderCamera) -> list[str]:
    found = []
    while (frame := camera.read()) is not None:
        found.append(frame.source)
    return found


def test_it_is_a_camera(folder: Path, camera_contract: Callable[..., None]) -> None:
    camera_contract(lambda: FolderCamera(folder=folder))


def test_images_come_in_the_order_a_person_counts(folder: Path) -> None:
    (folder / "notes.txt").write_text("not an image")
    with FolderCamera(folder=folder, um_per_px=0.08) as camera:
        assert not camera.live
        assert camera.images == 3
        assert sources(camera) == ["field_1.png", "field_2.png", "field_10.png"]
        assert camera.read() is None, "the end stays the end"


def test_natural_order_is_total() -> None:
    names = ["b", "a10", "a2", "A2", "a02", "", "²", "a2b", "10", "9"]
    ordered = sorted(names, key=natural_key)
    assert len({natural_key(name) for name in names}) == len(names)
    assert ordered.index("9") < ordered.index("10")
    assert ordered.index("a2") < ordered.index("a10")


def test_subfolders_only_where_asked(folder: Path) -> None:
    write(folder / "slide_2" / "1.png", grey=9)
    write(folder / "slide_10" / "1.PNG", grey=9)
    assert len(images_in(folder)) == 3
    with FolderCamera(folder=folder, recursive=True) as camera:
        assert sources(camera)[-2:] == ["slide_2/1.png", "slide_10/1.PNG"]


def test_an_unreadable_image_is_skipped_counted_and_told(folder: Path) -> None:
    (folder / "field_3.png").write_bytes(b"no picture")
    told: list[ImageError] = []
    with FolderCamera(folder=folder, on_unreadable=told.append) as camera:
        frames = [camera.read(), camera.read(), camera.read()]
        assert camera.read() is None
        assert camera.unreadable == 1
    assert [frame.index for frame in frames if frame is not None] == [0, 1, 2]
    assert "field_3.png" in str(told[0])


def test_an_unreadable_image_is_logged_where_nobody_listens(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "field_3.png").write_bytes(b"no picture")
    with FolderCamera(folder=folder) as camera:
        sources(camera)
    assert "field_3.png" in caplog.text


def test_strict_stops_at_the_unreadable_image(folder: Path) -> None:
    (folder / "field_3.png").write_bytes(b"no picture")
    with FolderCamera(folder=folder, strict=True) as camera:
        camera.read()
        camera.read()
        with pytest.raises(ImageError, match=r"field_3\.png"):
            camera.read()


@pytest.mark.parametrize(("name", "said"), [("gone", "No such file"), ("field_1.png", "Not a directory")])
def test_a_folder_that_is_none_is_told(folder: Path, name: str, said: str) -> None:
    for recursive in (False, True):
        fault = contract.tells_that_it_is_absent(FolderCamera(folder=folder / name, recursive=recursive))
        assert said in fault.fault


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="holds no image") as fault, FolderCamera(folder=tmp_path):
        pass
    assert ".png" in fault.value.remedy
