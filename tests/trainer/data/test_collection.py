import os

import pytest

from tests.trainer.data.formats import layouts
from trainer.data.collection import FORMATS, KNOWN, open_collection
from trainer.data.formats.sight import look
from trainer.errors import DataError

GENERATED = {
    "all-idb1": layouts.all_idb1,
    "all-idb2": layouts.all_idb2,
    "cnmc": layouts.cnmc,
    "voc": layouts.voc,
    "coco": layouts.coco,
    "yolo": layouts.yolo,
    "class-folders": layouts.class_folders,
    "review-export": lambda folder: layouts.review_export(folder, [layouts.review("crops/0.png")], crops=1),
}


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_a_layout_is_recognised_by_itself_alone(tmp_path, name):
    folder = GENERATED[name](tmp_path / "some collection")
    found = open_collection(folder)
    assert (found.format, found.name) == (name, "some collection")
    assert len(found.parts) == len(found.samples) > 0
    assert [each.name for each in FORMATS if each.recognise(look(folder))] == (
        [] if name == "class-folders" else [name]
    )


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("cnmc_sample", "cnmc"),
        ("bccd", "voc"),
        ("all_aria", "all-aria"),
        ("pbc_aml", "pbc-aml"),
        ("bccd_cells", "bccd-cells"),
    ],
)
def test_a_real_layout_is_recognised_by_itself_alone(data_dir, folder, name):
    assert [each.name for each in FORMATS if each.recognise(look(data_dir / folder))] == [name]


def test_an_unknown_layout_tells_what_was_seen_and_what_is_known(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.pdf").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 \.pdf; folders: notes/") as caught:
        open_collection(tmp_path)
    assert all(each.name in str(caught.value) for each in KNOWN)


def test_a_folder_of_collections_names_them(tmp_path):
    layouts.all_idb2(tmp_path / "one")
    layouts.class_folders(tmp_path / "two")
    with pytest.raises(DataError, match=r"holds collections, but is none itself: one/ \(all-idb2\)"):
        open_collection(tmp_path)


def test_two_layouts_in_one_folder_are_ambiguous_until_one_is_asked_for(tmp_path):
    layouts.yolo(tmp_path, parts=("train",))
    layouts.coco(tmp_path, parts=("other",))
    with pytest.raises(DataError, match=r"several layouts: coco .*; yolo .*--format"):
        open_collection(tmp_path)
    found = open_collection(tmp_path, format="yolo", broken="skip")
    assert found.format == "yolo"
    assert [each.file.name for each in found.problems] == ["other.jpg"]


def test_a_missing_folder_and_an_unknown_format_are_named(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        open_collection(tmp_path / "gone")
    with pytest.raises(DataError, match=r"no format 'tfrecord'.*class-folders"):
        open_collection(tmp_path, format="tfrecord")


def spoiled(folder):
    layouts.class_folders(folder, each=6)
    layouts.truncate(folder / "AML" / "cell (1).png")
    (folder / "AML" / "cell (2).png").write_bytes(b"")
    (folder / "CLL" / "cell (1).png").write_bytes(b"<html>Too many requests</html>")
    cut = layouts.draw(folder / "CLL" / "cut.jpg", seed=77, size_px=(400, 300))
    layouts.truncate(cut, keep=0.9)
    return folder


def test_broken_pictures_stop_the_reading_with_the_first_and_their_number(tmp_path):
    with pytest.raises(DataError, match=r"AML/cell \(1\)\.png.*first of 4 problems.*--skip-broken") as caught:
        open_collection(spoiled(tmp_path))
    assert caught.value.exit_code == 66


def test_broken_pictures_are_left_out_by_choice_and_named(tmp_path):
    found = open_collection(spoiled(tmp_path), broken="skip")
    assert len(found.samples) == len(found.parts) == 9
    told = {os.path.relpath(each.file, tmp_path): each.what for each in found.problems}
    assert set(told) == {"AML/cell (1).png", "AML/cell (2).png", "CLL/cell (1).png", "CLL/cut.jpg"}
    assert told["AML/cell (2).png"] == "is empty"
    assert told["CLL/cell (1).png"] == "is no picture"
    assert "truncated" in told["CLL/cut.jpg"], "a JPEG cut short decodes to grey elsewhere"
    assert not {each.file for each in found.problems} & {each.file for each in found.samples}


@pytest.mark.parametrize("suffix", [".bmp", ".jpg", ".png", ".tif"])
def test_a_picture_cut_short_is_told_in_every_format(tmp_path, suffix):
    layouts.draw(tmp_path / "A" / f"whole{suffix}", seed=1)
    layouts.draw(tmp_path / "B" / f"whole{suffix}", seed=2)
    cut = layouts.truncate(layouts.draw(tmp_path / "B" / f"cut{suffix}", seed=3), keep=0.8)
    assert [each.file for each in open_collection(tmp_path, broken="skip").problems] == [cut]


def test_a_link_that_leads_back_up_is_walked_once(tmp_path):
    layouts.class_folders(tmp_path, each=2)
    (tmp_path / "AML" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert len(open_collection(tmp_path).samples) == 4


def test_every_box_of_a_broken_picture_goes_with_it(tmp_path):
    layouts.voc(tmp_path)
    layouts.truncate(tmp_path / "JPEGImages/BloodImage_00001.jpg")
    found = open_collection(tmp_path, broken="skip")
    assert {each.file.stem for each in found.samples} == {"BloodImage_00000", "BloodImage_00002"}
    assert len(found.pictures) == 2
    assert len(found.parts) == 4


def test_nothing_usable_is_an_error_even_where_broken_files_are_skipped(tmp_path):
    layouts.class_folders(tmp_path, each=1)
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="no usable sample as class-folders; 2 problems"):
        open_collection(tmp_path, broken="skip")
