from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.contract.taxonomy import ObjectKind
from trainer.data.bccd import Bccd, read_voc
from trainer.data.frames import KINDS, LabelledFrame
from trainer.errors import DataError


def voc(*objects: tuple[str, tuple[object, ...]]) -> str:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in objects
    )
    return f"<annotation>{items}</annotation>"


@pytest.fixture
def dataset(tmp_path):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("one\n")
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[..., 0] = 200  # blue, as OpenCV writes it
    cv2.imwrite(str(tmp_path / "JPEGImages/one.jpg"), picture)
    (tmp_path / "Annotations/one.xml").write_text(
        voc(("WBC", (1, 1, 20, 30)), ("Platelets", (40, 40, 64, 48)))
    )
    return Bccd(folder=tmp_path)


def test_a_frame_is_rgb_with_edge_to_edge_boxes(dataset):
    (frame,) = dataset.frames("train")
    assert frame.pixels[5, 5].tolist() == pytest.approx([0, 0, 200], abs=3)
    assert frame.boxes.tolist() == [[0, 0, 20, 30], [39, 39, 64, 48]]
    assert [KINDS[kind] for kind in frame.kinds] == [ObjectKind.WBC, ObjectKind.PLATELET]


def test_degenerate_boxes_are_left_out_and_boxes_outside_are_clipped(tmp_path):
    file = tmp_path / "labels.xml"
    file.write_text(voc(("RBC", (10, 10, 10, 10)), ("RBC", (30, 5, 33, 40)), ("RBC", (-5, 20, 90, 40))))
    boxes, kinds = read_voc(file, width_px=64, height_px=48)
    assert boxes.tolist() == [[0, 19, 64, 40]]
    assert kinds.tolist() == [KINDS.index(ObjectKind.RBC)]


def test_a_frame_without_objects_has_no_boxes(tmp_path):
    file = tmp_path / "labels.xml"
    file.write_text(voc())
    boxes, kinds = read_voc(file, width_px=64, height_px=48)
    assert boxes.shape == (0, 4)
    assert kinds.shape == (0,)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<annotation><object>", "cannot be read as Pascal VOC"),
        (voc(("Lymphocyte", (1, 1, 9, 9))), "unknown object 'Lymphocyte'"),
        (voc(("RBC", (1, 1, "", 9))), "without four numbers"),
    ],
)
def test_a_wrong_label_file_is_named_with_the_remedy(tmp_path, text, fault):
    file = tmp_path / "labels.xml"
    file.write_text(text)
    with pytest.raises(DataError, match=fault) as caught:
        read_voc(file, width_px=64, height_px=48)
    assert str(file) in str(caught.value)
    assert caught.value.remedy


def test_a_missing_list_label_or_picture_is_named(dataset):
    with pytest.raises(DataError, match=r"val\.txt"):
        dataset.names("val")
    dataset.label_file("one").unlink()
    with pytest.raises(DataError, match=r"one\.xml"):
        dataset.frame("one")
    dataset.image_file("one").write_bytes(b"")
    with pytest.raises(DataError, match=r"one\.jpg"):
        dataset.frame("one")


def test_a_frame_refuses_a_box_without_area():
    with pytest.raises(ValueError, match="no area"):
        LabelledFrame(
            name="x",
            pixels=np.zeros((8, 8, 3), dtype=np.uint8),
            um_per_px=0.1,
            boxes=np.array([[1, 1, 1, 5]], dtype=np.float32),
            kinds=np.array([0]),
        )


@pytest.mark.data
def test_the_real_lists_are_apart_and_lose_only_their_two_points(data_dir):
    bccd = Bccd(folder=data_dir / "bccd")
    train, val = bccd.names("train"), bccd.names("val")
    assert (len(train), len(val)) == (205, 87)
    assert not set(train) & set(val)
    boxes = [len(read_voc(bccd.label_file(name), width_px=640, height_px=480)[0]) for name in (*train, *val)]
    assert sum(boxes) == 3943 - 2
