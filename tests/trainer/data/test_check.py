import shutil

import cv2
import pytest

from tests.trainer.data.formats import layouts
from trainer.data.check import check_collection
from trainer.data.check_report import CheckReport
from trainer.errors import DataError


def test_counts_sizes_and_shares(tmp_path):
    layouts.class_folders(tmp_path, ("AML",), each=6)
    layouts.class_folders(tmp_path, ("CLL", "CML"), each=2)
    layouts.draw(tmp_path / "CML" / "large.png", seed=999, size_px=(200, 100))
    report = check_collection(tmp_path)
    assert (report.format, report.samples, report.pictures, report.unreadable) == ("class-folders", 11, 11, 0)
    assert [(each.label, each.samples) for each in report.classes] == [("AML", 6), ("CML", 3), ("CLL", 2)]
    assert report.imbalance == 3
    sizes = report.picture_sizes
    assert (sizes.width_px.least, sizes.width_px.median, sizes.width_px.greatest) == (64, 64, 200)
    assert (sizes.distinct, sizes.commonest_px, sizes.commonest_count) == (2, (64, 48), 10)
    assert report.box_sizes is None
    assert report.sound


def test_what_is_broken_is_named_and_not_counted(tmp_path):
    layouts.class_folders(tmp_path)
    layouts.truncate(tmp_path / "AML" / "cell (1).png")
    layouts.draw(tmp_path / "astray.png", seed=1000)
    report = check_collection(tmp_path)
    assert (report.samples, report.unreadable) == (7, 1)
    assert {each.file.name for each in report.problems} == {"cell (1).png", "astray.png"}
    assert not report.sound
    with pytest.raises(DataError, match=r"astray\.png"):
        check_collection(tmp_path, broken="fatal")
    (tmp_path / "astray.png").unlink()
    with pytest.raises(DataError, match=r"cell \(1\)\.png"):
        check_collection(tmp_path, broken="fatal")


def test_duplicates_are_counted_and_those_with_two_labels_named(tmp_path):
    layouts.class_folders(tmp_path, each=8)
    shutil.copy(tmp_path / "AML/cell (1).png", tmp_path / "AML/copy.png")
    shutil.copy(tmp_path / "AML/cell (2).png", tmp_path / "CLL/copy.png")
    pressed = cv2.imread(str(tmp_path / "AML/cell (3).png"))
    cv2.imwrite(str(tmp_path / "AML/pressed.jpg"), pressed, [cv2.IMWRITE_JPEG_QUALITY, 70])
    turned = cv2.rotate(cv2.imread(str(tmp_path / "AML/cell (4).png")), cv2.ROTATE_90_CLOCKWISE)
    cv2.imwrite(str(tmp_path / "AML/turned.png"), turned)
    found = check_collection(tmp_path)
    same = found.duplicates
    assert (same.exact_groups, same.exact_pictures) == (2, 4)
    assert (same.near_groups, same.near_pictures) == (1, 2)
    assert (same.turned_groups, same.turned_pictures) == (1, 2)
    (conflict,) = same.conflicts
    assert conflict.labels == ("AML", "CLL")
    assert {each.parent.name + "/" + each.name for each in conflict.files} == {
        "AML/cell (2).png",
        "CLL/copy.png",
    }
    assert not found.problems
    assert not found.sound, "one of the two labels is wrong"


def test_a_picture_in_two_parts_is_counted_as_across_them(tmp_path):
    places = [(part, name) for part in ("train", "test") for name in ("AML", "CLL")]
    for seed, (part, name) in enumerate(places):
        layouts.draw(tmp_path / part / name / "own.png", seed=seed)
    shutil.copy(tmp_path / "train/AML/own.png", tmp_path / "test/AML/again.png")
    assert check_collection(tmp_path).duplicates.across_parts == 1


def test_subjects_in_two_folds_are_named(tmp_path):
    layouts.cnmc(tmp_path)
    layouts.draw(tmp_path / "training_data/fold_2/all/UID_1_9_1_all.bmp", seed=5000)
    report = check_collection(tmp_path)
    (overlap,) = report.overlaps
    assert (overlap.parts, overlap.of, overlap.names) == (("fold_0", "fold_2"), "patient", ("1",))
    assert {each.part: each.patients for each in report.parts} == {
        "fold_0": 2,
        "fold_1": 2,
        "fold_2": 3,
        "preliminary": 2,
    }
    assert {each.label: each.patients for each in report.classes} == {"all": 4, "normal": 4}
    assert (report.identity.grouped_by, report.identity.patients, report.identity.slides) == (
        "patient",
        8,
        None,
    )


def test_a_smear_in_two_parts_is_named_where_no_patient_is_known(tmp_path):
    layouts.class_folders(tmp_path, each=2)
    rows = [
        {"file": file.relative_to(tmp_path).as_posix(), "slide": slide, "part": part}
        for file, slide, part in zip(
            sorted(tmp_path.rglob("*.png")), "AABC", ("one", "two", "one", "two"), strict=True
        )
    ]
    layouts.table(tmp_path / "samples.csv", rows)
    report = check_collection(tmp_path)
    assert [(each.of, each.names) for each in report.overlaps] == [("slide", ("A",))]
    assert report.identity.grouped_by == "slide"


def test_boxes_are_measured_and_pictures_kept_whole(tmp_path):
    report = check_collection(layouts.voc(tmp_path, pictures=60))
    assert (report.samples, report.pictures) == (120, 60)
    assert (report.box_sizes.width_px.least, report.box_sizes.width_px.greatest) == (20, 35)
    assert report.identity.groups == 2, "blocks are of pictures, not of boxes"
    assert report.duplicates.conflicts == (), "a picture of boxes has no label of its own"


def test_colour_that_follows_the_folder_is_found_and_laboratories_are_asked_for(tmp_path):
    rows = []
    for label, tint in (("ill", 60), ("well", 160)):
        for number in range(24):
            file = layouts.draw(tmp_path / label / f"{number}.png", seed=tint + number, tint=tint)
            laboratory = "A" if label == "ill" else "B"
            rows.append(
                {"file": f"{label}/{file.name}", "patient": f"{label}{number % 6}", "laboratory": laboratory}
            )
    layouts.table(tmp_path / "samples.csv", rows)
    report = check_collection(tmp_path)
    assert [(each.of, each.words) for each in report.colour] == [
        ("label", ("ill", "well")),
        ("laboratory", ("A", "B")),
    ]
    for each in report.colour:
        assert each.honest.value > 0.95
        assert (each.groups, each.guessing) == (12, 0.5)
    assert report.laboratories == {"A": 24, "B": 24}


def test_where_colour_cannot_be_asked_the_report_says_why(tmp_path):
    report = check_collection(layouts.class_folders(tmp_path))
    assert report.colour == ()
    (why,) = report.colour_unasked
    assert "cannot be measured" in why


def test_a_folder_where_all_is_broken_is_reported_too(tmp_path):
    layouts.class_folders(tmp_path, each=1)
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    report = check_collection(tmp_path)
    assert (report.samples, report.unreadable, report.classes, report.identity) == (0, 2, (), None)


def test_the_report_survives_its_json(tmp_path):
    report = check_collection(layouts.cnmc(tmp_path))
    again = CheckReport.model_validate_json(report.model_dump_json(by_alias=True))
    assert again == report


@pytest.mark.data
def test_the_real_all_aria_has_its_forty_doubles_and_leaks_by_chance(data_dir):
    report = check_collection(data_dir / "all_aria")
    assert (report.samples, report.unreadable) == (1301, 0)
    assert (report.duplicates.exact_groups, report.duplicates.conflicts) == (40, ())
    assert report.identity.patients is None
    (colour,) = report.colour
    assert colour.by_chance.value > 0.96
    assert 0.88 < colour.honest.value < colour.by_chance.value


@pytest.mark.data
def test_in_the_real_cells_colour_tells_the_laboratory(data_dir):
    report = check_collection(data_dir / "pbc_aml")
    by_name = {each.of: each for each in report.colour}
    assert report.laboratories == {"barcelona": 900, "lmu": 600}
    assert by_name["laboratory"].honest.value > 0.98
    assert by_name["label"].honest.value > 2 * by_name["label"].guessing
