import json
from collections import Counter

import pytest

from edge.contract.taxonomy import ObjectKind
from tests.trainer.data.formats import layouts
from trainer.data.bccd import Bccd
from trainer.data.collection import open_collection, read_folder
from trainer.data.formats.boxed import labelled_frames
from trainer.errors import DataError

KINDS = {"WBC": ObjectKind.WBC, "RBC": ObjectKind.RBC, "Platelets": ObjectKind.PLATELET}


def told(folder):
    return {(each.file.name, each.what) for each in read_folder(folder)[1].problems}


# Pascal VOC


def test_voc_gives_a_sample_an_object_and_the_lists_as_parts(tmp_path):
    found = open_collection(layouts.voc(tmp_path))
    assert found.format == "voc"
    assert [(each.label, each.box_px) for each in found.samples[:2]] == [
        ("WBC", (0.0, 0.0, 20.0, 30.0)),
        ("RBC", (29.0, 9.0, 64.0, 48.0)),
    ]
    assert Counter(found.parts) == {"train": 4, "val": 2}
    assert [each.number for each in found.samples] == [1, 1, 2, 2, 3, 3]


def test_lists_that_repeat_others_are_no_parts(tmp_path):
    lists = layouts.voc(tmp_path) / "ImageSets" / "Main"
    (lists / "trainval.txt").write_text((lists / "train.txt").read_text() + (lists / "val.txt").read_text())
    (lists / "WBC_train.txt").write_text("BloodImage_00000  1\nBloodImage_00001 -1\n")
    assert Counter(open_collection(tmp_path).parts) == {"train": 4, "val": 2}


def test_a_picture_in_two_lists_is_named(tmp_path):
    lists = layouts.voc(tmp_path) / "ImageSets" / "Main"
    (lists / "val.txt").write_text("BloodImage_00000\n")
    assert told(tmp_path) == {("val.txt", "lists 'BloodImage_00000', as train does")}


def test_frames_for_a_detector_come_of_the_same_boxes(tmp_path):
    found = open_collection(layouts.voc(tmp_path))
    frames = list(labelled_frames(found.pictures, kinds={"WBC": ObjectKind.WBC}, um_per_px=0.1))
    assert [each.name for each in frames] == ["BloodImage_00000", "BloodImage_00001", "BloodImage_00002"]
    assert frames[0].boxes.tolist() == [[0, 0, 20, 30]]
    assert frames[0].pixels.shape == (48, 64, 3)
    assert frames[0].labelled == {ObjectKind.WBC}


def test_wrong_voc_labels_are_named(tmp_path):
    layouts.voc(tmp_path, pictures=6)
    layouts.write_voc(
        tmp_path / "Annotations/BloodImage_00000.xml", {"RBC": (9, 9, 9, 9), "WBC": (-5, 1, 90, 9)}
    )
    (tmp_path / "Annotations/BloodImage_00001.xml").write_text("<annotation><object>")
    (tmp_path / "Annotations/BloodImage_00002.xml").unlink()
    (tmp_path / "JPEGImages/BloodImage_00003.jpg").write_bytes(b"")
    (tmp_path / "JPEGImages/BloodImage_00004.jpg").unlink()
    assert told(tmp_path) == {
        ("BloodImage_00000.xml", "box 1 (RBC: 8, 8, 9, 9) holds nothing"),
        ("BloodImage_00001.xml", "cannot be read as Pascal VOC labels"),
        ("BloodImage_00002.jpg", "has no labels"),
        ("BloodImage_00003.jpg", "is empty or is no picture"),
        ("BloodImage_00004.xml", "belongs to no picture"),
        ("train.txt", "lists 'BloodImage_00004', which is missing"),
    }
    kept = read_folder(tmp_path)[1].samples
    assert kept[0].box_px == (0.0, 0.0, 64.0, 9.0), "what lies outside is cut off"
    assert {each.file.name for each in kept} == {"BloodImage_00000.jpg", "BloodImage_00005.jpg"}


@pytest.mark.data
def test_the_real_bccd_names_its_two_points_and_gives_the_detector_its_frames(data_dir):
    with pytest.raises(DataError) as told:
        open_collection(data_dir / "bccd")
    assert str(told.value) == (
        f"{data_dir}/bccd/Annotations/BloodImage_00338.xml: box 13 (RBC: 503, 336, 504, 337) holds nothing, "
        "the first of 2 problems. Mend the box, or remove it. Or leave out all that is broken, a broken box "
        "alone of its picture, with --skip-broken; `leukoscope-trainer data check` lists everything."
    )
    found = open_collection(data_dir / "bccd", broken="skip")
    assert {each.file.stem for each in found.problems} == {"BloodImage_00338", "BloodImage_00343"}
    assert len(found.samples) == 3941
    assert found.licence == "MIT License"
    bccd = Bccd(folder=data_dir / "bccd")
    train = [each for each in found.pictures if each.part == "train"][::40]
    for frame in labelled_frames(train, kinds=KINDS, um_per_px=0.07):
        expected = bccd.frame(frame.name)
        assert frame.boxes.tolist() == expected.boxes.tolist()
        assert frame.kinds.tolist() == expected.kinds.tolist()


# COCO


def test_coco_gives_categories_as_labels_and_files_as_parts(tmp_path):
    found = open_collection(layouts.coco(tmp_path))
    assert found.format == "coco"
    assert [(each.label, each.box_px) for each in found.samples[:2]] == [
        ("blast", (2.0, 4.0, 22.0, 14.0)),
        ("red", (30.0, 20.0, 64.0, 40.0)),
    ]
    assert found.parts == ("train", "train", "val", "val")
    assert found.licence == "CC BY 4.0"


def test_coco_beside_its_pictures_has_no_parts(tmp_path):
    layouts.draw(tmp_path / "a.jpg", seed=1)
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(layouts.coco_content("a.jpg")))
    assert open_collection(tmp_path).parts == (None, None)


def test_wrong_coco_entries_are_named(tmp_path):
    layouts.draw(tmp_path / "a.jpg", seed=1)
    layouts.draw(tmp_path / "stray.jpg", seed=2)
    content = layouts.coco_content("a.jpg")
    content["images"].append({"id": 8, "file_name": "gone.jpg"})
    box = {"image_id": 7, "category_id": 3, "bbox": [1, 1, 9, 9]}
    content["annotations"] += [
        {**box, "id": 3, "image_id": 99},
        {**box, "id": 4, "category_id": 99},
        {**box, "id": 5, "iscrowd": 1},
        {**box, "id": 6, "bbox": [60, 1, 0, 9]},
    ]
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert told(tmp_path) == {
        ("labels.json", "annotation 3 is of image 99, which the file does not list"),
        ("labels.json", "annotation 4 is of category 99, which the file does not name"),
        ("labels.json", "annotation 5 marks a crowd, not one object"),
        ("labels.json", "box 3 (blast: 60, 1, 60, 10) holds nothing"),
        ("labels.json", "lists 'gone.jpg', which is missing"),
        ("stray.jpg", "has no labels"),
    }


def test_json_that_is_not_coco_is_refused_with_its_place(tmp_path):
    layouts.draw(tmp_path / "a.jpg", seed=1)
    (tmp_path / "labels.json").write_text('{"images": [{"id": 1}], "annotations": [], "categories": []}')
    with pytest.raises(DataError, match=r"labels\.json is not COCO: .*images\.0\.file_name"):
        open_collection(tmp_path)


# YOLO


def test_yolo_gives_names_pixels_and_parts_and_keeps_empty_pictures_for_the_detector(tmp_path):
    found = open_collection(layouts.yolo(tmp_path))
    assert found.format == "yolo"
    assert [(each.label, each.box_px) for each in found.samples[:2]] == [
        ("blast", (0.0, 12.0, 32.0, 36.0)),
        ("red", (40.0, 30.0, 56.0, 42.0)),
    ]
    assert found.parts == ("train", "train", "val", "val")
    assert [len(each.boxes) for each in found.pictures] == [2, 0, 2, 0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "blast\nred\n"),
        ("data.yaml", "names: [blast, red]\n"),
        ("data.yaml", "nc: 2\nnames:\n- blast\n- red\n"),
    ],
)
def test_names_of_yolo_come_in_several_shapes(tmp_path, name, content):
    layouts.yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    (tmp_path / name).write_text(content)
    assert {each.label for each in open_collection(tmp_path).samples} == {"blast", "red"}


def test_yolo_without_names_says_what_to_add(tmp_path):
    layouts.yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"data\.yaml with names"):
        open_collection(tmp_path)
    (tmp_path / "data.yaml").write_text("names: 3\n")
    with pytest.raises(DataError, match="does not hold the classes' names"):
        open_collection(tmp_path)


def test_wrong_yolo_lines_are_named_by_number(tmp_path):
    layouts.yolo(tmp_path)
    labels = tmp_path / "labels/train"
    (labels / "train0.txt").write_text(
        "0 0.5 0.5 0.2 0.2\n0 0.5 0.5\n7 0.5 0.5 0.2 0.2\n0 320 240 20 20\n0 a b c d\n1 0.5 0.5 0 0.1\n"
    )
    (labels / "train1.txt").unlink()
    (labels / "gone.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert told(tmp_path) == {
        ("train0.txt", "line 2 holds 3 fields, not a class and four shares"),
        ("train0.txt", "line 3 is of class 7, which has no name"),
        ("train0.txt", "line 4 holds shares outside of 0 to 1: are they pixels?"),
        ("train0.txt", "line 5 holds something that is no number"),
        ("train0.txt", "box 2 (red: 32, 21.6, 32, 26.4) holds nothing"),
        ("train1.jpg", "has no labels"),
        ("gone.txt", "belongs to no picture"),
    }


def test_a_table_tells_the_patients_of_boxed_pictures_too(tmp_path):
    layouts.yolo(tmp_path, parts=("train",))
    layouts.table(
        tmp_path / "samples.csv",
        [{"file": "train0.jpg", "patient": "p1"}, {"file": "train1.jpg", "patient": "p2"}],
    )
    found = open_collection(tmp_path)
    assert {each.patient for each in found.samples} == {"p1"}
    assert len(found.pictures) == 2
